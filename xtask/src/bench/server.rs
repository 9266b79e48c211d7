//! MLflow's pod under the stop-watch: from deletion to Ready, and its memory at rest.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use cluster::Cluster;
use health::exec::{Command, exec};
use health::tunnel::{Address, Tunnel};
use health::{Kind, Watcher};

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
            let mut watcher = Watcher::open(client.clone(), NAMESPACE).await?;
            let begun = Instant::now();
            delete(context, cluster, &pod)?;
            let target = health::Target::new(Kind::Deployment, "mlflow");
            let outcome = watcher.wait(&[target], begun + LIMIT, |_| {}).await?;
            anyhow::ensure!(outcome.is_healthy(), "mlflow did not come back");
            times.push(begun.elapsed());
        }
        Ok(vec![
            Row::seconds("MLflow's pod deleted, to Ready again, schema present", Times::of(times)),
            Row::megabytes("MLflow's pod at rest, proportional set size".to_owned(), &sizes_mb),
        ])
    })
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
