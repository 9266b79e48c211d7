//! The program itself, in a process of its own: what it holds, and what is left of it when it dies.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::time_provider::DefaultTimeProvider;

use crate::scene::{Cluster, WORLD, connector_at};

/// Nobody listens where its PostgreSQL should be.
const INSTANCES: &str = "
instances: [{name: i, databaseVersion: POSTGRES_15, upstream: 'tcp:127.0.0.1:1'}]
";

/// A signal for too long a file would end the program; a full disk has none.
const WITHOUT_SIGNAL: &str = "trap '' XFSZ; exec \"$0\" \"$@\"";

pub(crate) struct Program {
    child: Child,
    pub(crate) gateway: String,
    pub(crate) admin: String,
    pub(crate) proxy: String,
    pub(crate) sql: String,
}

/// Writes what the program is started with.
pub(crate) fn furnish(folder: &Path) {
    std::fs::write(folder.join("world.yaml"), format!("{WORLD}{INSTANCES}")).unwrap();
    std::fs::write(folder.join("jwks.json"), Cluster::new().jwks().to_string()).unwrap();
}

impl Program {
    #[expect(clippy::disallowed_methods, reason = "it is killed, which crates/process never does")]
    pub(crate) fn start(folder: &Path) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", WITHOUT_SIGNAL, env!("CARGO_BIN_EXE_google-emulator"), "gateway"])
            .args(["--listen=127.0.0.1:0", "--sql-listen=127.0.0.1:0"])
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
        let [mut admin, mut proxy, mut sql, mut gateway] = [const { String::new() }; 4];
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let address = line["resource"].as_str().unwrap_or_default().to_owned();
            match line["surface"].as_str() {
                Some("admin") => admin = address,
                Some("proxy") => proxy = address,
                Some("sql") => sql = address,
                Some("gateway") => {
                    gateway = address;
                    break;
                }
                _ => {}
            }
        }
        assert!(!gateway.is_empty(), "the program said no address");
        Self { child, gateway, admin, proxy, sql }
    }

    /// A request to the admin port; nothing when the program is dead.
    pub(crate) async fn operate(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Option<(u16, Value)> {
        operate(&self.admin, method, path, body).await
    }

    /// Calls an API as the project's owner.
    pub(crate) async fn get(&self, url: &str) -> (u16, Value) {
        let owner = json!({ "member": "user:owner@example.com" });
        let (_, minted) = self.operate("POST", "/tokens", &owner).await.unwrap();
        let (host, path) = url.split_once('/').unwrap();
        let request = Request::get(format!("/{path}")).header("host", host).header(
            "authorization",
            format!("Bearer {}", minted["access_token"].as_str().unwrap()),
        );
        ask(self.tls(host).await, request, String::new()).await.unwrap()
    }

    /// A connection that is past its handshake.
    pub(crate) async fn tls(&self, host: &str) -> TlsStream<TcpStream> {
        let (_, authority) = self.operate("GET", "/authority", &Value::Null).await.unwrap();
        let authority = authority["certificate"].as_str().unwrap();
        let connector = connector_at(authority, &[b"http/1.1"], Arc::new(DefaultTimeProvider));
        let stream = TcpStream::connect(&self.gateway).await.unwrap();
        connector.connect(ServerName::try_from(host.to_owned()).unwrap(), stream).await.unwrap()
    }

    /// How many file descriptors it holds.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// How much memory it holds.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// From now on no file of it becomes longer, as if its disk were full; without a number there
    /// is room again.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
    }
}

/// Killed with SIGKILL, also when a check fails.
impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A request to an admin port; nothing when the program behind it is dead.
pub(crate) async fn operate(
    admin: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> Option<(u16, Value)> {
    let stream = TcpStream::connect(admin).await.ok()?;
    let request = Request::builder().method(method).uri(path).header("host", "admin");
    ask(stream, request, body.to_string()).await
}

async fn ask<S>(
    stream: S,
    request: hyper::http::request::Builder,
    body: String,
) -> Option<(u16, Value)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.ok()?;
    tokio::spawn(connection);
    let request = request.body(Full::<Bytes>::from(body)).unwrap();
    let response = sender.send_request(request).await.ok()?;
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.ok()?.to_bytes();
    serde_json::from_slice(&bytes).ok().map(|it| (status, it))
}
