//! The metadata server against the gateway, over TLS, with nothing in between left out.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not find ends the test")]

mod cloud;

use cloud::{ACCOUNTS, ANNOTATED, EMAIL, Fixture, OTHER, PLAIN, Setup, TOKEN};
use google_emulator::metadata::How;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const WORKLOAD: &str = "serviceAccount:demo.svc.id.goog[mlflow/mlflow]";
const USER: &str = "roles/iam.workloadIdentityUser";

#[tokio::test(flavor = "multi_thread")]
async fn an_annotated_pod_is_its_google_service_account() {
    let it = Fixture::start().await;
    let answer = it.get(ANNOTATED, TOKEN).await;
    assert_eq!(it.owner(&answer), EMAIL);
    assert_eq!(answer.json()["token_type"], "Bearer");
    assert_eq!(answer.json()["expires_in"], 3600);
    assert!(answer.has("metadata-flavor: google") && answer.has("server: gke metadata server"));
    for path in [format!("{ACCOUNTS}/default/email"), format!("{ACCOUNTS}/{EMAIL}/email")] {
        assert_eq!(it.get(ANNOTATED, &path).await.text, EMAIL);
    }
    let by_email = it.get(ANNOTATED, &format!("{ACCOUNTS}/{EMAIL}/token")).await;
    assert_eq!(it.owner(&by_email), EMAIL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_the_scopes_that_were_asked_for() {
    let it = Fixture::start().await;
    let scope = "https://www.googleapis.com/auth/sqlservice.login";
    let answer = it.get(ANNOTATED, &format!("{TOKEN}?scopes={scope}")).await;
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(it.cloud.read_token(&token).unwrap().scopes, [scope]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_binding_is_told_in_gkes_words_and_a_restored_one_is_seen_at_once() {
    let it = Fixture::start().await;
    it.bind(EMAIL, USER, &["serviceAccount:demo.svc.id.goog[mlflow/somebody]"]);
    let answer = it.get(ANNOTATED, TOKEN).await;
    assert_eq!(answer.status, 403);
    assert!(answer.has("content-type: text/plain; charset=utf-8"), "{}", answer.head);
    assert_eq!(
        answer.text,
        "Unable to generate access token; IAM returned 403 Forbidden: Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).\n\
         This error could be caused by a missing IAM policy binding on the target IAM service account.\n\
         For more information, refer to the Workload Identity documentation:\n\
         \thttps://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity#authenticating_to\n\n"
    );
    // The identity is told all the same, as on GKE.
    assert_eq!(it.get(ANNOTATED, &format!("{ACCOUNTS}/default/email")).await.text, EMAIL);
    it.bind(EMAIL, USER, &[WORKLOAD]);
    assert_eq!(it.owner(&it.get(ANNOTATED, TOKEN).await), EMAIL);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_does_not_exist_is_told_in_gkes_words() {
    let it = Fixture::start().await;
    it.annotate(Some("gone@demo.iam.gserviceaccount.com"));
    let answer = it.get(ANNOTATED, TOKEN).await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.text,
        "Unable to generate access token; IAM returned 404 Not Found: Not found; Gaia id not found for email gone@demo.iam.gserviceaccount.com\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_annotation_is_itself() {
    let it = Fixture::start().await;
    assert_eq!(it.owner(&it.get(PLAIN, TOKEN).await), "demo.svc.id.goog[mlflow/plain]");
    let pool = "demo.svc.id.goog";
    assert_eq!(it.get(PLAIN, &format!("{ACCOUNTS}/default/email")).await.text, pool);
    assert_eq!(it.get(PLAIN, &format!("{ACCOUNTS}/")).await.text, format!("default/\n{pool}/\n"));
    let account = it.get(PLAIN, &format!("{ACCOUNTS}/default/?recursive=true")).await.json();
    assert_eq!(account["email"], pool);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_annotation_is_seen_at_once() {
    let it = Fixture::start().await;
    assert_eq!(it.owner(&it.get(ANNOTATED, TOKEN).await), EMAIL);
    it.annotate(Some(OTHER));
    assert_eq!(it.get(ANNOTATED, TOKEN).await.status, 403);
    it.bind(OTHER, USER, &[WORKLOAD]);
    assert_eq!(it.owner(&it.get(ANNOTATED, TOKEN).await), OTHER);
    it.annotate(None);
    assert_eq!(it.owner(&it.get(ANNOTATED, TOKEN).await), "demo.svc.id.goog[mlflow/mlflow]");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_is_for_its_audience_and_takes_an_annotation() {
    let it = Fixture::start().await;
    let path = format!("{ACCOUNTS}/default/identity");
    let answer =
        it.get(ANNOTATED, &format!("{path}?audience=https://example.com&format=full")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let claims = answer.text.split('.').nth(1).unwrap();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = base64::Engine::decode(&engine, claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], "https://example.com");
    assert_eq!(claims["email"], EMAIL);
    let answer = it.get(ANNOTATED, &path).await;
    assert_eq!((answer.status, &*answer.text), (400, "non-empty audience parameter required\n"));
    let answer = it.get(PLAIN, &format!("{path}?audience=x")).await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.text.starts_with("Your Kubernetes service account (mlflow/plain) is not annotated"),
        "{}",
        answer.text
    );
    it.bind(EMAIL, USER, &[]);
    let answer = it.get(ANNOTATED, &format!("{path}?audience=x")).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text.starts_with("Unable to generate identity token; IAM returned 403"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_has_no_service_account_and_knows_its_project() {
    let it = Fixture::start().await;
    assert_eq!(it.get("127.0.0.9", TOKEN).await.status, 404);
    assert_eq!(it.get("127.0.0.9", &format!("{ACCOUNTS}/")).await.text, "");
    let project = it.get("127.0.0.9", "/computeMetadata/v1/project/project-id").await;
    assert_eq!((project.status, &*project.text), (200, "demo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_the_header_or_through_a_proxy_is_refused() {
    let it = Fixture::start().await;
    let get = format!("GET {TOKEN} HTTP/1.1\r\n");
    for (head, status, text) in [
        (get.clone(), 403, "Missing required header \"Metadata-Flavor\": \"Google\"\n"),
        (
            format!("{get}Metadata-Flavor: google\r\n"),
            403,
            "Missing required header \"Metadata-Flavor\": \"Google\"\n",
        ),
        (
            format!("{get}X-Google-Metadata-Request: True\r\n"),
            403,
            "Missing required header \"Metadata-Flavor\": \"Google\"\n",
        ),
        (
            format!("{get}Metadata-Flavor: Google\r\nX-Forwarded-For: 1.2.3.4\r\n"),
            403,
            "Header \"X-Forwarded-For\" is not allowed\n",
        ),
        (
            format!("POST {TOKEN} HTTP/1.1\r\nMetadata-Flavor: Google\r\nContent-Length: 0\r\n"),
            405,
            "Method Not Allowed\n",
        ),
    ] {
        let answer = it.ask(ANNOTATED, &head).await;
        assert_eq!((answer.status, &*answer.text), (status, text), "{head}");
        assert!(!answer.head.contains("metadata-flavor"), "{}", answer.head);
    }
    let root = it.ask(ANNOTATED, "GET / HTTP/1.1\r\n").await;
    assert_eq!((root.status, &*root.text), (200, "computeMetadata/\n"));
    assert!(root.has("metadata-flavor: google"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_its_slash_is_elsewhere() {
    let it = Fixture::start().await;
    let path = format!("{ACCOUNTS}/default?recursive=true");
    let answer = it.get(ANNOTATED, &path).await;
    assert_eq!(answer.status, 301);
    assert!(answer.has(&format!("location: {ACCOUNTS}/default/?recursive=true").to_lowercase()));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_get_one_token_and_it_is_renewed_before_it_ends() {
    let it = Fixture::start().await;
    let all = futures::future::join_all((0..50).map(|_| it.get(ANNOTATED, TOKEN))).await;
    let first = all[0].json()["access_token"].clone();
    assert!(all.iter().all(|it| it.json()["access_token"] == first));
    it.clock.advance(Duration::from_secs(3200));
    let late = it.get(ANNOTATED, TOKEN).await.json();
    assert_eq!((&late["access_token"], &late["expires_in"]), (&first, &json!(400)));
    it.clock.advance(Duration::from_secs(101));
    let renewed = it.get(ANNOTATED, TOKEN).await.json();
    assert_ne!(renewed["access_token"], first);
    assert_eq!(renewed["expires_in"], 3600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workloads_own_token_that_was_revoked_is_replaced() {
    let it = Fixture::start().await;
    it.get(ANNOTATED, TOKEN).await;
    let from = it.now_seconds() + 1;
    let revoked = it.cloud.state.change(|state| {
        state.settings.insert("tokens_valid_from", Value::from(from));
        Ok(())
    });
    revoked.unwrap();
    it.clock.advance(Duration::from_secs(2));
    // Another set of scopes: the exchange is remembered, and what it gave is worth nothing now.
    let scope = "https://www.googleapis.com/auth/cloud-platform";
    let answer = it.get(ANNOTATED, &format!("{TOKEN}?scopes={scope}")).await;
    assert_eq!(it.owner(&answer), EMAIL);
}

#[tokio::test(flavor = "multi_thread")]
async fn google_out_of_reach_is_told_and_the_old_token_serves_to_its_end() {
    let it = Fixture::start().await;
    let token = it.get(ANNOTATED, TOKEN).await.json()["access_token"].clone();
    it.break_gateway();
    let answer = it.get(PLAIN, TOKEN).await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.text.starts_with(
            "Unable to generate access token; POST https://sts.googleapis.com/v1/token: "
        ),
        "{}",
        answer.text
    );
    it.clock.advance(Duration::from_secs(3500));
    let late = it.get(ANNOTATED, TOKEN).await.json();
    assert_eq!((&late["access_token"], &late["expires_in"]), (&token, &json!(100)));
    it.clock.advance(Duration::from_secs(101));
    assert_eq!(it.get(ANNOTATED, TOKEN).await.status, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_waited_for() {
    let it = Fixture::start().await;
    let path = format!("{ACCOUNTS}/default/email");
    let now = it.get(ANNOTATED, &format!("{path}?wait_for_change=true&timeout_sec=0")).await;
    assert_eq!(now.text, EMAIL);
    let etag = now.head.lines().find_map(|it| it.strip_prefix("etag: ")).unwrap().to_owned();
    let path = format!("{path}?wait_for_change=true&last_etag={etag}&timeout_sec=30");
    let change = async {
        tokio::task::yield_now().await;
        it.annotate(Some(OTHER));
    };
    let (changed, ()) = tokio::join!(it.get(ANNOTATED, &path), change);
    assert_eq!(changed.text, OTHER);
    // What has changed already is told at once.
    assert_eq!(it.get(ANNOTATED, &path).await.text, OTHER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_young_pod_hears_nothing_until_it_is_older() {
    let silent_for = Duration::from_millis(600);
    let it = Fixture::with(Setup { silent_for, how: How::Hold }).await;
    let mut stream = it.connect(ANNOTATED).await;
    let request = format!(
        "GET {TOKEN} HTTP/1.1\r\nHost: m\r\nMetadata-Flavor: Google\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut byte = [0];
    let silence = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut byte)).await;
    assert!(silence.is_err(), "something came");
    it.clock.advance(Duration::from_millis(700));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_faults_are_ordered_and_ended() {
    let it = Fixture::start().await;
    assert_eq!(it.order("GET", "/healthz", "").await.status, 200);
    let order = format!(r#"{{"seconds": 600, "address": "{ANNOTATED}", "how": "reset"}}"#);
    assert_eq!(it.order("POST", "/silence", &order).await.status, 200);
    assert_eq!(it.get(ANNOTATED, TOKEN).await.status, 0);
    assert_eq!(it.get(PLAIN, TOKEN).await.status, 200);
    assert_eq!(it.order("DELETE", "/silence", "").await.status, 200);
    assert_eq!(it.get(ANNOTATED, TOKEN).await.status, 200);
    let rule = r#"{"host":"metadata.google.internal","fault":{"status":{"code":503}}}"#;
    assert_eq!(it.order("POST", "/faults", rule).await.status, 200);
    assert_eq!(it.get(ANNOTATED, TOKEN).await.status, 503);
    assert_eq!(it.get(ANNOTATED, TOKEN).await.status, 200);
    let before = it.get(ANNOTATED, TOKEN).await.json();
    assert_eq!(it.order("DELETE", "/tokens", "").await.status, 200);
    assert_ne!(it.get(ANNOTATED, TOKEN).await.json()["access_token"], before["access_token"]);
    for (method, path, body) in [
        ("POST", "/silence", "{}"),
        ("POST", "/silence", r#"{"seconds": 99999999}"#),
        ("POST", "/faults", r#"{"fault":{"status":{"code":200}}}"#),
        ("GET", "/nothing", ""),
    ] {
        assert!(it.order(method, path, body).await.status >= 400, "{method} {path} {body}");
    }
}

/// Whatever is sent, there is an answer of HTTP or the end of the connection, and the next one is
/// served.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_sent_disturbs_the_server() {
    let it = Fixture::start().await;
    let mut runner = TestRunner::deterministic();
    let strategy = (".{0,80}", ".{0,80}", "[!-~]{1,20}", ".{0,200}", proptest::bool::ANY);
    for _ in 0..300 {
        let (path, query, name, value, in_tree) = strategy.new_tree(&mut runner).unwrap().current();
        let start = if in_tree { "/computeMetadata/v1/instance/" } else { "/" };
        let head = format!(
            "GET {start}{path}?{query}&timeout_sec=0 HTTP/1.1\r\nMetadata-Flavor: Google\r\n{name}: {value}\r\nConnection: close\r\n\r\n"
        );
        let answer = it.raw(ANNOTATED, head.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "{head:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000));
    let answer = it.raw(ANNOTATED, long.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "too long");
    assert_eq!(it.get(ANNOTATED, TOKEN).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_do_not_keep_others_out() {
    let it = Fixture::start().await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(it.connect(PLAIN).await);
    }
    let started = Instant::now();
    assert_eq!(it.get(ANNOTATED, TOKEN).await.status, 200);
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// Nobody waits here: the time is the test's own.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_finished_is_sent_away() {
    let it = Fixture::start().await;
    let minute = Duration::from_secs(61);
    let head = format!("GET {TOKEN} HTTP/1.1\r\nX: {}", "x".repeat(900));
    for (port, bytes) in
        [(it.metadata, ""), (it.metadata, &head), (it.admin, ""), (it.admin, &head)]
    {
        let client = tokio::net::TcpStream::connect(port).await.unwrap();
        let began = tokio::time::Instant::now();
        let (mut from, mut to) = client.into_split();
        let dribble = async {
            for byte in bytes.as_bytes() {
                if to.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_secs(3))
                    .await;
            }
            std::future::pending::<()>().await;
        };
        let mut heard = Vec::new();
        let ended = tokio::time::timeout(10 * minute, async {
            tokio::select! {
                () = dribble => {}
                _ = from.read_to_end(&mut heard) => {}
            }
        });
        assert!(ended.await.is_ok(), "{bytes:.20} was kept for ever");
        assert!(began.elapsed() <= minute + Duration::from_secs(11), "{:?}", began.elapsed());
    }
}
