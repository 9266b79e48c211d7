//! Rows of Cloud SQL: instances, databases and users.

use iam::Principal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A Cloud SQL instance; its key is `PROJECT/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Project that owns it.
    pub project: String,
    /// The bare name.
    pub name: String,
    /// `europe-north1`.
    pub region: String,
    /// `POSTGRES_15`.
    pub database_version: String,
    /// `RUNNABLE`, `MAINTENANCE`, `STOPPED`, …
    pub state: String,
    /// What clients are told to dial on port 3307.
    #[serde(default)]
    pub address: String,
    /// Where the emulator listens for it, when it does not share the common port.
    #[serde(default)]
    pub listen: String,
    /// Where the real PostgreSQL is: `tcp:HOST:PORT` or `unix:/PATH`.
    pub upstream: String,
    /// Seconds since 1970.
    pub created: u64,
    /// `settings` of the instance resource as its creator wrote them.
    #[serde(default)]
    pub settings: Map<String, Value>,
}

/// A database; its key is `PROJECT/INSTANCE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// The name.
    pub name: String,
    /// `UTF8`.
    #[serde(default)]
    pub charset: String,
    /// `en_US.UTF8`.
    #[serde(default)]
    pub collation: String,
}

impl Database {
    /// A database as Cloud SQL makes them when nothing else is said.
    #[must_use]
    pub fn utf8(name: &str) -> Self {
        let (charset, collation) = ("UTF8".to_owned(), "en_US.UTF8".to_owned());
        Self { name: name.to_owned(), charset, collation }
    }
}

/// A database user; its key is `PROJECT/INSTANCE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name in the database.
    pub name: String,
    /// `BUILT_IN`, `CLOUD_IAM_USER`, `CLOUD_IAM_SERVICE_ACCOUNT`.
    pub kind: String,
    /// Roles that it is a member of, beside Cloud SQL's own.
    #[serde(default)]
    pub database_roles: Vec<String>,
}

/// An ephemeral client certificate that was given out; its key is the serial number in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// `PROJECT/NAME` of the instance that it is for.
    pub instance: String,
    /// Who asked for it.
    pub principal: String,
    /// Whose login token came with the request, for IAM authentication.
    #[serde(default)]
    pub login: Option<Principal>,
    /// Seconds since 1970.
    pub expires: u64,
}
