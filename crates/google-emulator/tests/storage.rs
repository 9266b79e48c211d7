//! Cloud Storage with the real fake-gcs-server behind it: who may do what, and what never reaches
//! the store.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not find ends the test")]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use google_emulator::body::{self, Body};
use google_emulator::clock;
use google_emulator::cloud::{Cloud, Config, Upstreams};
use google_emulator::gateway;
use google_emulator::key_source::{KeySource, Place};
use google_emulator::log::Log;
use google_emulator::world::World;
use http_body_util::BodyExt as _;
use hyper::{HeaderMap, Request};
use iam::Principal;
use process::Running;
use serde_json::{Value, json};

const VARIABLE: &str = "MLFLOW_GKE_FAKE_GCS_SERVER";
const HOST: &str = "storage.googleapis.com";
const WORLD: &str = r#"
project: {id: local, number: 123456789012, region: europe-north1, zone: europe-north1-a, cluster: c}
kubernetes: {jwks: {keys: []}}
services: [storage.googleapis.com]
buckets: [{name: mine}, {name: theirs}]
bindings:
  - {on: "bucket:mine", role: roles/storage.objectUser, members: ["user:writer@example.com"]}
  - {on: "bucket:mine", role: roles/storage.objectViewer, members: ["user:reader@example.com"]}
  - {on: "bucket:mine", role: roles/storage.objectCreator, members: ["user:creator@example.com"]}
  - {on: "bucket:theirs", role: roles/storage.admin, members: ["user:neighbour@example.com"]}
"#;

struct Scene {
    cloud: Arc<Cloud>,
    folder: tempfile::TempDir,
    server: Running,
    port: u16,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    #[track_caller]
    fn expect(self, status: u16, words: &str) -> Self {
        assert!(
            self.status == status && self.text.contains(words),
            "{} {}",
            self.status,
            self.text
        );
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl Scene {
    fn new() -> Self {
        let program = std::env::var_os(VARIABLE).unwrap_or_else(|| {
            panic!("{VARIABLE} is not set\nhint: it is the path of a built fake-gcs-server v1.56.1")
        });
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = process::program(program);
        command.args(["-scheme=http", "-host=127.0.0.1", "-backend=filesystem"]);
        command.args(["-external-url=https://storage.googleapis.com", "-log-level=info"]);
        command.arg(format!("-port={port}"));
        command.arg(format!("-filesystem-root={}", folder.path().join("objects").display()));
        let mut server = Running::start(command).unwrap();
        server.line(Duration::from_secs(20), |it| it.contains("server started")).unwrap();
        let cloud = open(&folder, port);
        Self { cloud, folder, server, port }
    }

    /// Ends the gateway, and starts another one on what it kept.
    fn restart(self) -> Self {
        let Self { cloud, folder, server, port } = self;
        drop(cloud);
        let cloud = open(&folder, port);
        Self { cloud, folder, server, port }
    }

    fn token(&self, who: &str) -> String {
        let scopes = ["https://www.googleapis.com/auth/cloud-platform".to_owned()];
        let principal = Principal::user(format!("{who}@example.com"));
        self.cloud.tokens.mint(&principal, &scopes, self.cloud.now(), Duration::from_hours(1)).text
    }

    async fn call(&self, who: &str, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(who, method, path, &[], body::full(body)).await
    }

    async fn send(
        &self,
        who: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", HOST);
        if !who.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token(who)));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = gateway::answer(&self.cloud, request.body(body).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    /// Everything that the store holds, by its path.
    fn kept(&self) -> BTreeSet<String> {
        let root = self.folder.path().join("objects");
        let mut found = BTreeSet::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.strip_prefix(&root).unwrap().display().to_string());
                }
            }
        }
        found
    }
}

fn open(folder: &tempfile::TempDir, port: u16) -> Arc<Cloud> {
    let clock = Arc::new(clock::System);
    let config = Config {
        world: World::parse(WORLD).unwrap(),
        state_folder: folder.path().join("state"),
        clock: clock.clone(),
        log: Log::memory(clock),
        upstreams: Upstreams {
            storage: format!("http://127.0.0.1:{port}").parse().ok(),
            ..Upstreams::default()
        },
        keys: KeySource::new(Place::Given(json!({ "keys": [] }))),
    };
    Cloud::open(config).unwrap()
}

