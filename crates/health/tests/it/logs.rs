//! What pods have written, also while they come and go.

use crate::server::Server;
use health::logs::{self, Line, Selection};
use serde_json::{Value, json};

const PODS: Selection<'_> = Selection { namespace: "mlflow", labels: "app=mlflow", tail: None };

/// A pod whose container runs. Without a log it is gone by the time its log is asked for.
fn pod(name: &str, log: Option<&str>) -> Value {
    json!({
        "kind": "Pod", "metadata": {"name": name}, "log": log,
        "status": {"containerStatuses": [
            {"name": "mlflow", "containerID": format!("containerd://{name}"), "state": {"running": {}}},
        ]},
    })
}

#[tokio::test]
async fn of_a_pod_that_is_gone_by_now_does_not_hide_those_of_the_others() {
    let server = Server::start().await;
    for (name, log) in [("a", Some("one\ntwo\n")), ("b", None), ("c", Some("three\n"))] {
        server.put(pod(name, log));
    }
    let mut printed = Vec::new();
    let client = server.client();
    let count = logs::print(&client, &PODS, |line: &Line| {
        printed.push(format!("{} {}", line.pod, line.text));
    });
    assert_eq!(count.await.unwrap(), 3);
    assert_eq!(printed, ["a one", "a two", "c three"]);
}

#[tokio::test]
async fn that_cannot_be_read_are_an_error_that_names_the_selector() {
    let mut server = Server::start().await;
    let client = server.client();
    server.stop().await;
    let error = logs::print(&client, &PODS, |_: &Line| {}).await.unwrap_err();
    assert!(error.to_string().contains("app=mlflow"), "{error}");
}
