//! Requests that nobody would send: each gets an answer of its API, and none ends the program.

use bytes::Bytes;
use google_emulator::body;
use google_emulator::gateway;
use http_body_util::BodyExt as _;
use hyper::Request;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::scene::Scene;

const HOSTS: [&str; 10] = [
    "sts",
    "iamcredentials",
    "iam",
    "cloudresourcemanager",
    "serviceusage",
    "container",
    "artifactregistry",
    "storage",
    "sqladmin",
    "oauth2",
];
const PARTS: [&str; 24] = [
    "v1",
    "v3",
    "projects",
    "local",
    "-",
    "serviceAccounts",
    "services",
    "roles",
    "operations",
    "mlflow@local.iam.gserviceaccount.com",
    "keys",
    "b",
    "o",
    "instances",
    "storage",
    "upload",
    "locations",
    "clusters",
    "repositories",
    "..",
    "%2e%2e",
    "%2F",
    "%00",
    "\u{fffd}",
];
const VERBS: [&str; 9] = [
    "",
    "",
    ":getIamPolicy",
    ":setIamPolicy",
    ":generateAccessToken",
    ":signBlob",
    ":batchEnable",
    ":",
    "::x",
];
const BODIES: [&str; 8] = [
    "",
    "{}",
    "[]",
    "{\"policy\":{\"bindings\":[{}]}}",
    "{\"policy\":7}",
    "{\"scope\":[\"\"]}",
    "{\"payload\":\"%\"}",
    "\u{0}",
];

#[tokio::test(flavor = "multi_thread")]
async fn any_request_is_answered_in_the_form_of_its_api() {
    let scene = Scene::new().await;
    let token = format!("Bearer {}", scene.owner());
    let request = (
        prop::sample::select(&HOSTS[..]),
        prop::collection::vec(prop::sample::select(&PARTS[..]), 0..7),
        prop::sample::select(&VERBS[..]),
        prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
        prop::sample::select(&BODIES[..]),
        prop::option::of("[a-zA-Z.]{1,20}=[ -~]{0,20}"),
    );
    let mut runner = TestRunner::new(ProptestConfig::with_cases(3000));
    let handle = tokio::runtime::Handle::current();
    let checked = runner.run(&request, |(host, parts, verb, method, body, query)| {
        let query = query.map(|it| format!("?{}", it.replace([' ', '"', '<', '>', '#'], "+")));
        let path = format!("/{}{verb}{}", parts.join("/"), query.unwrap_or_default());
        // What is no URI at all does not get past the parser of HTTP.
        let Ok(request) = Request::builder()
            .method(method)
            .uri(&path)
            .header("host", format!("{host}.googleapis.com"))
            .header("authorization", &token)
            .body(body::full(Bytes::from_static(body.as_bytes())))
        else {
            return Ok(());
        };
        let (status, bytes) = tokio::task::block_in_place(|| {
            handle.block_on(async {
                let response = gateway::answer(&scene.cloud, request).await.unwrap();
                let status = response.status();
                (status, response.into_body().collect().await.unwrap().to_bytes())
            })
        });
        prop_assert!(status.as_u16() != 500, "{method} {host}{path}: {status} {bytes:?}");
        if status.is_client_error() && method != "HEAD" && host != "storage" {
            let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            prop_assert!(value.get("error").is_some(), "{method} {host}{path}: {bytes:?}");
        }
        Ok(())
    });
    checked.unwrap();
}
