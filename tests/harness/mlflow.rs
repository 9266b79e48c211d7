//! As much of an MLflow client as the tests need, over plain HTTP to a local port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

/// How long MLflow may take for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// MLflow on a port of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Mlflow {
    /// The port.
    pub port: u16,
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Mlflow {
    /// Asks once, on a connection of its own.
    ///
    /// # Errors
    /// No whole answer came.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> anyhow::Result<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).context("connect")?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        let kind = if path.contains("/mlflow-artifacts/artifacts/") {
            "text/plain"
        } else {
            "application/json"
        };
        // HTTP/1.0 knows no chunks, and its connection ends with the answer.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost:{}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).with_context(|| format!("{method} {path}"))?;
        parse(&bytes).with_context(|| format!("{method} {path}: the answer broke off"))
    }

    /// Asks in JSON and expects 200.
    ///
    /// # Errors
    /// It answered otherwise.
    pub fn json(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(method, path, &body)?;
        ensure!(
            answer.status == 200,
            "{method} {path} answered {}: {}",
            answer.status,
            answer.body
        );
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// Makes an experiment, or finds it, and creates a run in it. Returns the run's id.
    ///
    /// # Errors
    /// MLflow refuses.
    pub fn create_run(&self, experiment: &str, name: &str) -> anyhow::Result<String> {
        let found = self.ask(
            "GET",
            &format!("/api/2.0/mlflow/experiments/get-by-name?experiment_name={experiment}"),
            "",
        )?;
        let id = if found.status == 200 {
            serde_json::from_str::<Value>(&found.body)?["experiment"]["experiment_id"].clone()
        } else {
            let create = "/api/2.0/mlflow/experiments/create";
            self.json("POST", create, &json!({ "name": experiment }))?["experiment_id"].clone()
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let now = u64::try_from(now)?;
        let body = json!({ "experiment_id": id, "run_name": name, "start_time": now });
        let run = self.json("POST", "/api/2.0/mlflow/runs/create", &body)?;
        let id = run["run"]["info"]["run_id"].as_str().context("a run has an id")?;
        Ok(id.to_owned())
    }

    /// A run as MLflow knows it.
    ///
    /// # Errors
    /// MLflow does not know it.
    pub fn run(&self, id: &str) -> anyhow::Result<Value> {
        let path = format!("/api/2.0/mlflow/runs/get?run_id={id}");
        Ok(self.json("GET", &path, &Value::Null)?["run"].take())
    }

    /// The path by which the server stores an artifact of a run.
    ///
    /// # Errors
    /// The run's artifacts are not proxied by the server.
    pub fn artifact_path(&self, run: &str, name: &str) -> anyhow::Result<String> {
        let run = self.run(run)?;
        let uri = run["info"]["artifact_uri"].as_str().unwrap_or_default();
        let folder = uri.strip_prefix("mlflow-artifacts:/");
        let folder = folder.with_context(|| format!("`{uri}` is not proxied"))?;
        Ok(format!("/api/2.0/mlflow-artifacts/artifacts/{folder}/{name}"))
    }
}

/// The status, and the body in the length that the headers say.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    // An answer cut short is no answer: what it acknowledged is not known.
    if length.is_some_and(|it| it != body.len()) {
        return None;
    }
    Some(Answer { status, body: String::from_utf8_lossy(body).into_owned() })
}
