//! A gateway and a metadata server in this process, and pods that are addresses of loopback.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use google_emulator::{
    clock::{self, Clock as _},
    cloud::{Cloud, Config, Upstreams},
    gateway::serve,
    key_source::{KeySource, Place},
    log::Log,
    metadata::{
        How, Instance, Metadata, Settings,
        pods::file::{PodsFile, Signer},
    },
    world::World,
};
use iam::{Binding, Policy, Resource};
use ring::{rand::SystemRandom, signature};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

pub(crate) const EMAIL: &str = "mlflow@demo.iam.gserviceaccount.com";
pub(crate) const OTHER: &str = "other@demo.iam.gserviceaccount.com";
/// Annotated with [`EMAIL`], which it may be.
pub(crate) const ANNOTATED: &str = "127.0.0.5";
/// Without annotation.
pub(crate) const PLAIN: &str = "127.0.0.6";
pub(crate) const ACCOUNTS: &str = "/computeMetadata/v1/instance/service-accounts";
pub(crate) const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

const WORLD: &str = "
project: {id: demo, number: 123456789012, region: europe-north1, zone: europe-north1-a, cluster: c}
services: [sts.googleapis.com, iam.googleapis.com, iamcredentials.googleapis.com]
serviceAccounts: [{id: mlflow}, {id: other}]
bindings:
- {on: 'serviceAccount:mlflow', role: roles/iam.workloadIdentityUser,
   members: ['serviceAccount:demo.svc.id.goog[mlflow/mlflow]']}
";

/// How the metadata server is set up.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) silent_for: Duration,
    pub(crate) how: How,
}

impl Default for Setup {
    fn default() -> Self {
        Self { silent_for: Duration::ZERO, how: How::Hold }
    }
}

