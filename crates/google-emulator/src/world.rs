//! What a fresh cloud holds, from one file; also what a reset goes back to.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct World {
    /// The one project.
    pub project: Project,
    /// The Kubernetes cluster behind the emulated GKE.
    #[serde(default)]
    pub kubernetes: Kubernetes,
    /// Enabled APIs, `storage.googleapis.com`.
    #[serde(default)]
    pub services: Vec<String>,
    /// Google accounts of people that may own the project, by email.
    #[serde(default)]
    pub service_accounts: Vec<ServiceAccount>,
    /// Who holds which role where.
    #[serde(default)]
    pub bindings: Vec<Binding>,
    /// Buckets.
    #[serde(default)]
    pub buckets: Vec<Bucket>,
    /// Cloud SQL instances.
    #[serde(default)]
    pub instances: Vec<Instance>,
    /// PostgreSQL servers from which new Cloud SQL instances are made.
    #[serde(default)]
    pub sql_servers: Vec<SqlServer>,
    /// Artifact Registry repositories.
    #[serde(default)]
    pub repositories: Vec<Repository>,
}

/// The project's names and places.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Project {
    /// `my-project`.
    pub id: String,
    /// `123456789012`.
    pub number: u64,
    /// `europe-north1`.
    pub region: String,
    /// `europe-north1-a`.
    pub zone: String,
    /// Name of the GKE cluster.
    pub cluster: String,
}

/// How the cluster's own tokens are checked, and where its API server is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubernetes {
    /// `iss` of projected tokens; any is taken when it is empty.
    #[serde(default)]
    pub issuer: String,
    /// The cluster's public keys. Without them they are read from the API server.
    #[serde(default)]
    pub jwks: Option<Value>,
    /// Host of the API server as `clusters.get` tells it, without `https://`.
    #[serde(default)]
    pub endpoint: String,
    /// The API server's CA in PEM.
    #[serde(default)]
    pub certificate_authority: String,
    /// `1.36.0-gke.100` or what it is.
    #[serde(default)]
    pub version: String,
}

/// A Google service account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccount {
    /// The part before the `@`.
    pub id: String,
    /// For people.
    #[serde(default)]
    pub display_name: String,
}

/// A role on a resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Binding {
    /// `project`, `serviceAccount:ID`, `bucket:NAME`, `repository:NAME`.
    pub on: String,
    /// `roles/storage.objectUser`.
    pub role: String,
    /// `serviceAccount:…`, `user:…`, `principal://…`.
    pub members: Vec<String>,
    /// In Google's shape: title, description, expression.
    #[serde(default)]
    pub condition: Option<Value>,
}

/// A bucket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Where it is; the project's region when empty.
    #[serde(default)]
    pub location: String,
    /// Further attributes of the bucket resource.
    #[serde(default)]
    pub attributes: Map<String, Value>,
}

/// A Cloud SQL instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instance {
    /// The bare name.
    pub name: String,
    /// The project's region when empty.
    #[serde(default)]
    pub region: String,
    /// `POSTGRES_15`.
    pub database_version: String,
    /// What clients are told to dial on port 3307.
    #[serde(default)]
    pub address: String,
    /// Where the emulator listens for it; the common port when empty, which several instances can
    /// share when each has a local `address`.
    #[serde(default)]
    pub listen: String,
    /// The real PostgreSQL: `tcp:HOST:PORT` or `unix:/PATH`.
    pub upstream: String,
    /// `settings` of the instance resource.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// Names of databases beside `postgres`.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Database users.
    #[serde(default)]
    pub users: Vec<User>,
}

/// A database user. A password is never in this file: it is set through the API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// The name in the database.
    pub name: String,
    /// `BUILT_IN`, `CLOUD_IAM_USER`, `CLOUD_IAM_SERVICE_ACCOUNT`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Roles that it is a member of, beside Cloud SQL's own; `cloudsqlsuperuser` lets an IAM user
    /// make tables in the databases that the API made.
    #[serde(default)]
    pub database_roles: Vec<String>,
}

/// A PostgreSQL server that no instance uses yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SqlServer {
    /// What clients of the instance are told to dial on port 3307.
    #[serde(default)]
    pub address: String,
    /// Where the emulator listens for it; the common port when empty.
    #[serde(default)]
    pub listen: String,
    /// The real PostgreSQL: `tcp:HOST:PORT` or `unix:/PATH`.
    pub upstream: String,
}

/// An Artifact Registry repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// The project's region when empty.
    #[serde(default)]
    pub location: String,
    /// `DOCKER`.
    pub format: String,
}

/// Why a world cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The file cannot be read.
    #[error("world file `{0}` cannot be read")]
    Unreadable(String, #[source] std::io::Error),
    /// It says something that is not known.
    #[error("world file `{file}`: {why}")]
    Invalid {
        /// The file.
        file: String,
        /// The parser's words, with line and column.
        why: String,
    },
}

impl World {
    /// Reads a YAML or JSON file.
    ///
    /// # Errors
    /// When it is not there, or has something in it that is not known.
    pub fn read(path: &Path) -> Result<Self, WorldError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| WorldError::Unreadable(file.clone(), error))?;
        Self::parse(&text).map_err(|why| WorldError::Invalid { file, why })
    }

    /// Reads a YAML or JSON text.
    ///
    /// # Errors
    /// The parser's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }

    /// The email of a service account of the project.
    #[must_use]
    pub fn email(&self, id: &str) -> String {
        if id.contains('@') {
            return id.to_owned();
        }
        format!("{id}@{}.iam.gserviceaccount.com", self.project.id)
    }

    /// The workload identity pool, `PROJECT.svc.id.goog`.
    #[must_use]
    pub fn pool(&self) -> String {
        format!("{}.svc.id.goog", self.project.id)
    }

    /// The GKE cluster as tokens and bindings name it.
    #[must_use]
    pub fn cluster_uri(&self) -> String {
        let Project { id, zone, cluster, .. } = &self.project;
        format!(
            "https://container.googleapis.com/v1/projects/{id}/locations/{zone}/clusters/{cluster}"
        )
    }

    /// The project by its id or its number.
    #[must_use]
    pub fn is_project(&self, name: &str) -> bool {
        name == self.project.id || name == self.project.number.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_known_is_refused_by_its_name() {
        let project = "{id: p, number: 1, region: r, zone: z, cluster: c}";
        assert!(World::parse(&format!("project: {project}")).is_ok());
        let error = World::parse(&format!("project: {project}\nbukets: []")).unwrap_err();
        assert!(error.contains("bukets"), "{error}");
    }
}
