//! The CA's certificate in the namespaces, against an API server that answers from a script, in time
//! that passes only when all wait.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not find ends the test")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use google_emulator::clock::System;
use google_emulator::cloud::{Cloud, Config, Upstreams};
use google_emulator::key_source::{KeySource, Place};
use google_emulator::log::Log;
use google_emulator::publish;
use google_emulator::world::World;
use http_body_util::{Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use hyper::{Request, Response};
use serde_json::{Value, json};

const WORLD: &str = "
project: { id: p, number: 1, region: r, zone: r-a, cluster: c }
";

/// What the API server has for whoever asks.
#[derive(Default)]
struct Script {
    /// The namespaces of the list.
    listed: Vec<Value>,
    /// What the watch tells after that; then it stays open.
    events: Vec<(&'static str, Value)>,
    /// The status of each write, one after the other; 0 is no answer at all. Later ones succeed.
    writes: VecDeque<u16>,
    /// What was written, and where to.
    written: Vec<(String, Value)>,
}

fn namespace(name: &str) -> Value {
    json!({
        "kind": "Namespace", "apiVersion": "v1",
        "metadata": { "name": name, "resourceVersion": "5" },
    })
}

fn leaving(name: &str) -> Value {
    let mut namespace = namespace(name);
    namespace["metadata"]["deletionTimestamp"] = json!("2026-11-23T03:00:00Z");
    namespace
}

/// Publishes for a minute. Afterwards the log has these decisions on these namespaces, and every
/// write was of the certificate.
async fn check(script: Script, expected: &[(&str, &str)]) {
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
    let script = Arc::new(Mutex::new(script));
    let publishing = publish::run(cloud.clone(), client(script.clone()), "trust=yes".to_owned());
    let ended = tokio::time::timeout(Duration::from_secs(60), publishing).await;
    assert!(ended.is_err(), "it goes on for as long as the cloud runs");
    let lines = cloud.log.lines();
    let lines: Vec<Value> = lines.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    let text = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
    let decisions: Vec<(String, String)> =
        lines.iter().map(|it| (text(it, "decision"), text(it, "resource"))).collect();
    let expected: Vec<(String, String)> =
        expected.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
    assert_eq!(decisions, expected);
    for (path, written) in &script.lock().unwrap().written {
        assert!(path.ends_with("/configmaps/google-emulation-ca"), "{path}");
        assert_eq!(written["data"]["ca.crt"], cloud.pki.certificate_pem());
    }
}

fn client(script: Arc<Mutex<Script>>) -> kube::Client {
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let script = Arc::clone(&script);
        async move { Ok::<_, Infallible>(answer(&script, request).await) }
    });
    kube::Client::new(service, "default")
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn answer(script: &Mutex<Script>, request: Request<kube::client::Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default().to_owned();
    if head.method == "PATCH" {
        let body = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
        let mut script = script.lock().unwrap();
        script.written.push((head.uri.path().to_owned(), body));
        return match script.writes.pop_front().unwrap_or(200) {
            0 => silent(vec![]),
            200 => whole(200, &script.written.last().unwrap().1),
            code => whole(code, &json!({ "kind": "Status", "code": code, "message": "no" })),
        };
    }
    assert_eq!(head.uri.path(), "/api/v1/namespaces");
    assert!(query.contains("labelSelector=trust%3Dyes"), "{query}");
    let script = script.lock().unwrap();
    if query.contains("watch=true") {
        let event = |(kind, object): &(&str, Value)| json!({ "type": kind, "object": object });
        return silent(script.events.iter().map(event).collect());
    }
    whole(200, &json!({ "metadata": { "resourceVersion": "5" }, "items": script.listed }))
}

fn whole(code: u16, body: &Value) -> Response<Body> {
    let body = Full::from(body.to_string());
    Response::builder().status(code).body(UnsyncBoxBody::new(body)).unwrap()
}

/// Lines, and then nothing more, not even the end.
fn silent(lines: Vec<Value>) -> Response<Body> {
    let lines = lines.into_iter().map(|it| Ok(Frame::data(Bytes::from(format!("{it}\n")))));
    let endless = stream::iter(lines).chain(stream::pending());
    Response::new(UnsyncBoxBody::new(StreamBody::new(endless)))
}

#[tokio::test(start_paused = true)]
async fn every_namespace_with_the_label_gets_it_now_or_later() {
    let script = Script {
        listed: vec![namespace("a"), leaving("b")],
        events: vec![("ADDED", namespace("c")), ("MODIFIED", leaving("d"))],
        ..Script::default()
    };
    check(script, &[("published", "a"), ("published", "c")]).await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_logged_and_tried_again_and_the_others_do_not_wait() {
    for failure in [500, 0] {
        let script = Script {
            listed: vec![namespace("a"), namespace("b")],
            writes: [failure, 200, failure].into(),
            ..Script::default()
        };
        let expected = [("failed", "a"), ("published", "b"), ("failed", "a"), ("published", "a")];
        check(script, &expected).await;
    }
}