/// What a test has.
pub(crate) struct Fixture {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) clock: Arc<clock::Set>,
    pub(crate) metadata: SocketAddr,
    pub(crate) admin: SocketAddr,
    folder: tempfile::TempDir,
    servers: [JoinHandle<()>; 3],
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(clock::Set::at(whole_seconds()));
        let signer = key(folder.path());
        let cloud = Cloud::open(Config {
            world: World::parse(WORLD).unwrap(),
            state_folder: folder.path().join("state"),
            clock: Arc::clone(&clock) as _,
            log: Log::memory(Arc::clone(&clock) as _),
            upstreams: Upstreams::default(),
            keys: KeySource::new(Place::Given(signer.jwks())),
        })
        .unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, cloud.pki.certificate_pem()).unwrap();
        let (listener, address) = port().await;
        let tls = serve::acceptor(&cloud).unwrap();
        let gateway = serve::gateway(Arc::clone(&cloud), listener, tls);
        write_pods(folder.path(), &json!({ "iam.gke.io/gcp-service-account": EMAIL }));
        let instance = Instance::of(&cloud.world, "node-1");
        let path = folder.path().join("pods.json");
        let pods =
            PodsFile::open(&path, cloud.world.cluster_uri(), Arc::clone(&clock) as _).unwrap();
        let metadata = Metadata::new(Settings {
            instance,
            pods: Arc::new(pods),
            gateway: Some(address.to_string()),
            ca_file,
            silent_for: setup.silent_for,
            how: setup.how,
            cache_for: Duration::from_secs(7200),
            clock: Arc::clone(&clock) as _,
            log: Log::memory(Arc::clone(&clock) as _),
        })
        .unwrap();
        let (pods_port, pods_address) = port().await;
        let (admin_port, admin) = port().await;
        let servers = [
            tokio::spawn(gateway),
            tokio::spawn(metadata.clone().serve(pods_port)),
            tokio::spawn(metadata.serve_admin(admin_port)),
        ];
        Self { cloud, clock, metadata: pods_address, admin, folder, servers }
    }

    /// Changes the annotation of the annotated pod's service account.
    pub(crate) fn annotate(&self, google_sa: Option<&str>) {
        let annotations =
            google_sa.map_or(json!({}), |it| json!({ "iam.gke.io/gcp-service-account": it }));
        write_pods(self.folder.path(), &annotations);
    }

    /// Who may be a service account.
    pub(crate) fn bind(&self, email: &str, role: &str, members: &[&str]) {
        let members = members.iter().map(ToString::to_string).collect();
        let binding = Binding { role: role.to_owned(), members, condition: None };
        let resource = Resource::service_account("demo", email);
        let changed = self.cloud.state.change(|state| {
            let policy =
                Policy::new(google_emulator::state::etag(state.next_number()), vec![binding]);
            state.policies.insert(resource.name(), policy);
            Ok(())
        });
        changed.unwrap();
    }

    /// The gateway breaks every connection from now on.
    pub(crate) fn break_gateway(&self) {
        let rule = r#"{"times": 1000, "fault": {"reset": {}}}"#;
        self.cloud.faults.add(serde_json::from_str(rule).unwrap());
    }

    /// What a pod gets, with the header that it takes.
    pub(crate) async fn get(&self, pod: &str, path: &str) -> Answer {
        self.ask(pod, &format!("GET {path} HTTP/1.1\r\nMetadata-Flavor: Google\r\n")).await
    }

    /// What a request gets, given as it is sent up to the empty line.
    pub(crate) async fn ask(&self, pod: &str, head: &str) -> Answer {
        let head = format!("{head}Host: metadata.google.internal\r\nConnection: close\r\n\r\n");
        let bytes = self.raw(pod, head.as_bytes()).await;
        Answer::parse(&bytes)
    }

    /// Every byte that comes back.
    pub(crate) async fn raw(&self, pod: &str, bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        let Ok(mut stream) = self.try_connect(pod).await else { return answer };
        // A server may close before it has read everything; that is its right.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    /// A connection from a pod's address.
    pub(crate) async fn connect(&self, pod: &str) -> TcpStream {
        self.try_connect(pod).await.unwrap()
    }

    /// The same, where the server may break it.
    async fn try_connect(&self, pod: &str) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(pod.parse().unwrap(), 0))?;
        socket.connect(self.metadata).await
    }

    /// A call of the admin port.
    pub(crate) async fn order(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        Answer::parse(&answer)
    }

    /// Whose token an answer has.
    pub(crate) fn owner(&self, answer: &Answer) -> String {
        assert_eq!(answer.status, 200, "{}", answer.text);
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        self.cloud.read_token(&token).unwrap().principal.to_string()
    }

    /// What time it is in the cloud.
    pub(crate) fn now_seconds(&self) -> u64 {
        clock::seconds(self.clock.now())
    }
}

/// Google gives times in whole seconds, so that nothing is rounded in a test.
fn whole_seconds() -> std::time::SystemTime {
    clock::at(clock::seconds(std::time::SystemTime::now()))
}

async fn port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn key(folder: &std::path::Path) -> Signer {
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let der = signature::EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let body = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    std::fs::write(folder.join("key.pem"), pem).unwrap();
    Signer::from_pkcs8(der.as_ref()).unwrap()
}

fn write_pods(folder: &std::path::Path, annotations: &Value) {
    let pods = json!({
        "signing_key": "key.pem",
        "nodes": ["127.0.0.9"],
        "pods": {
            ANNOTATED: {"namespace": "mlflow", "pod": "mlflow-0", "kubernetes_sa": "mlflow",
                        "annotations": annotations},
            PLAIN: {"namespace": "mlflow", "pod": "plain-0", "kubernetes_sa": "plain"},
        },
    });
    std::fs::write(folder.join("new.json"), pods.to_string()).unwrap();
    std::fs::rename(folder.join("new.json"), folder.join("pods.json")).unwrap();
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let all = String::from_utf8_lossy(bytes).into_owned();
        let (head, text) = all.split_once("\r\n\r\n").unwrap_or((&all, ""));
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_lowercase(), text: text.to_owned() }
    }

    pub(crate) fn has(&self, header: &str) -> bool {
        self.head.lines().any(|it| it == header)
    }

    pub(crate) fn json(&self) -> Value {
        assert!(self.has("content-type: application/json"), "{}", self.head);
        serde_json::from_str(&self.text).unwrap()
    }
}
