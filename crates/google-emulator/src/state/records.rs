//! What the state's rows hold, beside Cloud SQL.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A Google service account; its key is the email.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccount {
    /// Project that owns it.
    pub project: String,
    /// `NAME@PROJECT.iam.gserviceaccount.com`.
    pub email: String,
    /// 21 digits, never given twice.
    pub unique_id: String,
    /// For people.
    #[serde(default)]
    pub display_name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// A disabled account gets no tokens.
    #[serde(default)]
    pub disabled: bool,
    /// Changes with every change.
    pub etag: u64,
}

/// A bucket; its key is the name. The objects are in the storage server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Project that owns it.
    pub project: String,
    /// Globally unique.
    pub name: String,
    /// `EUROPE-NORTH1`, in capitals as Google answers.
    pub location: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Seconds since 1970.
    pub updated: u64,
    /// Counts changes of the attributes below.
    pub metageneration: u64,
    /// Every other attribute of the bucket resource as its creator wrote it (`storageClass`,
    /// `labels`, `iamConfiguration`, …).
    #[serde(default)]
    pub attributes: Map<String, Value>,
    /// Refuses writes, because a test asked for it.
    #[serde(default)]
    pub read_only: bool,
}

/// An open multipart upload of the XML API; its key is its id. The parts are in the storage server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultipartUpload {
    /// The bucket that the object will be in.
    pub bucket: String,
    /// The object that it will be.
    pub object: String,
    /// Seconds since 1970.
    pub initiated: u64,
    /// What the object's resource will say beside its name (`contentType`, `metadata`, …).
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// A long-running operation of any API; its key is `SERVICE/NAME`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The name as its API writes it.
    pub name: String,
    /// Project that it belongs to.
    pub project: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Seconds since 1970 when it is done; later than now while it runs.
    pub done: u64,
    /// The operation in the form of its API when it is done.
    pub body: Value,
}

/// The signing key of a service account; its key is the email.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// Names it in a JWT's header.
    pub id: String,
    /// PKCS #8, base64.
    pub pkcs8: String,
}

/// A signing authority; its key says what it signs for (`sql/PROJECT/INSTANCE/server`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityRecord {
    /// The private key.
    pub key_pem: String,
    /// The certificate that clients trust.
    pub certificate_pem: String,
    /// What the certificate's subject is made of, to sign in its name.
    pub subject: BTreeMap<String, String>,
}

/// A revoked access token; its key is the token's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// When the token would have expired, and this row is not needed any more.
    pub until: u64,
}
