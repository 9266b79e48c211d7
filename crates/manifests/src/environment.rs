//! The environments, each a folder in `deploy/mlflow/env`.

use std::{fmt, str::FromStr};

use crate::nearest::nearest;

/// Where MLflow runs and what stores its data; spelled as its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Environment {
    /// GKE, PostgreSQL in the cluster.
    Gcp,
    /// GKE, Cloud SQL through the cloud-sql-proxy.
    GcpCloudsql,
    /// A local kind cluster, otherwise as `gcp`.
    Kind,
    /// A local kind cluster, otherwise as `gcp-cloudsql`.
    KindCloudsql,
}

/// No environment has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no environment `{name}`; there are {}\n{}", names(), hint(name))]
pub struct UnknownEnvironment {
    /// What was asked for.
    pub name: String,
}

impl Environment {
    /// All of them.
    pub const ALL: [Environment; 4] =
        [Environment::Gcp, Environment::GcpCloudsql, Environment::Kind, Environment::KindCloudsql];

    /// The name, which is the folder's.
    pub fn name(self) -> &'static str {
        match self {
            Environment::Gcp => "gcp",
            Environment::GcpCloudsql => "gcp-cloudsql",
            Environment::Kind => "kind",
            Environment::KindCloudsql => "kind-cloudsql",
        }
    }

    /// The folder for Kustomize, from the top of the repository.
    pub fn folder(self) -> String {
        format!("deploy/mlflow/env/{}", self.name())
    }

    /// Whether it runs on a cluster of this machine.
    pub fn is_local(self) -> bool {
        matches!(self, Environment::Kind | Environment::KindCloudsql)
    }

    /// Whether the database is Cloud SQL, real or emulated.
    pub fn has_cloudsql(self) -> bool {
        matches!(self, Environment::GcpCloudsql | Environment::KindCloudsql)
    }

    /// The environment on GKE that a local one rehearses; itself for those on GKE.
    pub fn rehearses(self) -> Environment {
        if self.has_cloudsql() { Environment::GcpCloudsql } else { Environment::Gcp }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Environment {
    type Err = UnknownEnvironment;

    fn from_str(name: &str) -> Result<Environment, UnknownEnvironment> {
        Environment::ALL
            .into_iter()
            .find(|it| it.name() == name)
            .ok_or_else(|| UnknownEnvironment { name: name.to_owned() })
    }
}

fn names() -> String {
    Environment::ALL.map(|it| format!("`{it}`")).join(", ")
}

fn hint(name: &str) -> String {
    match nearest(name, Environment::ALL.map(Environment::name)) {
        Some(meant) => format!("hint: did you mean `--env {meant}`?"),
        None => "hint: an environment is a folder in deploy/mlflow/env".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_environment() {
        for it in Environment::ALL {
            assert_eq!(it.to_string().parse(), Ok(it));
            assert!(!it.rehearses().is_local());
            assert_eq!(it.rehearses().has_cloudsql(), it.has_cloudsql());
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_all_names_and_the_nearest() {
        let error = "kind-cloud-sql".parse::<Environment>().unwrap_err().to_string();
        assert_eq!(
            error,
            "no environment `kind-cloud-sql`; there are `gcp`, `gcp-cloudsql`, `kind`, \
             `kind-cloudsql`\nhint: did you mean `--env kind-cloudsql`?"
        );
        let error = "production".parse::<Environment>().unwrap_err().to_string();
        assert!(
            error.ends_with("hint: an environment is a folder in deploy/mlflow/env"),
            "{error}"
        );
    }
}
