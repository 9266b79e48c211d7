//! A gateway on loopback, a cluster that signs tokens, and a client that trusts the private CA.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use google_emulator::clock::{self, Clock as _};
use google_emulator::cloud::{Cloud, Config, Upstreams};
use google_emulator::gateway::serve;
use google_emulator::key_source::{KeySource, Place};
use google_emulator::log::Log;
use google_emulator::world::World;
use google_emulator::{admin, connect};
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use iam::Principal;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

pub(crate) const GSA: &str = "mlflow@local.iam.gserviceaccount.com";
pub(crate) const NOW: u64 = 1_900_000_000;

pub(crate) const WORLD: &str = r#"
project: {id: local, number: 123456789012, region: europe-north1, zone: europe-north1-a, cluster: c}
kubernetes: {issuer: "https://kubernetes.default.svc.cluster.local"}
services:
  - cloudresourcemanager.googleapis.com
  - iam.googleapis.com
  - iamcredentials.googleapis.com
serviceAccounts: [{id: mlflow, displayName: MLflow}]
buckets: [{name: artifacts}]
bindings:
  - {on: project, role: roles/owner, members: ["user:owner@example.com"]}
"#;

/// A cluster's signing key.
pub(crate) struct Cluster {
    pair: EcdsaKeyPair,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self { pair: EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap() }
    }

    pub(crate) fn jwks(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y }] })
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// A projected token as Kubernetes makes it.
    pub(crate) fn token(&self, namespace: &str, kubernetes_sa: &str) -> String {
        self.sign(&json!({ "alg": "ES256", "kid": "k" }), &claims(namespace, kubernetes_sa))
    }
}

pub(crate) fn claims(namespace: &str, kubernetes_sa: &str) -> Value {
    json!({
        "iss": "https://kubernetes.default.svc.cluster.local",
        "sub": format!("system:serviceaccount:{namespace}:{kubernetes_sa}"),
        "aud": ["local.svc.id.goog"],
        "iat": NOW, "nbf": NOW, "exp": NOW + 3600,
    })
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }
}

pub(crate) struct Scene {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) clock: Arc<clock::Set>,
    pub(crate) cluster: Cluster,
    pub(crate) gateway: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) proxy: SocketAddr,
    pub(crate) connector: TlsConnector,
    _folder: TempDir,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(clock::Set::at(clock::at(NOW)));
        let cluster = Cluster::new();
        let cloud = Cloud::open(Config {
            world: World::parse(WORLD).unwrap(),
            state_folder: folder.path().to_owned(),
            clock: clock.clone(),
            log: Log::memory(clock.clone()),
            upstreams: Upstreams::default(),
            keys: KeySource::new(Place::Given(cluster.jwks())),
        })
        .unwrap();
        let tls = serve::acceptor(&cloud).unwrap();
        let (listener, gateway) = listen().await;
        tokio::spawn(serve::gateway(cloud.clone(), listener, tls.clone()));
        let (listener, admin) = listen().await;
        tokio::spawn(admin::serve(cloud.clone(), listener));
        let (listener, proxy) = listen().await;
        tokio::spawn(connect::serve(cloud.clone(), listener, tls));
        let connector = connector(cloud.pki.certificate_pem(), &[b"http/1.1"]);
        Self { cloud, clock, cluster, gateway, admin, proxy, connector, _folder: folder }
    }

    /// A token for the project's owner.
    pub(crate) fn owner(&self) -> String {
        self.token(&Principal::user("owner@example.com"))
    }

    pub(crate) fn token(&self, principal: &Principal) -> String {
        let scopes = ["https://www.googleapis.com/auth/cloud-platform".to_owned()];
        let hour = Duration::from_hours(1);
        self.cloud.tokens.mint(principal, &scopes, self.clock.now(), hour).text
    }

    pub(crate) async fn tls(&self, host: &str) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.gateway).await.unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        self.connector.connect(name, stream).await.unwrap()
    }

    /// One request over a connection of its own.
    pub(crate) async fn send(&self, host: &str, request: Request<Full<Bytes>>) -> Answer {
        self.try_send(host, request).await.unwrap()
    }

    pub(crate) async fn try_send(
        &self,
        host: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, hyper::Error> {
        let io = TokioIo::new(self.tls(host).await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection);
        read(sender.send_request(request).await?).await
    }

    /// Calls a host with a token and JSON.
    pub(crate) async fn call(&self, token: &str, method: &str, url: &str, body: &Value) -> Answer {
        let (host, path) = url.split_once('/').unwrap();
        let mut request = Request::builder().method(method).uri(format!("/{path}"));
        request = request.header("host", host).header("content-type", "application/json");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.send(host, request.body(Full::from(text)).unwrap()).await
    }

    pub(crate) async fn get(&self, token: &str, url: &str) -> Answer {
        self.call(token, "GET", url, &Value::Null).await
    }

    pub(crate) async fn post(&self, token: &str, url: &str, body: &Value) -> Answer {
        self.call(token, "POST", url, body).await
    }

    /// Exchanges a pod's token.
    pub(crate) async fn exchange(&self, subject: &str) -> Answer {
        self.post("", "sts.googleapis.com/v1/token", &exchange(subject)).await
    }

    /// The access token of a pod itself.
    pub(crate) async fn pod(&self, namespace: &str, kubernetes_sa: &str) -> String {
        let subject = self.cluster.token(namespace, kubernetes_sa);
        let answer = self.exchange(&subject).await.expect(200);
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// A plain request to the admin port.
    pub(crate) async fn operate(&self, method: &str, path: &str, body: &Value) -> Answer {
        let stream = TcpStream::connect(self.admin).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", "admin");
        let request = request.body(Full::<Bytes>::from(body.to_string())).unwrap();
        read(sender.send_request(request).await.unwrap()).await.unwrap()
    }

    /// One request over HTTP/2.
    pub(crate) async fn send_h2(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        let (host, _) = url.split_once('/').unwrap();
        let connector = connector(self.cloud.pki.certificate_pem(), &[b"h2"]);
        let stream = TcpStream::connect(self.gateway).await.unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::get(format!("https://{url}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::<Bytes>::default());
        read(sender.send_request(request.unwrap()).await.unwrap()).await.unwrap()
    }
}

pub(crate) fn exchange(subject: &str) -> Value {
    json!({
        "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": "identitynamespace:local.svc.id.goog:https://container.googleapis.com/v1/\
                     projects/local/locations/europe-north1-a/clusters/c",
        "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
        "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
        "subjectToken": subject,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
    })
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> Result<Answer, hyper::Error> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The client's clock shows what the cloud's shows at the start.
#[derive(Debug)]
struct Fixed;

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(NOW)))
    }
}

pub(crate) fn connector(certificate_pem: &str, protocols: &[&[u8]]) -> TlsConnector {
    connector_at(certificate_pem, protocols, Arc::new(Fixed))
}

pub(crate) fn connector_at(
    certificate_pem: &str,
    protocols: &[&[u8]],
    time: Arc<dyn TimeProvider>,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_details(provider, time)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}
