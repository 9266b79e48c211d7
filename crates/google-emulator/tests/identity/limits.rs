//! Clients that ask too much, too slowly, or for somebody else.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::scene::{Scene, connector};

const PROJECT: &str = "cloudresourcemanager.googleapis.com/v1/projects/local";

fn request(host: &str, path: &str) -> hyper::http::request::Builder {
    Request::post(path).header("host", host)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_is_refused_and_the_next_request_is_served() {
    let scene = Scene::new().await;
    let host = "sts.googleapis.com";
    for (length, status) in [(70 << 10, 431), (200 << 10, 431)] {
        let long = request(host, "/v1/token").header("x-long", "x".repeat(length));
        let answer = scene.send(host, long.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{length}");
    }
    let body = format!("{{\"scope\":\"{}\"}}", "x".repeat(1 << 20));
    let answer = scene.send(host, request(host, "/v1/token").body(Full::from(body)).unwrap()).await;
    let words = "Request payload size exceeds the limit: 1048576 bytes.";
    assert_eq!(answer.expect(400)["error_description"], words);
    for body in ["{", "[]", "null", "\u{0}", "{\"scope\":1}"] {
        let answer = scene.send(host, request(host, "/v1/token").body(Full::from(body)).unwrap());
        let answer = answer.await.expect(400);
        let text = answer["error_description"].as_str().unwrap();
        assert!(text.starts_with("Invalid JSON payload received."), "{body}: {text}");
    }
    scene.get(&scene.owner(), PROJECT).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_served_and_strangers_are_not() {
    let scene = Scene::new().await;
    assert_eq!(scene.send_h2(PROJECT).await.status, 401);
    assert_eq!(scene.get("", PROJECT).await.status, 401);
    let unknown = scene.get("", "drive.googleapis.com/v3/files").await.expect(501);
    assert_eq!(unknown["error"]["status"], "UNIMPLEMENTED");
    assert!(scene.cloud.log.lines().join("").contains("no such API is emulated"));

    let grpc = request("monitoring.googleapis.com", "/google.monitoring.v3.MetricService/X");
    let grpc = grpc.header("content-type", "application/grpc").body(Full::default()).unwrap();
    let answer = scene.send("monitoring.googleapis.com", grpc).await;
    assert_eq!(answer.headers["grpc-status"], "12");

    let probe = Request::get("/healthz").header("host", "10.0.0.1:443").body(Full::default());
    let answer = scene.send("www.googleapis.com", probe.unwrap()).await;
    assert_eq!(answer.expect(200), "ok");
    let stranger = Request::get("/").header("host", "example.com").body(Full::default()).unwrap();
    scene.send("www.googleapis.com", stranger).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_for_another_name_ends_with_an_alert() {
    let scene = Scene::new().await;
    let connector = connector(scene.cloud.pki.certificate_pem(), &[]);
    let stream = TcpStream::connect(scene.gateway).await.unwrap();
    let name = ServerName::try_from("example.com").unwrap();
    let error = connector.connect(name, stream).await.unwrap_err().to_string();
    assert!(error.contains("AccessDenied") || error.contains("UnrecognisedName"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_stop_nobody() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let scene = Scene::new().await;
    let mut idle = Vec::new();
    for number in 0..10_000 {
        let mut stream = TcpStream::connect(scene.gateway).await.unwrap();
        // Some say nothing, some begin a handshake and stop.
        if number % 2 == 0 {
            drop(stream.write_all(&[0x16, 0x03, 0x01]).await);
        }
        idle.push(stream);
    }
    scene.get(&scene.owner(), PROJECT).await.expect(200);
    // The first ones had to make room.
    let mut byte = [0];
    let ended = tokio::time::timeout(Duration::from_secs(5), idle[0].read(&mut byte)).await;
    assert!(matches!(ended.unwrap(), Ok(0) | Err(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_meets_as_many_calls_as_it_was_made_for() {
    let scene = Scene::new().await;
    let owner = scene.owner();
    let fault = json!({
        "host": "cloudresourcemanager.googleapis.com", "times": 2,
        "fault": { "status": { "code": 429 } },
    });
    scene.operate("POST", "/faults", &fault).await.expect(200);
    for _ in 0..2 {
        let error = scene.get(&owner, PROJECT).await.expect(429);
        assert_eq!(error["error"]["status"], "RESOURCE_EXHAUSTED");
    }
    scene.get(&owner, PROJECT).await.expect(200);

    scene.operate("POST", "/faults", &json!({ "fault": { "reset": {} } })).await.expect(200);
    let request = Request::get("/v1/projects/local").header("host", "iam.googleapis.com");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    assert!(scene.try_send("iam.googleapis.com", request).await.is_err());
    scene.get(&owner, PROJECT).await.expect(200);

    let fault = json!({ "times": 1, "fault": { "latency": { "milliseconds": 300 } } });
    scene.operate("POST", "/faults", &fault).await.expect(200);
    let start = std::time::Instant::now();
    scene.get(&owner, PROJECT).await.expect(200);
    assert!(start.elapsed() >= Duration::from_millis(300));
    let nonsense = json!({ "fault": { "status": { "code": 200 } } });
    scene.operate("POST", "/faults", &nonsense).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_leads_to_the_emulated_names_only() {
    let scene = Scene::new().await;
    for (target, allowed) in [
        ("storage.googleapis.com:443", true),
        ("storage.googleapis.com:80", false),
        ("example.com:443", false),
        ("169.254.169.254:443", false),
    ] {
        let mut stream = TcpStream::connect(scene.proxy).await.unwrap();
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        let expected = if allowed { "HTTP/1.1 200" } else { "HTTP/1.1 403" };
        assert_eq!(String::from_utf8_lossy(&answer), expected, "{target}");
        if allowed {
            // The rest of the head, then TLS inside of the tunnel.
            let mut rest = Vec::new();
            while !rest.ends_with(b"\r\n\r\n") {
                rest.push(stream.read_u8().await.unwrap());
            }
            let connector = connector(scene.cloud.pki.certificate_pem(), &[b"http/1.1"]);
            let name = ServerName::try_from("storage.googleapis.com").unwrap();
            connector.connect(name, stream).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_goes_back_to_the_world_and_keeps_the_keys() {
    let scene = Scene::new().await;
    let owner = scene.owner();
    let url = "iam.googleapis.com/v1/projects/local/serviceAccounts";
    let before = scene.get(&owner, url).await.expect(200);
    scene.post(&owner, url, &json!({ "accountId": "second" })).await.expect(200);
    scene.operate("POST", "/reset", &Value::Null).await.expect(200);
    let after = scene.get(&owner, url).await.expect(200);
    let emails = |it: &Value| it["accounts"].as_array().unwrap().len();
    assert_eq!((emails(&before), emails(&after)), (1, 1));
}
