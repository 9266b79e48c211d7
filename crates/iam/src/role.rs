//! Google's predefined roles with their permission lists.
//!
//! Each file of `roles/` is one role: its title, then its permissions, sorted. The sources:
//!
//! - `storage.*`, `cloudsql.*`, `artifactregistry.*`, `serviceusage.*` and
//!   `resourcemanager.projectIamAdmin`: the pages "roles and permissions" of Google's IAM
//!   documentation (docs.cloud.google.com/iam/docs/roles-permissions), as of 2026.
//! - `iam.*` and `container.*`: the public data set github.com/iann0036/iam-dataset, which asks
//!   Google's API daily; its lists of `container.clusterAdmin`, `clusterViewer` and `viewer` are of
//!   2021 and lack what came later, such as `container.clusters.connect`. `container.admin` has
//!   every `container.` permission that another role here has, as its documentation says
//!   `container.*`.
//! - `owner`, `editor` and `viewer` are restricted to the services of this project: Artifact
//!   Registry, Cloud SQL, GKE, IAM, Resource Manager, Service Usage and Cloud Storage. The editor
//!   and the viewer are made of the parts that Google documents for each service
//!   (`roles/storage.editor`, "Editor role for storage", and its like) and of the data set's lists
//!   of the basic roles; the owner has besides what the administrators of these services have. As
//!   in Google's cloud, none of the three has `storage.objects.*` (a bucket gives that through
//!   `projectOwner:` and its kin) or `iam.serviceAccounts.getAccessToken`.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::resource::ResourceKind;

/// A predefined role.
#[derive(Debug)]
pub struct Role {
    name: String,
    title: &'static str,
    permissions: Vec<&'static str>,
    bits: Vec<u64>,
}

struct Catalogue {
    roles: Vec<Role>,
    by_name: HashMap<String, usize>,
    permissions: HashMap<&'static str, Permission>,
}

/// A permission that some role has, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permission(u32);

/// Each file of `roles/`: the role's title in the first line, then its permissions, sorted.
macro_rules! files {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../roles/", $name, ".txt")))),*]
    };
}

const FILES: [(&str, &str); 35] = files! {
    "artifactregistry.admin"
    "artifactregistry.reader"
    "artifactregistry.repoAdmin"
    "artifactregistry.writer"
    "cloudsql.admin"
    "cloudsql.client"
    "cloudsql.editor"
    "cloudsql.instanceUser"
    "cloudsql.viewer"
    "container.admin"
    "container.clusterAdmin"
    "container.clusterViewer"
    "container.developer"
    "container.viewer"
    "editor"
    "iam.serviceAccountAdmin"
    "iam.serviceAccountTokenCreator"
    "iam.serviceAccountUser"
    "iam.workloadIdentityUser"
    "owner"
    "resourcemanager.projectIamAdmin"
    "serviceusage.serviceUsageAdmin"
    "serviceusage.serviceUsageConsumer"
    "serviceusage.serviceUsageViewer"
    "storage.admin"
    "storage.legacyBucketOwner"
    "storage.legacyBucketReader"
    "storage.legacyBucketWriter"
    "storage.legacyObjectOwner"
    "storage.legacyObjectReader"
    "storage.objectAdmin"
    "storage.objectCreator"
    "storage.objectUser"
    "storage.objectViewer"
    "viewer"
};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Catalogue::read);

/// The role of this name, `roles/storage.objectUser`.
pub fn role(name: &str) -> Option<&'static Role> {
    CATALOGUE.by_name.get(name).map(|index| &CATALOGUE.roles[*index])
}

/// All known roles, by name.
pub fn roles() -> &'static [Role] {
    &CATALOGUE.roles
}

/// Whether any known role has this permission.
pub fn is_permission(permission: &str) -> bool {
    Permission::of(permission).is_some()
}

impl Role {
    /// The full name, `roles/storage.objectUser`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The title, `Storage Object User`.
    pub fn title(&self) -> &str {
        self.title
    }

    /// Its permissions, sorted.
    pub fn permissions(&self) -> &[&'static str] {
        &self.permissions
    }

    /// Whether it has the permission.
    pub fn contains(&self, permission: &str) -> bool {
        Permission::of(permission).is_some_and(|it| self.has(it))
    }

    /// Whether it can be granted on such a resource.
    pub fn is_for(&self, kind: ResourceKind) -> bool {
        let name = self.name.trim_start_matches("roles/");
        let (service, legacy) = (name.split('.').next(), name.starts_with("storage.legacy"));
        match kind {
            ResourceKind::Project => !legacy,
            ResourceKind::Bucket => service == Some("storage"),
            ResourceKind::ServiceAccount => service == Some("iam") || self.is_basic(),
            ResourceKind::Repository => service == Some("artifactregistry"),
            _ => false,
        }
    }

    /// Whether it is owner, editor or viewer, which take no condition.
    pub fn is_basic(&self) -> bool {
        matches!(self.name.as_str(), "roles/owner" | "roles/editor" | "roles/viewer")
    }

    pub(crate) fn has(&self, permission: Permission) -> bool {
        let (word, bit) = (permission.0 as usize / 64, permission.0 % 64);
        self.bits.get(word).is_some_and(|it| it >> bit & 1 == 1)
    }
}

impl Permission {
    pub(crate) fn of(name: &str) -> Option<Self> {
        CATALOGUE.permissions.get(name).copied()
    }
}

impl Catalogue {
    fn read() -> Self {
        let mut permissions = HashMap::new();
        let mut roles: Vec<Role> = FILES
            .into_iter()
            .map(|(name, text)| {
                let mut lines = text.lines();
                let title = lines.next().unwrap_or_default();
                let permissions = lines.collect();
                Role { name: format!("roles/{name}"), title, permissions, bits: Vec::new() }
            })
            .collect();
        roles.sort_by(|a, b| a.name.cmp(&b.name));
        for role in &mut roles {
            for name in &role.permissions {
                let next = Permission(u32::try_from(permissions.len()).unwrap_or(u32::MAX));
                let Permission(number) = *permissions.entry(*name).or_insert(next);
                let (word, bit) = (number as usize / 64, number % 64);
                role.bits.resize(role.bits.len().max(word + 1), 0);
                role.bits[word] |= 1 << bit;
            }
        }
        let by_name =
            roles.iter().enumerate().map(|(index, it)| (it.name.clone(), index)).collect();
        Self { roles, by_name, permissions }
    }
}
