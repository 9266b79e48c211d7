//! Whether the rows of a run are in PostgreSQL, asked past MLflow.

use super::mlflow::refused;
use crate::{
    error::{Error, Result},
    exec::{Command, exec},
    fields::text,
    observed::Kind,
    status::{State, assess},
    watch::selection,
};
use ::watch::List;
use kube::Client;
use serde_json::Value;
use std::time::Duration;

/// A PostgreSQL in the cluster whose pod has `psql`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its namespace.
    pub namespace: String,
    /// What selects its pod.
    pub labels: String,
    /// The container with `psql`; the first one when none is given.
    pub container: Option<String>,
}

impl Default for Database {
    fn default() -> Self {
        Database {
            namespace: "mlflow".to_owned(),
            labels: "app=postgres".to_owned(),
            container: None,
        }
    }
}

/// How many rows a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) runs: u64,
    pub(super) metrics: u64,
    pub(super) params: u64,
}

/// The pod knows its user and its database; over its own socket it needs no password.
const PSQL: &str = r#"exec psql --no-psqlrc --tuples-only --no-align --field-separator=' ' \
    --username "${POSTGRES_USER:-${PGUSER:-mlflow}}" --dbname "${POSTGRES_DB:-${PGDATABASE:-mlflow}}" \
    --command "$0""#;

impl Database {
    pub(super) async fn rows(&self, client: &Client, run_id: &str) -> Result<Rows> {
        let pod = self.pod(client).await?;
        let count =
            |table: &str| format!("(SELECT count(*) FROM {table} WHERE run_uuid = '{run_id}')");
        let sql = format!("SELECT {}, {}, {}", count("runs"), count("metrics"), count("params"));
        let command = Command {
            namespace: &self.namespace,
            pod: &pod,
            container: self.container.as_deref(),
            argv: &["sh", "-c", PSQL, &sql],
            limit: Duration::from_secs(30),
        };
        let output = exec(client, &command).await?;
        if output.code != Some(0) {
            let what = format!("psql in pod `{pod}`");
            return Err(refused(what, output.stderr));
        }
        parse(&output.stdout).ok_or_else(|| refused("count the rows", output.stdout))
    }

    async fn pod(&self, client: &Client) -> Result<String> {
        let pods = selection(Kind::Pod, &self.namespace).labels(&self.labels);
        let List { items, .. } = ::watch::list(client, &pods)
            .await
            .map_err(|it| Error::api(format!("list pods with `{}`", self.labels), it))?;
        let ready = items.into_iter().map(with_kind).find(|it| assess(it).state == State::Current);
        ready.map(|it| text(&it, "/metadata/name").to_owned()).ok_or_else(|| {
            refused("find the database", format!("no ready pod with {}", self.labels))
        })
    }
}

/// Members of a list come without their kind.
fn with_kind(mut pod: Value) -> Value {
    pod["kind"] = "Pod".into();
    pod
}

fn parse(line: &str) -> Option<Rows> {
    let mut counts = line.split_whitespace().map(|it| it.parse().ok());
    Some(Rows { runs: counts.next()??, metrics: counts.next()??, params: counts.next()?? })
}

#[cfg(test)]
mod tests {
    use super::{Rows, parse};

    #[test]
    fn counts_are_read_in_order() {
        assert_eq!(parse("1 2 3\n"), Some(Rows { runs: 1, metrics: 2, params: 3 }));
    }

    #[test]
    fn an_error_is_no_count() {
        assert_eq!(parse("ERROR: no table"), None);
        assert_eq!(parse("1 2"), None);
    }
}
