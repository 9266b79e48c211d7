//! What a request to Cloud Storage is: a pure reading of its method, host, path and query.
//!
//! Everything after this works with the names that were decoded here; the path that the caller
//! wrote goes nowhere.

mod xml;

use super::{
    failure::{Failure, Form},
    names::{check_bucket, check_object},
    text::{Malformed, Query, percent_decode},
};

/// The API that a request speaks, which decides the form of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `/storage/v1/…` and `/batch/storage/v1`
    Json,
    /// `/upload/storage/v1/…`
    Upload,
    /// `/download/storage/v1/…`, and `alt=media`
    Download,
    /// `/BUCKET/OBJECT`, and `BUCKET.storage.googleapis.com/OBJECT`
    Xml,
}

impl Api {
    /// The form in which this API refuses.
    pub fn form(self) -> Form {
        match self {
            Self::Json | Self::Upload => Form::Json,
            Self::Download => Form::Text,
            Self::Xml => Form::Xml,
        }
    }
}

/// The most parts of a multipart upload (the documentation of quotas).
pub const PARTS_MAX: u16 = 10_000;

/// A request that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The API that was spoken.
    pub api: Api,
    /// What is asked for.
    pub operation: Operation,
    /// The bucket; empty where none is named in the path.
    pub bucket: String,
    /// The object; empty where none is named, or where the name is in the body or in the query.
    pub object: String,
    /// The query, decoded.
    pub query: Query,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Google's own method names")]
pub enum Operation {
    ListBuckets,
    InsertBucket,
    GetBucket,
    PatchBucket,
    UpdateBucket,
    DeleteBucket,
    GetStorageLayout,
    GetBucketPolicy,
    SetBucketPolicy,
    TestBucketPermissions,
    ListManagedFolders,
    ListObjects,
    GetObject,
    PatchObject,
    UpdateObject,
    DeleteObject,
    /// The bytes of an object, or with HEAD only what is known of them.
    Download,
    /// The whole body is the object.
    InsertMedia,
    /// The first part of the body is the object's resource, the second its bytes.
    InsertMultipart,
    StartResumable,
    /// A piece of an open upload, or the question how far it is.
    ContinueResumable {
        upload_id: String,
    },
    CancelResumable {
        upload_id: String,
    },
    /// Opens a multipart upload of the XML API, which has nothing to do with [`Self::InsertMultipart`].
    InitiateMultipart,
    /// One of its parts.
    UploadPart {
        upload_id: String,
        number: u16,
    },
    /// Makes the object out of its parts.
    CompleteMultipart {
        upload_id: String,
    },
    AbortMultipart {
        upload_id: String,
    },
    ListParts {
        upload_id: String,
    },
    ListMultipartUploads,
    Compose,
    Rewrite {
        to_bucket: String,
        to_object: String,
    },
    Copy {
        to_bucket: String,
        to_object: String,
    },
    GetServiceAccount {
        project: String,
    },
    Batch,
    /// Google has it, and refuses it on every bucket with uniform access.
    LegacyAcl {
        verb: &'static str,
    },
    /// Google may have it; the emulator hasn't. Holds what it was.
    Unknown(String),
}

/// Reads a request, or refuses it in the form of the API that it speaks.
///
/// # Errors
/// 400 on a name or an encoding that Google refuses.
pub fn classify(
    method: &str,
    host: &str,
    path: &str,
    query: &str,
) -> Result<Call, (Form, Failure)> {
    // gcloud begins its resumable uploads at the other address of the same method.
    let short = path.strip_prefix("/resumable").filter(|it| it.starts_with("/upload/storage/v1/"));
    let path = short.filter(|_| virtual_bucket(host).is_none()).unwrap_or(path);
    let api = api_of(host, path);
    let refuse = |failure| (api.form(), failure);
    let query = Query::parse(query).map_err(|it| refuse(malformed(it)))?;
    let parts = Parts { method, query };
    let call = match (api, virtual_bucket(host)) {
        (Api::Xml, bucket) => parts.xml(bucket, path),
        (_, _) => parts.json(api, path),
    }
    .map_err(refuse)?;
    check_names(&call).map_err(|failure| (call.api.form(), failure))?;
    Ok(call)
}

/// The bucket that is named in a host, as `BUCKET.storage.googleapis.com`.
pub fn virtual_bucket(host: &str) -> Option<&str> {
    without_port(host).strip_suffix(".storage.googleapis.com").filter(|it| !it.is_empty())
}

fn without_port(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn api_of(host: &str, path: &str) -> Api {
    if virtual_bucket(host).is_some() {
        return Api::Xml;
    }
    let below = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match () {
        () if below("/storage/v1") || below("/batch/storage/v1") => Api::Json,
        () if below("/upload/storage/v1") => Api::Upload,
        () if below("/download/storage/v1") => Api::Download,
        // This host has many APIs, and the XML API isn't one of them.
        () if without_port(host) == "www.googleapis.com" => Api::Json,
        () => Api::Xml,
    }
}

fn malformed(_: Malformed) -> Failure {
    Failure::invalid("Invalid argument: the request's path or query isn't well-formed.")
}

fn check_names(call: &Call) -> Result<(), Failure> {
    if !call.bucket.is_empty() {
        check_bucket(&call.bucket)?;
    }
    if !call.object.is_empty() {
        check_object(&call.object)?;
    }
    match &call.operation {
        Operation::Rewrite { to_bucket, to_object } | Operation::Copy { to_bucket, to_object } => {
            check_bucket(to_bucket)?;
            check_object(to_object)
        }
        _ => Ok(()),
    }
}

struct Parts<'a> {
    method: &'a str,
    query: Query,
}

