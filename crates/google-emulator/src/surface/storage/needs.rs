//! Which permissions Google asks for (the documentation of IAM permissions for JSON and XML
//! methods).

use super::{call::Operation, failure::Kind};

/// A permission, and on what it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    /// Google's name of it.
    pub(super) permission: &'static str,
    /// On the bucket of the call, or on its object.
    pub(super) kind: Kind,
}

/// Taking an object away, which overwriting one does as well.
pub(super) const DELETE: Need = object("storage.objects.delete");
/// Putting an object there.
pub(super) const CREATE: Need = object("storage.objects.create");
/// Reading an object.
pub(super) const GET: Need = object("storage.objects.get");
/// Opening a multipart upload, and filling it.
const FILL: Need = object("storage.multipartUploads.create");
/// Knowing which objects there are: without it a missing one is told as a refusal.
pub(super) const LIST: Need = bucket("storage.objects.list");

/// What the call needs on the bucket and the object that its path names, before anything is done.
///
/// An upload needs [`CREATE`] on a name that may be in the body, and [`DELETE`] on what it
/// overwrites; copies need both on their target, and a composition [`GET`] on its sources. Those
/// are asked where the names are known.
pub(super) fn needs(operation: &Operation) -> &'static [Need] {
    use Operation::*;
    match operation {
        GetBucket => const { &[bucket("storage.buckets.get")] },
        PatchBucket | UpdateBucket => const { &[bucket("storage.buckets.update")] },
        DeleteBucket => const { &[bucket("storage.buckets.delete")] },
        GetBucketPolicy => const { &[bucket("storage.buckets.getIamPolicy")] },
        SetBucketPolicy => const { &[bucket("storage.buckets.setIamPolicy")] },
        ListObjects | GetStorageLayout => const { &[LIST] },
        ListManagedFolders => const { &[bucket("storage.managedFolders.list")] },
        GetObject | Download | Rewrite { .. } | Copy { .. } => const { &[GET] },
        PatchObject | UpdateObject => const { &[GET, object("storage.objects.update")] },
        DeleteObject => const { &[DELETE] },
        ListBuckets => const { &[project("storage.buckets.list")] },
        InsertBucket => const { &[project("storage.buckets.create")] },
        GetServiceAccount { .. } => const { &[project("resourcemanager.projects.get")] },
        InitiateMultipart | UploadPart { .. } | CompleteMultipart { .. } => {
            const { &[FILL, CREATE] }
        }
        AbortMultipart { .. } => const { &[object("storage.multipartUploads.abort")] },
        ListParts { .. } => const { &[object("storage.multipartUploads.listParts")] },
        ListMultipartUploads => const { &[bucket("storage.multipartUploads.list")] },
        // No permission: a question about permissions, an upload that was allowed when it began,
        // calls that are refused anyway, and what stands for other calls.
        TestBucketPermissions | ContinueResumable { .. } | CancelResumable { .. } => &[],
        LegacyAcl { .. } | Unknown(_) | Batch => &[],
        InsertMedia | InsertMultipart | StartResumable | Compose => &[],
    }
}

/// Whether the operation changes something.
pub(super) fn writes(operation: &Operation) -> bool {
    use Operation::*;
    match operation {
        GetBucket | GetBucketPolicy | TestBucketPermissions | ListBuckets | GetStorageLayout => {
            false
        }
        ListManagedFolders
        | ListObjects
        | GetObject
        | Download
        | GetServiceAccount { .. }
        | ListParts { .. }
        | ListMultipartUploads
        | Batch
        | Unknown(_) => false,
        LegacyAcl { verb } => *verb != "get",
        InsertBucket | PatchBucket | UpdateBucket | DeleteBucket | SetBucketPolicy => true,
        PatchObject | UpdateObject | DeleteObject | InsertMedia | InsertMultipart => true,
        StartResumable | ContinueResumable { .. } | CancelResumable { .. } => true,
        InitiateMultipart | UploadPart { .. } => true,
        CompleteMultipart { .. } | AbortMultipart { .. } => true,
        Compose | Rewrite { .. } | Copy { .. } => true,
    }
}

/// Whether the operation changes objects, which a read-only bucket refuses.
pub(super) fn writes_objects(operation: &Operation) -> bool {
    use Operation::*;
    writes(operation)
        && !matches!(operation, InsertBucket | PatchBucket | UpdateBucket | SetBucketPolicy)
}

const fn project(permission: &'static str) -> Need {
    Need { permission, kind: Kind::Project }
}

const fn bucket(permission: &'static str) -> Need {
    Need { permission, kind: Kind::Bucket }
}

const fn object(permission: &'static str) -> Need {
    Need { permission, kind: Kind::Object }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_is_one_that_iam_knows() {
        use Operation::*;
        let operations = [
            GetBucket,
            PatchBucket,
            DeleteBucket,
            GetBucketPolicy,
            SetBucketPolicy,
            ListObjects,
            GetObject,
            PatchObject,
            DeleteObject,
            ListBuckets,
            InsertBucket,
            InitiateMultipart,
            AbortMultipart { upload_id: String::new() },
            ListParts { upload_id: String::new() },
            ListMultipartUploads,
        ];
        for need in operations.iter().flat_map(needs).chain([&CREATE]) {
            assert!(iam::is_permission(need.permission), "{}", need.permission);
        }
    }

    #[test]
    fn what_needs_nothing_reads_nothing_of_a_bucket() {
        use Operation::*;
        let upload_id = String::new();
        for operation in [InsertMedia, StartResumable, Compose, ContinueResumable { upload_id }] {
            assert!(needs(&operation).is_empty() && writes_objects(&operation), "{operation:?}");
        }
        assert!(!writes_objects(&SetBucketPolicy) && writes(&SetBucketPolicy));
    }
}
