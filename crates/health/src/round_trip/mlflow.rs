//! The few calls of MLflow's REST interface that the round trip makes.

use crate::{
    error::{Error, Result},
    tunnel::{Response, Tunnel},
};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

/// A run, and where its artifacts lie below the server's artifact destination.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) artifacts: String,
}

pub(super) struct Mlflow {
    tunnel: Tunnel,
    host: String,
}

/// An answer that makes no sense, cut to its first line.
pub(super) fn refused(what: impl Into<String>, answer: impl Into<String>) -> Error {
    let answer: String = answer.into();
    let first = answer.lines().next().unwrap_or_default().chars().take(300).collect();
    Error::Unexpected { what: what.into(), answer: first }
}

impl Mlflow {
    pub(super) fn new(tunnel: Tunnel, host: &str) -> Mlflow {
        Mlflow { tunnel, host: host.to_owned() }
    }

    /// The pod that answered last.
    pub(super) fn pod(&self) -> &str {
        self.tunnel.pod().map(|it| it.pod.as_str()).unwrap_or_default()
    }

    pub(super) async fn version(&mut self) -> Result<String> {
        let answer = self.ask("GET", "/version", None).await?;
        Ok(answer.text().trim().to_owned())
    }

    /// The id of the experiment with this name, created or restored when needed.
    pub(super) async fn experiment(&mut self, name: &str) -> Result<String> {
        let path =
            format!("/api/2.0/mlflow/experiments/get-by-name?experiment_name={}", escape(name));
        let found = self.send("GET", &path, None).await?;
        if found.status == StatusCode::NOT_FOUND {
            let body = json!({ "name": name });
            let created = self.post("experiments/create", body).await?;
            return field(&created, "/experiment_id");
        }
        let found = accepted("GET", &path, found)?.json();
        let id = field(&found, "/experiment/experiment_id")?;
        if found.pointer("/experiment/lifecycle_stage").and_then(Value::as_str) == Some("deleted") {
            self.post("experiments/restore", json!({ "experiment_id": id })).await?;
        }
        Ok(id)
    }

    pub(super) async fn create_run(&mut self, experiment: &str, now: Duration) -> Result<Run> {
        let body = json!({
            "experiment_id": experiment,
            "run_name": "round trip",
            "start_time": millis(now),
        });
        let created = self.post("runs/create", body).await?;
        let id = field(&created, "/run/info/run_id")?;
        // The id goes into SQL and into paths.
        if !id.bytes().all(|it| it.is_ascii_alphanumeric()) {
            return Err(refused("create a run", format!("the id `{id}` is not plain")));
        }
        let uri = field(&created, "/run/info/artifact_uri")?;
        Ok(Run { id, artifacts: artifact_path(&uri)? })
    }

    pub(super) async fn log_metric(&mut self, run: &str, now: Duration) -> Result<()> {
        let body = json!({
            "run_id": run, "key": "round_trip", "value": 1.0, "timestamp": millis(now), "step": 0,
        });
        self.post("runs/log-metric", body).await.map(drop)
    }

    pub(super) async fn log_param(&mut self, run: &str) -> Result<()> {
        let body = json!({ "run_id": run, "key": "made_by", "value": "mlflow-xtask" });
        self.post("runs/log-parameter", body).await.map(drop)
    }

    pub(super) async fn put_artifact(&mut self, path: &str, content: String) -> Result<()> {
        self.ask("PUT", &artifact_url(path), Some(content)).await.map(drop)
    }

    pub(super) async fn get_artifact(&mut self, path: &str) -> Result<String> {
        Ok(self.ask("GET", &artifact_url(path), None).await?.text())
    }

    pub(super) async fn delete_artifact(&mut self, path: &str) -> Result<()> {
        self.ask("DELETE", &artifact_url(path), None).await.map(drop)
    }

    pub(super) async fn list_artifacts(&mut self, run: &str) -> Result<Vec<String>> {
        let path = format!("/api/2.0/mlflow/artifacts/list?run_id={run}");
        let answer = self.ask("GET", &path, None).await?.json();
        let files = answer.get("files").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(files.iter().filter_map(|it| Some(it.get("path")?.as_str()?.to_owned())).collect())
    }

    pub(super) async fn delete_run(&mut self, run: &str, now: Duration) -> Result<()> {
        let end = json!({ "run_id": run, "status": "FINISHED", "end_time": millis(now) });
        self.post("runs/update", end).await?;
        self.post("runs/delete", json!({ "run_id": run })).await.map(drop)
    }

    async fn post(&mut self, call: &str, body: Value) -> Result<Value> {
        let path = format!("/api/2.0/mlflow/{call}");
        Ok(self.ask("POST", &path, Some(body.to_string())).await?.json())
    }

    async fn ask(&mut self, method: &str, path: &str, body: Option<String>) -> Result<Response> {
        let answer = self.send(method, path, body).await?;
        accepted(method, path, answer)
    }

    async fn send(&mut self, method: &str, path: &str, body: Option<String>) -> Result<Response> {
        let content =
            if path.contains("/mlflow-artifacts/") { "text/plain" } else { "application/json" };
        let mut headers = vec![("Host", self.host.as_str())];
        if body.is_some() {
            headers.push(("Content-Type", content));
        }
        self.tunnel.http(method, path, &headers, body.unwrap_or_default()).await
    }
}

fn accepted(method: &str, path: &str, answer: Response) -> Result<Response> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let path = path.split('?').next().unwrap_or_default();
    Err(refused(format!("{method} {path} answered {}", answer.status), answer.text()))
}

fn field(answer: &Value, pointer: &str) -> Result<String> {
    let text = answer.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned)
        .ok_or_else(|| refused(format!("the answer has no `{pointer}`"), answer.to_string()))
}

fn artifact_url(path: &str) -> String {
    format!("/api/2.0/mlflow-artifacts/artifacts/{path}")
}

/// `mlflow-artifacts:/1/RUN/artifacts` names a path below the server's destination. Any other
/// scheme means that clients write to the store themselves, which is not what is deployed here.
fn artifact_path(uri: &str) -> Result<String> {
    let path = uri.strip_prefix("mlflow-artifacts:").map(|it| it.trim_start_matches('/'));
    path.filter(|it| !it.is_empty()).map(str::to_owned).ok_or_else(|| {
        refused("the server does not serve artifacts itself; the run's artifact URI is", uri)
    })
}

fn millis(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Escapes a value for a path segment or a query.
pub(super) fn escape(value: &str) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.' | b'~');
    value
        .bytes()
        .map(|it| if plain(it) { char::from(it).to_string() } else { format!("%{it:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifact_path_is_what_follows_the_scheme() {
        assert_eq!(artifact_path("mlflow-artifacts:/1/ab/artifacts").unwrap(), "1/ab/artifacts");
    }

    #[test]
    fn artifact_uri_of_a_bucket_is_refused() {
        let error = artifact_path("gs://bucket/1/ab/artifacts").unwrap_err().to_string();
        assert!(error.contains("gs://bucket/1/ab/artifacts"), "{error}");
    }

    #[test]
    fn slash_is_escaped_in_an_object_name() {
        assert_eq!(escape("1/ab c"), "1%2Fab%20c");
    }

    #[test]
    fn refusal_is_cut_to_its_first_line() {
        let error = refused("GET /x answered 500", "first\nsecond").to_string();
        assert_eq!(error, "GET /x answered 500: first");
    }
}
