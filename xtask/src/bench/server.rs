//! MLflow's pod under the stop-watch: from deletion to Ready, and its memory at rest.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cluster::Cluster;
use futures::TryStreamExt as _;
use health::exec::{Command, exec};
use health::tunnel::{Address, Tunnel};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};

use super::measure::{Row, Times};
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
            tokio::time::timeout(LIMIT, ready).await.with_context(late)??;
            times.push(begun.elapsed());
        }
        Ok(vec![
            Row::seconds("MLflow's pod deleted, to Ready again, schema present", Times::of(times)),
            Row::megabytes("MLflow's pod at rest, proportional set size".to_owned(), &sizes_mb),
        ])
    })
}

/// Waits until a pod other than `old` is ready. The Deployment itself would not do: for an instant
/// after the deletion it still counts the old pod.
async fn successor(client: &kube::Client, old: &str) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let wanted = WatchParams::default().labels("app=mlflow");
    let mut events = pin!(pods.watch(&wanted, "0").await?);
    while let Some(event) = events.try_next().await? {
        let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else { continue };
        let conditions = pod.status.and_then(|it| it.conditions).unwrap_or_default();
        let is_ready = conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
        if is_ready && pod.metadata.name.as_deref() != Some(old) {
            return Ok(());
        }
    }
    anyhow::bail!("the watch of mlflow's pods ended")
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
