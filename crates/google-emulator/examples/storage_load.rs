//! Load on Cloud Storage: one big object up and down, or many small ones by several clients.
//!
//! `storage_load URL CONNECT BUCKET up|down|put|get COUNT [CLIENTS]` prints one line of JSON. URL is
//! `https://storage.googleapis.com` (with CA_FILE and TOKEN in the environment) or the store's own;
//! CONNECT is the address to dial. COUNT is MiB for `up` and `down`, requests for the other two.

use std::io::{Error, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use google_emulator::body::{self, Body};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const CHUNK: usize = 64 << 10;
const SMALL: usize = 1 << 10;

#[derive(Clone)]
struct Target {
    url: Uri,
    connect: SocketAddr,
    bucket: String,
    token: Option<String>,
    tls: Option<TlsConnector>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next =
        |name: &str| arguments.next().ok_or_else(|| Error::other(format!("{name} is missing")));
    let url: Uri = next("URL")?.parse()?;
    let connect = next("CONNECT")?.parse()?;
    let bucket = next("BUCKET")?;
    let (what, count) = (next("up, down, put or get")?, next("COUNT")?.parse::<usize>()?);
    let clients = next("CLIENTS").map_or(Ok(1), |it| it.parse::<usize>())?;
    let tls = if url.scheme_str() == Some("https") { Some(connector()?) } else { None };
    let token = std::env::var("TOKEN").ok();
    let target = Target { url, connect, bucket, token, tls };
    let line = match what.as_str() {
        "up" => big(&target, count, true).await?,
        "down" => big(&target, count, false).await?,
        "put" => small(target, count, clients, true).await?,
        "get" => small(target, count, clients, false).await?,
        other => return Err(format!("`{other}` is no load").into()),
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

async fn big(target: &Target, mebibytes: usize, up: bool) -> Result<Value> {
    let length = mebibytes << 20;
    let mut sender = target.connect().await?;
    let began = Instant::now();
    let seen = if up {
        target.put(&mut sender, "load/big", length).await?
    } else {
        target.get(&mut sender, "load/big").await?
    };
    let took = began.elapsed();
    if seen != length {
        return Err(format!("{seen} bytes instead of {length}").into());
    }
    let rate = length as f64 / took.as_secs_f64() / f64::from(1 << 20);
    Ok(
        json!({ "what": if up { "up" } else { "down" }, "mib": mebibytes, "mib_per_s": rate.round() }),
    )
}

async fn small(target: Target, count: usize, clients: usize, put: bool) -> Result<Value> {
    let each = count / clients.max(1);
    let began = Instant::now();
    let tasks = (0..clients).map(|client| {
        let target = target.clone();
        tokio::spawn(async move {
            let mut sender = target.connect().await?;
            let mut times = Vec::with_capacity(each);
            for index in 0..each {
                let name = format!("load/small-{client}-{}", index % 16);
                let began = Instant::now();
                if put {
                    target.put(&mut sender, &name, SMALL).await?;
                } else {
                    target.get(&mut sender, &name).await?;
                }
                times.push(began.elapsed());
            }
            Result::Ok(times)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut times: Vec<Duration> = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let took = began.elapsed();
    times.sort();
    let at = |share: usize| {
        times.get(times.len() * share / 100).map_or(0.0, |it| it.as_secs_f64() * 1e3)
    };
    Ok(json!({
        "what": if put { "put" } else { "get" }, "clients": clients, "requests": times.len(),
        "per_s": (times.len() as f64 / took.as_secs_f64()).round(), "p50_ms": at(50), "p99_ms": at(99),
    }))
}

impl Target {
    async fn connect(&self) -> Result<SendRequest<Body>> {
        let stream = TcpStream::connect(self.connect).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            return Ok(sender);
        };
        let name = ServerName::try_from(self.url.host().unwrap_or_default().to_owned())?;
        let (sender, connection) =
            handshake(TokioIo::new(tls.connect(name, stream).await?)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn put(
        &self,
        sender: &mut SendRequest<Body>,
        name: &str,
        length: usize,
    ) -> Result<usize> {
        let path = format!("/upload/storage/v1/b/{}/o?uploadType=media&name={name}", self.bucket);
        let chunk = Bytes::from(vec![7; CHUNK.min(length)]);
        let chunks = (0..length.div_ceil(CHUNK)).map(move |_| Ok::<_, Error>(chunk.clone()));
        let request = self.request("POST", &path).header("content-length", length);
        let answer =
            sender.send_request(request.body(body::stream(futures::stream::iter(chunks)))?).await?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        if status != StatusCode::OK {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&bytes)).into());
        }
        let resource: Value = serde_json::from_slice(&bytes)?;
        Ok(resource["size"].as_str().unwrap_or_default().parse()?)
    }

    async fn get(&self, sender: &mut SendRequest<Body>, name: &str) -> Result<usize> {
        let name = name.replace('/', "%2F");
        let path = format!("/download/storage/v1/b/{}/o/{name}?alt=media", self.bucket);
        let answer = sender.send_request(self.request("GET", &path).body(body::empty())?).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("{} for {path}", answer.status()).into());
        }
        let mut frames = answer.into_body().into_data_stream();
        let mut length = 0;
        while let Some(data) = frames.next().await {
            length += data?.len();
        }
        Ok(length)
    }

    fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        let host = self.url.authority().map_or("", |it| it.as_str());
        let request = Request::builder().method(method).uri(path).header("host", host);
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }
}

fn connector() -> Result<TlsConnector> {
    let file = std::env::var("CA_FILE")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}