fn upload(name: &str) -> String {
    format!("/upload/storage/v1/b/mine/o?uploadType=media&name={name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_what_it_says_and_nothing_else() {
    let scene = Scene::new();
    let object = "/storage/v1/b/mine/o/seen";
    let (read, list) = (format!("{object}?alt=media"), "/storage/v1/b/mine/o");
    scene.call("writer", "POST", &upload("seen"), "bytes").await.expect(200, "\"seen\"");
    for (who, method, path, status, words) in [
        ("reader", "GET", read.as_str(), 200, "bytes"),
        ("reader", "GET", list, 200, "\"seen\""),
        ("reader", "POST", &upload("new"), 403, "storage.objects.create"),
        ("reader", "DELETE", object, 403, "storage.objects.delete"),
        ("creator", "POST", &upload("new"), 200, ""),
        ("creator", "POST", &upload("new"), 403, "storage.objects.delete"),
        ("creator", "GET", &read, 403, "storage.objects.get"),
        ("creator", "GET", list, 403, "storage.objects.list"),
        ("writer", "POST", &upload("new"), 200, ""),
        ("writer", "GET", "/storage/v1/b/mine", 403, "storage.buckets.get"),
        ("writer", "GET", "/storage/v1/b/mine/iam", 403, "storage.buckets.getIamPolicy"),
        ("neighbour", "GET", &read, 403, "storage.objects.get"),
        ("neighbour", "GET", "/storage/v1/b/theirs", 200, "\"EUROPE-NORTH1\""),
        ("", "GET", list, 401, "Anonymous caller does not have storage.objects.list"),
        ("", "GET", "/mine/seen", 403, "<Code>AccessDenied</Code>"),
        ("writer", "DELETE", object, 204, ""),
        ("writer", "GET", object, 404, "No such object: mine/seen"),
        ("creator", "GET", object, 403, "storage.objects.get"),
    ] {
        scene.call(who, method, path, "x").await.expect(status, words);
    }
    let lines = scene.cloud.log.lines().join("\n");
    assert!(lines.contains("\"permission\":\"storage.objects.create\""), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_reaches_a_place_outside_of_its_bucket() {
    let scene = Scene::new();
    let theirs = "/upload/storage/v1/b/theirs/o?uploadType=media&name=a";
    scene.call("neighbour", "POST", theirs, "theirs").await.expect(200, "");
    scene.call("writer", "POST", &upload("b"), "mine").await.expect(200, "");
    let before = scene.kept();
    for name in [
        "..%2Ftheirs%2Fa",
        "..%2F..%2Fstate%2Fjournal",
        "x%2F..%2F..%2Ftheirs%2Fb",
        "c%00",
        "c%2F",
        "%2Fc",
    ] {
        scene.call("writer", "POST", &upload(name), "stolen").await.expect(501, "notImplemented");
        let path = format!("/storage/v1/b/mine/o/{name}");
        scene.call("writer", "GET", &format!("{path}?alt=media"), "").await.expect(404, "No such");
        scene.call("writer", "DELETE", &path, "").await.expect(404, "No such");
        let copy = format!("/storage/v1/b/mine/o/b/rewriteTo/b/mine/o/{name}");
        scene.call("writer", "POST", &copy, "").await.expect(501, "notImplemented");
    }
    let url = "/upload/storage/v1/b/mine/o?uploadType=resumable";
    for key in ["bucket", "Bucket", "bUcKeT"] {
        let body = json!({ "name": "stolen", key: "theirs" }).to_string();
        let kind = [("content-type", "application/json")];
        let opened = scene.send("writer", "POST", url, &kind, body::full(body)).await;
        if let Some(location) = opened.headers.get("location") {
            let path = location.to_str().unwrap().strip_prefix("https://storage.googleapis.com");
            scene.call("", "PUT", path.unwrap(), "x").await.expect(200, "\"bucket\":\"mine\"");
        }
    }
    scene.call("writer", "DELETE", "/storage/v1/b/mine/o/stolen", "").await.expect(204, "");
    let body = json!({ "sourceObjects": [{ "name": "../theirs/a" }] }).to_string();
    let compose = "/storage/v1/b/mine/o/whole/compose";
    scene.call("writer", "POST", compose, body).await.expect(404, "No such object");
    assert_eq!(scene.kept(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_streams_and_a_refused_one_is_read_to_its_end() {
    let scene = Scene::new();
    let chunks = || (0..64_u8).map(|it| Ok::<_, std::io::Error>(vec![it; 64 << 10].into()));
    let body = body::stream(futures::stream::iter(chunks()));
    let sent = scene.send("writer", "POST", &upload("big"), &[], body).await.expect(200, "");
    assert_eq!(sent.json()["size"], (64 * 64 * 1024).to_string());
    let range = [("range", "bytes=65535-65536")];
    let read = scene.send("reader", "GET", "/mine/big", &range, body::empty()).await;
    assert_eq!((read.status, read.text.as_bytes()), (206, &[0, 1][..]));
    assert_eq!(read.headers["content-range"], "bytes 65535-65536/4194304");

    // A client that is refused while it sends would see a broken connection, and try again.
    let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let counted = chunks().inspect(move |_| {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let body = body::stream(futures::stream::iter(counted));
    let refused = scene.send("reader", "POST", &upload("no"), &[], body).await;
    refused.expect(403, "storage.objects.create");
    assert_eq!(taken.load(std::sync::atomic::Ordering::Relaxed), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_pieces_goes_on_where_it_stopped() {
    let scene = Scene::new();
    let url = "/upload/storage/v1/b/mine/o?uploadType=resumable&name=pieces";
    let opened = scene.call("writer", "POST", url, "{}").await.expect(200, "");
    let location = opened.headers["location"].to_str().unwrap().to_owned();
    let path = location.strip_prefix("https://storage.googleapis.com").unwrap();
    let put = async |range: &str, bytes: &'static [u8]| {
        scene.send("", "PUT", path, &[("content-range", range)], body::full(bytes)).await
    };
    let so_far = |answer: &Answer| answer.headers.get("range").cloned();
    let four = || (308, Some("bytes=0-3".parse().unwrap()));
    let first = put("bytes 0-3/10", b"abcd").await;
    assert_eq!((first.status, so_far(&first)), four());
    // A gap, a piece that is there already and a question change nothing.
    for (range, bytes) in
        [("bytes 6-9/10", &b"ghij"[..]), ("bytes 0-3/10", b"abcd"), ("bytes */*", b"")]
    {
        let answer = put(range, bytes).await;
        assert_eq!((answer.status, so_far(&answer)), four(), "{range}");
    }
    put("bytes 2-9/10", b"cdefghij").await.expect(200, "\"pieces\"");
    scene.call("reader", "GET", "/mine/pieces", "").await.expect(200, "abcdefghij");
    // The answer to the last piece may be lost; whoever asks again gets it again.
    put("bytes */10", b"").await.expect(200, "\"pieces\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multipart_upload_outlives_the_gateway_and_leaves_no_parts() {
    let scene = Scene::new();
    let open = async |scene: &Scene, who: &str| {
        let opened = scene.call(who, "POST", "/mine/whole?uploads", "").await.expect(200, "");
        let (_, id) = opened.text.split_once("<UploadId>").unwrap();
        format!("/mine/whole?uploadId={}", id.split_once('<').unwrap().0)
    };
    let (completed, aborted) = (open(&scene, "creator").await, open(&scene, "writer").await);
    let mut tag = String::new();
    for upload in [&completed, &aborted] {
        let part = format!("{upload}&partNumber=1");
        let sent = scene.call("writer", "PUT", &part, "bytes").await.expect(200, "");
        tag = sent.headers["etag"].to_str().unwrap().to_owned();
    }
    let scene = scene.restart();
    scene.call("writer", "GET", "/mine?uploads", "").await.expect(200, "<Key>whole</Key>");
    let parts = format!("<Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part>");
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    scene
        .call("reader", "POST", &completed, body.clone())
        .await
        .expect(403, "multipartUploads.create");
    scene.call("creator", "POST", &completed, body.clone()).await.expect(200, "<Key>whole</Key>");
    scene.call("reader", "GET", "/mine/whole", "").await.expect(200, "bytes");
    // The other one would replace the object.
    scene.call("creator", "POST", &aborted, body).await.expect(403, "storage.objects.delete");
    scene.call("writer", "DELETE", &aborted, "").await.expect(204, "");
    let mut kept = scene.kept();
    kept.retain(|it| !it.ends_with(".bucketMetadata"));
    assert_eq!(kept, BTreeSet::from(["mine/whole".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_is_told_as_google_does() {
    let mut scene = Scene::new();
    scene.call("writer", "POST", &upload("a"), "x").await.expect(200, "");
    scene.server.signal(rustix::process::Signal::KILL).unwrap();
    scene.call("reader", "GET", "/mine/a", "").await.expect(503, "<Code>ServiceUnavailable</Code>");
    scene.call("writer", "POST", &upload("a"), "x").await.expect(503, "backendError");
}
