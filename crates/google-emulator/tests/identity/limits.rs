//! Clients that ask too much, too slowly, or for somebody else.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
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
    let long = "x".repeat(70 << 10);
    assert_eq!(scene.send_h2(PROJECT, &[("x-long", &long)]).await.status, 431);
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
    assert_eq!(scene.send_h2(PROJECT, &[]).await.status, 401);
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
    for name in ["example.com", "googleapis.com.example.com", "a.b.googleapis.com", "localhost"] {
        let stream = TcpStream::connect(scene.gateway).await.unwrap();
        let name = ServerName::try_from(name).unwrap();
        let error = connector.connect(name.clone(), stream).await.unwrap_err().to_string();
        let alert = error.contains("AccessDenied") || error.contains("UnrecognisedName");
        assert!(alert, "{name:?}: {error}");
    }
    // Who names nobody is shown the certificate of Google's names, and it is for nobody else.
    let stream = TcpStream::connect(scene.gateway).await.unwrap();
    let name = ServerName::from(scene.gateway.ip());
    let error = connector.connect(name, stream).await.unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
}

/// A certificate covers all of Google's hosts, so a connection may carry a request for any of them;
/// for a host that is none of them there is nothing, whatever the handshake said.
#[tokio::test(flavor = "multi_thread")]
async fn the_host_of_a_request_decides_and_not_the_name_of_the_handshake() {
    let scene = Scene::new().await;
    let ask = async |host: &str| {
        let request = Request::get("/v1/projects/local").header("host", host);
        scene.send("storage.googleapis.com", request.body(Full::default()).unwrap()).await
    };
    let error = ask("cloudresourcemanager.googleapis.com").await.expect(401);
    assert_eq!(error["error"]["status"], "UNAUTHENTICATED");
    for stranger in ["example.com", "cloudresourcemanager.googleapis.com.example.com", "[::1]", ""]
    {
        let error = ask(stranger).await.expect(404);
        assert_eq!(error["error"]["status"], "NOT_FOUND", "{stranger}");
    }
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
    let long = format!("CONNECT {}:443", "a".repeat(100_000));
    for (start, status) in [
        ("CONNECT storage.googleapis.com:80", "403"),
        ("CONNECT example.com:443", "403"),
        ("CONNECT 169.254.169.254:443", "403"),
        ("CONNECT [::1]:443", "403"),
        ("CONNECT storage.googleapis.com.example.com:443", "403"),
        ("CONNECT storage.googleapis.com:443@example.com:443", "403"),
        ("CONNECT storage.googleapis.com:99999", "403"),
        ("GET http://storage.googleapis.com/storage/v1/b", "403"),
        ("GET /", "403"),
        ("CONNECT", "400"),
        ("CONNECT \u{0}:443", "400"),
        (&long, "4"),
    ] {
        let mut stream = TcpStream::connect(scene.proxy).await.unwrap();
        let head = format!("{start} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        // What is too long is answered before all of it is read.
        drop(stream.write_all(head.as_bytes()).await);
        let mut answer = vec![0; 12];
        let read = stream.read_exact(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        let found = read.is_ok() && answer.starts_with(&format!("HTTP/1.1 {status}"));
        assert!(found || (start == long && read.is_err()), "{start:.80}: {answer:?}");
    }
    let mut stream = TcpStream::connect(scene.proxy).await.unwrap();
    stream
        .write_all(b"CONNECT storage.googleapis.com:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200"));
    // TLS inside of the tunnel, with the same rule for names.
    let connector = connector(scene.cloud.pki.certificate_pem(), &[b"http/1.1"]);
    let name = ServerName::try_from("storage.googleapis.com").unwrap();
    connector.connect(name, stream).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_answers_nonsense_in_googles_form() {
    let scene = Scene::new().await;
    let long = json!({ "member": "x".repeat(2 << 20) });
    let deep = (0..200).fold(json!(0), |it, _| json!([it]));
    for (method, path, body, status) in [
        ("POST", "/tokens", &json!([]), 400),
        ("POST", "/tokens", &json!({ "member": "nobody" }), 400),
        ("POST", "/tokens", &json!({ "member": "user:a@b.c", "odd": 1 }), 400),
        ("POST", "/tokens", &long, 400),
        ("PUT", "/notes/x", &deep, 400),
        ("POST", "/tokens/revoke", &json!({ "token": "ya29.forged" }), 400),
        ("POST", "/faults", &json!({ "fault": {} }), 400),
        ("POST", "/buckets/..%2F..%2Fx/read-only", &json!({ "readOnly": true }), 404),
        ("POST", "/sql/local/none/close", &json!({}), 404),
        ("BREW", "/coffee", &json!({}), 404),
    ] {
        let answer = scene.operate(method, path, body).await.expect(status);
        assert_eq!(answer["error"]["code"], status, "{method} {path}: {answer}");
        assert!(answer["error"]["message"].is_string(), "{method} {path}: {answer}");
    }
    scene.operate("GET", "/healthz", &Value::Null).await.expect(200);
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
