//! A real API server on a real etcd, without nodes or controllers, shared by all test processes.
//!
//! It takes about six seconds to start, so nextest's one process per test must not mean one server
//! per test. `control_plane.sh` tells how it ends.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use k8s_openapi::ByteString;
use kube::{Client, Config, config::AuthInfo};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::json;
use tokio::time::{interval, timeout};

const TOKEN: &str = "api-tier";
/// On two busy cores a start took up to 20 s.
const START: Duration = Duration::from_secs(120);

struct ControlPlane {
    home: PathBuf,
    port: u16,
    /// Locked until this process ends, which keeps the server alive.
    _in_use: File,
}

/// A client of the server, which is started when no other test process did so before.
pub(crate) fn client() -> Client {
    static SHARED: OnceLock<ControlPlane> = OnceLock::new();
    // A thread of its own, because the caller's runtime must not be blocked from inside.
    let shared = SHARED.get_or_init(|| thread::spawn(join_or_start).join().expect("control plane"));
    connect(&shared.home, shared.port).expect("the certificate was there before")
}

fn join_or_start() -> ControlPlane {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("api-tier");
    fs::create_dir_all(&folder).expect("make the folder");
    let open = |name: &str| {
        let mut options = File::options();
        options.create(true).append(true).open(folder.join(name)).expect("open a lock file")
    };
    let starting = open("start.lock");
    starting.lock().expect("lock the start");
    let in_use = open("users.lock");
    in_use.lock_shared().expect("lock the use");

    let home = folder.join("server");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("make a runtime");
    let running = fs::read_to_string(home.join("ready")).ok().and_then(|it| it.parse().ok());
    let running = running.filter(|port| runtime.block_on(ready_within(&home, *port, 5)));
    let port = running.unwrap_or_else(|| {
        let port = start(&home);
        if !runtime.block_on(ready_within(&home, port, START.as_secs())) {
            let log = fs::read_to_string(home.join("apiserver.log")).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(20).collect();
            panic!(
                "kube-apiserver did not start in {START:?}; its log, last line first:\n{}",
                end.join("\n")
            );
        }
        fs::write(home.join("ready"), port.to_string()).expect("mark the server as ready");
        port
    });
    ControlPlane { home, port, _in_use: in_use }
}

/// Starts the two programs in a process group of their own: they serve other test processes too, so
/// an interrupt of this one must not end them.
#[expect(
    clippy::disallowed_methods,
    clippy::zombie_processes,
    reason = "the control plane outlives every time limit, and may outlive this process"
)]
fn start(home: &Path) -> u16 {
    let (apiserver, etcd) = (program("MLFLOW_GKE_KUBE_APISERVER"), program("MLFLOW_GKE_ETCD"));
    let _ = fs::remove_dir_all(home);
    fs::create_dir_all(home).expect("make the folder");
    write_keys(home);
    let ports: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("find a free port")).collect();
    let ports: Vec<u16> =
        ports.iter().map(|it| it.local_addr().expect("read the port").port()).collect();
    let mut script = Command::new("sh");
    script.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/control_plane.sh"));
    script.arg(etcd).arg(apiserver).arg(home).args(ports.iter().map(u16::to_string));
    script.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    script.spawn().expect("run sh");
    ports[2]
}

pub(crate) fn program(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| {
        panic!("{variable} is not set\nhint: `cargo xtask test` builds the program and sets it")
    });
    assert!(path.is_file(), "{variable}: no program at {}\nhint: cargo xtask test", path.display());
    path
}

/// The keys that sign service account tokens, and the token of the tests.
fn write_keys(home: &Path) {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref(), &random)
        .expect("key");
    // What precedes the point in every public key of the curve P-256.
    let mut public = vec![
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    public.extend(pair.public_key().as_ref());
    let write = |name: &str, text: &str| fs::write(home.join(name), text).expect("write a key");
    write("account.key", &pem("PRIVATE KEY", key.as_ref()));
    write("account.pub", &pem("PUBLIC KEY", &public));
    write("tokens.csv", &format!("{TOKEN},tests,tests,\"system:masters\"\n"));
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = json!(ByteString(der.to_vec()));
    let text = text.as_str().expect("base64 is text");
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|it| str::from_utf8(it).expect("ascii")).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

/// `None` until the server has made its certificate.
fn connect(home: &Path, port: u16) -> Option<Client> {
    let certificate = home.join("tls/apiserver.crt");
    certificate.is_file().then_some(())?;
    let mut config = Config::new(format!("https://127.0.0.1:{port}").parse().ok()?);
    config.root_cert_file = Some(certificate);
    config.auth_info = serde_json::from_value::<AuthInfo>(json!({ "token": TOKEN })).ok()?;
    Client::try_from(config).ok()
}

async fn ready_within(home: &Path, port: u16, seconds: u64) -> bool {
    let ready = async {
        // Before the server is up there is nothing to watch, so this one place has to ask again.
        let mut ticks = interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            let Some(client) = connect(home, port) else { continue };
            let request = hyper::Request::get("/readyz").body(Vec::new()).expect("a request");
            if client.request_text(request).await.is_ok() {
                return;
            }
        }
    };
    timeout(Duration::from_secs(seconds), ready).await.is_ok()
}
