//! The XML API: paths of a bucket and an object, and sub-resources in the query.

use super::{Api, Call, Failure, Operation, PARTS_MAX, Parts, malformed, percent_decode};

/// Sub-resources of the XML API that change the meaning of a path and that this emulator doesn't
/// have.
const OTHER_XML: [&str; 16] = [
    "acl",
    "billing",
    "compose",
    "cors",
    "delete",
    "encryption",
    "encryptionConfig",
    "lifecycle",
    "location",
    "logging",
    "policy",
    "retention",
    "storageClass",
    "tagging",
    "versioning",
    "websiteConfig",
];

impl Parts<'_> {
    pub(super) fn xml(self, virtual_bucket: Option<&str>, path: &str) -> Result<Call, Failure> {
        let path = percent_decode(path.strip_prefix('/').unwrap_or(path)).map_err(malformed)?;
        let (bucket, object) = match virtual_bucket {
            Some(bucket) => (bucket, path.as_str()),
            None => path.split_once('/').unwrap_or((path.as_str(), "")),
        };
        // A sub-resource in the query makes another call of the same path.
        let other = OTHER_XML.iter().find(|it| self.query.has(it)).map(|it| format!("`?{it}`"));
        let operation = if bucket.is_empty() {
            self.unknown(&["/"])
        } else if let Some(other) = other {
            Operation::Unknown(format!("{} with {other}", self.method))
        } else if let Some(multipart) = self.multipart_upload(object.is_empty())? {
            multipart
        } else {
            self.on_path(object.is_empty())
        };
        let (bucket, object) = (bucket.to_owned(), object.to_owned());
        Ok(Call { api: Api::Xml, operation, bucket, object, query: self.query })
    }

    /// A call on a bucket or an object as a whole.
    fn on_path(&self, on_bucket: bool) -> Operation {
        use Operation::*;
        match (self.method, on_bucket) {
            ("GET", true) => ListObjects,
            ("HEAD", true) => GetBucket,
            ("GET" | "HEAD", false) => Download,
            ("DELETE", false) => match self.query.get("upload_id") {
                Some(id) => CancelResumable { upload_id: id.to_owned() },
                None => DeleteObject,
            },
            ("PUT" | "POST", false) => match (self.query.get("upload_id"), self.method) {
                (Some(id), _) => ContinueResumable { upload_id: id.to_owned() },
                (None, "PUT") => InsertMedia,
                (None, _) => StartResumable,
            },
            (method, _) => Unknown(format!("{method} of the XML API on a bucket")),
        }
    }

    /// A call on multipart uploads, which the query tells.
    fn multipart_upload(&self, on_bucket: bool) -> Result<Option<Operation>, Failure> {
        use Operation::*;
        let upload_id = self.query.get("uploadId").map(str::to_owned);
        let unknown = |what: &str| Unknown(format!("{} with `?{what}`", self.method));
        Ok(Some(match (self.method, upload_id, self.query.has("uploads"), on_bucket) {
            ("GET", None, true, true) => ListMultipartUploads,
            ("POST", None, true, false) => InitiateMultipart,
            (_, None, true, _) => unknown("uploads"),
            (_, Some(_), _, true) => unknown("uploadId"),
            ("PUT", Some(upload_id), ..) => UploadPart { upload_id, number: self.part_number()? },
            ("POST", Some(upload_id), ..) => CompleteMultipart { upload_id },
            ("DELETE", Some(upload_id), ..) => AbortMultipart { upload_id },
            ("GET", Some(upload_id), ..) => ListParts { upload_id },
            (_, Some(_), ..) => unknown("uploadId"),
            (_, None, false, _) if self.query.has("partNumber") => unknown("partNumber"),
            (_, None, false, _) => return Ok(None),
        }))
    }

    fn part_number(&self) -> Result<u16, Failure> {
        let number = self.query.get("partNumber").and_then(|it| it.parse().ok());
        number.filter(|it| (1..=PARTS_MAX).contains(it)).ok_or_else(|| {
            Failure::invalid(format!(
                "Part number must be an integer between 1 and {PARTS_MAX}, inclusive."
            ))
        })
    }
}