impl Parts<'_> {
    fn json(self, api: Api, path: &str) -> Result<Call, Failure> {
        // Each part is decoded by itself: an encoded slash belongs to a name, a plain one never
        // does.
        let parts: Vec<String> = path
            .split('/')
            .filter(|it| !it.is_empty())
            .map(percent_decode)
            .collect::<Result<_, _>>()
            .map_err(malformed)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (bucket, object) = match parts.as_slice() {
            [_, _, "v1" | "b", ..] if api != Api::Json => match &parts[3..] {
                ["b", bucket, "o", object] => (*bucket, *object),
                ["b", bucket, ..] => (*bucket, ""),
                _ => ("", ""),
            },
            ["storage", "v1", "b", bucket, "o", object, ..] => (*bucket, *object),
            ["storage", "v1", "b", bucket, ..] => (*bucket, ""),
            _ => ("", ""),
        };
        let operation = match api {
            Api::Upload => self.upload(&parts),
            Api::Download => self.download(&parts),
            _ => self.method_of(&parts),
        };
        let media = operation == Operation::Download;
        let api = if media { Api::Download } else { api };
        let (bucket, object) = (bucket.to_owned(), object.to_owned());
        Ok(Call { api, operation, bucket, object, query: self.query })
    }

    fn method_of(&self, parts: &[&str]) -> Operation {
        use Operation::*;
        let media = self.query.get("alt") == Some("media");
        match (self.method, parts) {
            ("POST", ["batch", "storage", "v1", ..]) => Batch,
            ("GET", ["storage", "v1", "projects", project, "serviceAccount"]) => {
                GetServiceAccount { project: (*project).to_owned() }
            }
            ("GET", ["storage", "v1", "b"]) => ListBuckets,
            ("POST", ["storage", "v1", "b"]) => InsertBucket,
            ("GET", ["storage", "v1", "b", _]) => GetBucket,
            ("PATCH", ["storage", "v1", "b", _]) => PatchBucket,
            ("PUT", ["storage", "v1", "b", _]) => UpdateBucket,
            ("DELETE", ["storage", "v1", "b", _]) => DeleteBucket,
            ("GET", ["storage", "v1", "b", _, "storageLayout"]) => GetStorageLayout,
            ("GET", ["storage", "v1", "b", _, "iam"]) => GetBucketPolicy,
            ("PUT", ["storage", "v1", "b", _, "iam"]) => SetBucketPolicy,
            ("GET", ["storage", "v1", "b", _, "iam", "testPermissions"]) => TestBucketPermissions,
            ("GET", ["storage", "v1", "b", _, "managedFolders"]) => ListManagedFolders,
            ("GET", ["storage", "v1", "b", _, "o"]) => ListObjects,
            ("GET" | "HEAD", ["storage", "v1", "b", _, "o", _]) if media => Download,
            ("GET", ["storage", "v1", "b", _, "o", _]) => GetObject,
            ("PATCH", ["storage", "v1", "b", _, "o", _]) => PatchObject,
            ("PUT", ["storage", "v1", "b", _, "o", _]) => UpdateObject,
            ("DELETE", ["storage", "v1", "b", _, "o", _]) => DeleteObject,
            ("POST", ["storage", "v1", "b", _, "o", _, "compose"]) => Compose,
            ("POST", ["storage", "v1", "b", _, "o", _, verb, "b", bucket, "o", object]) => {
                let (to_bucket, to_object) = ((*bucket).to_owned(), (*object).to_owned());
                match *verb {
                    "rewriteTo" => Rewrite { to_bucket, to_object },
                    "copyTo" => Copy { to_bucket, to_object },
                    _ => self.unknown(parts),
                }
            }
            (_, ["storage", "v1", "b", _, "acl" | "defaultObjectAcl", ..])
            | (_, ["storage", "v1", "b", _, "o", _, "acl", ..]) => LegacyAcl {
                verb: match self.method {
                    "GET" => "get",
                    "DELETE" => "delete",
                    "POST" => "insert",
                    _ => "update",
                },
            },
            _ => self.unknown(parts),
        }
    }

    fn upload(&self, parts: &[&str]) -> Operation {
        use Operation::*;
        if !matches!(parts, ["upload", "storage", "v1", "b", _, "o"]) {
            return self.unknown(parts);
        }
        let kind = self.query.get("uploadType").unwrap_or("resumable");
        match (self.method, self.query.get("upload_id")) {
            ("PUT" | "POST", Some(id)) => ContinueResumable { upload_id: id.to_owned() },
            ("DELETE", Some(id)) => CancelResumable { upload_id: id.to_owned() },
            ("POST" | "PUT", None) if kind == "media" => InsertMedia,
            ("POST" | "PUT", None) if kind == "multipart" => InsertMultipart,
            ("POST" | "PUT", None) if kind == "resumable" => StartResumable,
            _ => self.unknown(parts),
        }
    }

    fn download(&self, parts: &[&str]) -> Operation {
        match (self.method, parts) {
            ("GET" | "HEAD", ["download", "storage", "v1", "b", _, "o", _]) => Operation::Download,
            _ => self.unknown(parts),
        }
    }

    fn unknown(&self, parts: &[&str]) -> Operation {
        // Names stand as `*`, so that one kind of call is one kind of log line.
        let mut previous = "";
        let shown = parts.iter().map(|part| {
            let name = matches!(previous, "b" | "o" | "projects") && *part != previous;
            previous = if name { "" } else { part };
            if name { "*" } else { part }
        });
        Operation::Unknown(format!("{} /{}", self.method, shown.collect::<Vec<_>>().join("/")))
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
