//! The program is killed at any moment, and every change that it answered is there again.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::scene::{Cluster, WORLD};

struct Program {
    child: Child,
    admin: String,
}

impl Program {
    #[expect(clippy::disallowed_methods, reason = "it is killed, which crates/process never does")]
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_google-emulator"))
            .args(["gateway", "--listen=127.0.0.1:0", "--sql-listen=127.0.0.1:0"])
            .args(["--admin-listen=127.0.0.1:0", "--proxy-listen=127.0.0.1:0"])
            .arg("--world")
            .arg(folder.join("world.yaml"))
            .arg("--kubernetes-jwks")
            .arg(folder.join("jwks.json"))
            .arg("--state")
            .arg(folder.join("state"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut admin = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let address = line["resource"].as_str().unwrap_or_default().to_owned();
            match line["surface"].as_str() {
                Some("admin") => admin = address,
                Some("gateway") => break,
                _ => {}
            }
        }
        assert!(!admin.is_empty(), "the program said no address");
        Self { child, admin }
    }
}

/// Killed with SIGKILL, also when a check fails.
impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A request to the admin port; nothing when the program is dead.
async fn ask(admin: &str, method: &str, path: &str, body: &Value) -> Option<Value> {
    let stream = TcpStream::connect(admin).await.ok()?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.ok()?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "admin");
    let request = request.body(Full::<Bytes>::from(body.to_string())).unwrap();
    let response = sender.send_request(request).await.ok()?;
    assert_eq!(response.status(), 200);
    let bytes = response.into_body().collect().await.ok()?.to_bytes();
    serde_json::from_slice(&bytes).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_that_was_answered_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("world.yaml"), WORLD).unwrap();
    let jwks = Cluster::new().jwks().to_string();
    std::fs::write(folder.path().join("jwks.json"), jwks).unwrap();
    let mut answered = 0_u64;
    let mut authority: Option<Value> = None;
    for round in 0..12_u64 {
        let program = Program::start(folder.path());
        let found = ask(&program.admin, "GET", "/notes/count", &Value::Null).await.unwrap();
        let found = found["value"].as_u64().unwrap_or(0);
        // A change whose answer was lost may be there; one that was answered must be.
        assert!(found >= answered, "round {round}: {found} of {answered}");
        assert!(found <= answered + 1, "round {round}: {found} of {answered}");
        let ca = ask(&program.admin, "GET", "/authority", &Value::Null).await.unwrap();
        assert_eq!(*authority.get_or_insert_with(|| ca.clone()), ca);
        let admin = program.admin.clone();
        let writer = tokio::spawn(async move {
            let mut count = found;
            let put = |value: u64| json!({ "value": value });
            while ask(&admin, "PUT", "/notes/count", &put(count + 1)).await.is_some() {
                count += 1;
            }
            count
        });
        let moment = tokio::time::Instant::now() + Duration::from_millis(5 + round * 7);
        tokio::time::sleep_until(moment).await;
        drop(program);
        answered = writer.await.unwrap();
    }
    assert!(answered > 0, "nothing was written");
}
