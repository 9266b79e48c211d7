//! Bad requests to Cloud SQL's Admin API: whatever comes, the answer has Google's form. What real
//! clients see is judged by `tests/google/clients/cloudsql_*.py`.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not find ends the test")]

use std::sync::Arc;
use std::time::Duration;

use google_emulator::body;
use google_emulator::clock::System;
use google_emulator::cloud::{Cloud, Config, Upstreams};
use google_emulator::gateway;
use google_emulator::key_source::{KeySource, Place};
use google_emulator::log::Log;
use google_emulator::sql_port;
use google_emulator::world::World;
use http_body_util::BodyExt as _;
use hyper::Request;
use iam::Principal;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// Nobody listens on these ports, so PostgreSQL is away.
const WORLD: &str = "
project: { id: p, number: 1, region: r, zone: r-a, cluster: c }
services: [sqladmin.googleapis.com]
bindings:
  - { on: project, role: roles/owner, members: ['user:owner@example.com'] }
instances:
  - { name: i, databaseVersion: POSTGRES_15, upstream: 'tcp:127.0.0.1:1', databases: [d] }
sqlServers:
  - { upstream: 'tcp:127.0.0.1:2' }
";

struct Scene {
    cloud: Arc<Cloud>,
    token: String,
    _folder: tempfile::TempDir,
}

fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(System);
    let cloud = Cloud::open(Config {
        world: World::parse(WORLD).unwrap(),
        state_folder: folder.path().to_owned(),
        clock: clock.clone(),
        log: Log::memory(clock),
        upstreams: Upstreams::default(),
        keys: KeySource::new(Place::Given(json!({ "keys": [] }))),
    })
    .unwrap();
    let owner = Principal::user("owner@example.com");
    let scopes = ["https://www.googleapis.com/auth/cloud-platform".to_owned()];
    let token = cloud.tokens.mint(&owner, &scopes, cloud.now(), Duration::from_hours(1)).text;
    Scene { cloud, token, _folder: folder }
}

/// Status and JSON of the answer.
async fn call(scene: &Scene, method: &str, path: &str, bytes: Vec<u8>) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "sqladmin.googleapis.com")
        .header("Authorization", format!("Bearer {}", scene.token))
        .body(body::full(bytes))
        .unwrap();
    let response = gateway::answer(&scene.cloud, request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_postgresql_that_is_away_is_503_and_nothing_is_remembered() {
    let scene = scene();
    let base = "/sql/v1beta4/projects/p/instances/i";
    for (path, body) in [("databases", json!({ "name": "x" })), ("users", json!({ "name": "x" }))] {
        let at = format!("{base}/{path}");
        let (status, answer) = block(call(&scene, "POST", &at, body.to_string().into_bytes()));
        assert_eq!((status, &answer["error"]["status"]), (503, &json!("UNAVAILABLE")), "{answer}");
        assert_eq!(block(call(&scene, "GET", &format!("{at}/x"), Vec::new())).0, 404);
    }
}

#[test]
fn an_instance_that_cannot_be_furnished_can_be_made_again() {
    let scene = scene();
    let body = json!({ "name": "j", "databaseVersion": "POSTGRES_15" }).to_string().into_bytes();
    let base = "/sql/v1beta4/projects/p/instances";
    for _ in 0..2 {
        assert_eq!(block(call(&scene, "POST", base, body.clone())).0, 503);
        assert_eq!(block(call(&scene, "GET", &format!("{base}/j"), Vec::new())).0, 404);
    }
}

/// Nobody waits here: the time is the test's own.
#[tokio::test(start_paused = true)]
async fn a_client_of_the_data_port_that_does_not_finish_its_handshake_is_sent_away() {
    let scene = scene();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(sql_port::serve(Arc::clone(&scene.cloud), listener));
    let began_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 200]].concat();
    for bytes in [&[][..], &began_hello, b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 8, 4, 210, 22, 47]] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let began = Instant::now();
        client.write_all(bytes).await.unwrap();
        let mut heard = Vec::new();
        let ended = timeout(Duration::from_secs(3600), client.read_to_end(&mut heard)).await;
        assert!(ended.is_ok(), "{bytes:?} was kept for ever");
        // An alert of TLS, or nothing.
        assert!(heard.is_empty() || heard[0] == 0x15, "{heard:?}");
        assert!(began.elapsed() <= Duration::from_secs(11), "{bytes:?} {:?}", began.elapsed());
    }
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop_oneof!["i", "d", "none", "p", "x%00y", "%2e%2e", "%f0%28", "a:b", "i:restart"],
        1 => "[a-zA-Z0-9_.~!$&'()*+,;=:@%-]{1,12}",
    ]
}

fn path() -> impl Strategy<Value = String> {
    let collection = prop_oneof!["instances", "databases", "users", "operations", "projects", "x"];
    let deed = prop_oneof!["connectSettings", "generateEphemeralCert", "restart", "failover"];
    let rest = prop::collection::vec((collection, segment()), 0..4);
    let base = prop_oneof!["/sql/v1beta4/projects/p", "/v1/projects/p", "/sql/v1beta4"];
    (base, rest, prop::option::of(deed)).prop_map(|(base, rest, deed)| {
        let rest: String = rest.iter().map(|(one, other)| format!("/{one}/{other}")).collect();
        format!("{base}{rest}{}", deed.map(|it| format!("/{it}")).unwrap_or_default())
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        Just(json!({ "a": [1] })),
    ];
    let name = prop_oneof![
        "name",
        "type",
        "password",
        "charset",
        "settings",
        "public_key",
        "access_token",
        "x"
    ];
    let object = prop::collection::btree_map(name, value, 0..4);
    prop_oneof![
        object.prop_map(|it| serde_json::to_vec(&it).unwrap()),
        prop::collection::vec(any::<u8>(), 0..60),
    ]
}

#[test]
fn whatever_is_asked_the_answer_has_googles_form() {
    let scene = scene();
    let methods = prop_oneof!["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        ..ProptestConfig::default()
    });
    let all = (methods, path(), body());
    runner
        .run(&all, |(method, path, bytes)| {
            let (status, answer) = block(call(&scene, &method, &path, bytes));
            if status != 200 {
                let error = &answer["error"];
                prop_assert_eq!(error["code"].as_u64(), Some(u64::from(status)));
                prop_assert!(error["message"].is_string(), "{}", answer);
                prop_assert!(error["errors"][0]["reason"].is_string(), "{}", answer);
            }
            prop_assert_ne!(status, 500);
            Ok(())
        })
        .unwrap();
}
