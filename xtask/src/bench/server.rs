//! MLflow's pod under the stop-watch: from deletion to Ready, and its memory at rest.

use std::time::{Duration, Instant};

use ::watch::{Message, Selection};
use anyhow::Context as _;
use cluster::Cluster;
use health::exec::{Command, exec};
use health::tunnel::{Address, Tunnel};
use serde_json::Value;

use super::measure::{Reach, Row, Times};
use crate::context::Context;
use crate::diff::NAMESPACE;
use crate::target;

/// No start takes longer, however slow the machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Measures the pod on a cluster to which MLflow is deployed.
pub(crate) fn pod(context: &Context, cluster: &Cluster, runs: usize) -> anyhow::Result<Vec<Row>> {
    target::run(async {
        let client = health::connect(&cluster.kubeconfig(), &cluster.context()).await?;
        let mut times = Vec::new();
        let mut sizes_mb = Vec::new();
        for _ in 0..runs {
            let pod = serving_pod(&client).await?;
            sizes_mb.push(memory_mb(&client, &pod).await?);
            let begun = Instant::now();
            delete(context, cluster, &pod)?;
            let ready = successor(&client, &pod);
            let late = || format!("no pod of mlflow was ready {} s after {pod}", LIMIT.as_secs());
            tokio::time::timeout(LIMIT, ready).await.with_context(late)?;
            times.push(begun.elapsed());
        }
        Ok(vec![
            Row::seconds("MLflow's pod deleted, to Ready again, schema present", Times::of(times)),
            Row::megabytes("MLflow's pod at rest, proportional set size".to_owned(), &sizes_mb)
                .reach(Reach::AtMost(350.0)),
        ])
    })
}

/// Waits until a pod other than `old` is ready. The Deployment itself would not do: for an instant
/// after the deletion it still counts the old pod.
async fn successor(client: &kube::Client, old: &str) {
    let pods = Selection::new(format!("/api/v1/namespaces/{NAMESPACE}/pods")).labels("app=mlflow");
    let goes_on = |message: Message| match message {
        Message::Listed(pods) => !pods.iter().any(|it| is_successor(it, old)),
        Message::Applied(pod) => !is_successor(&pod, old),
        Message::Deleted(_) | Message::Lost(_) | Message::Found => true,
    };
    ::watch::follow(client.clone(), pods, None, goes_on).await;
}

fn is_successor(pod: &Value, old: &str) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let is_ready = |it: &Value| it["type"] == "Ready" && it["status"] == "True";
    // The pod of the run before serves for a while after its deletion.
    let metadata = &pod["metadata"];
    metadata["name"] != old
        && metadata["deletionTimestamp"].is_null()
        && conditions.is_some_and(|all| all.iter().any(is_ready))
}

async fn serving_pod(client: &kube::Client) -> anyhow::Result<String> {
    let address = Address::new(NAMESPACE, "mlflow", 5000);
    let mut tunnel = Tunnel::open(client.clone(), address, LIMIT).await?;
    tunnel.http("GET", "/health", &[("host", "mlflow:5000")], "").await?;
    Ok(tunnel.pod().context("no pod has answered")?.pod.clone())
}

/// The server is one process, so its share of memory is the pod's.
async fn memory_mb(client: &kube::Client, pod: &str) -> anyhow::Result<u64> {
    let command = Command {
        namespace: NAMESPACE,
        pod,
        container: Some("mlflow"),
        argv: &["cat", "/proc/1/smaps_rollup"],
        limit: LIMIT,
    };
    let output = exec(client, &command).await?;
    let line = output.stdout.lines().find(|it| it.starts_with("Pss:"));
    let kib = line.and_then(|it| it.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kib.context("the kernel does not tell the pod's memory")? * 1024 / 1_000_000)
}

fn delete(context: &Context, cluster: &Cluster, pod: &str) -> anyhow::Result<()> {
    let sh = process::Shell::new()?;
    let kubectl = cluster::kubectl(&context.builder)?;
    let kubeconfig = cluster.kubeconfig();
    let call = process::cmd!(
        sh,
        "{kubectl} --kubeconfig {kubeconfig} --namespace {NAMESPACE} delete pod {pod} --wait=false"
    );
    process::Call::new(call, LIMIT).without_trust().run()?;
    Ok(())
}
