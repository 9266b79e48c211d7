//! Subcommand: cargo xtask bench

mod google;
mod measure;
mod server;

use std::time::Duration;

use anyhow::Context as _;
use cluster::{Builder, Cache, Cluster};
use process::{Call, Cmd, Shell, cmd};

use crate::context::Context;
use crate::{doctor, images, output};
use measure::{Reach, Row, Times, interleave, repeat};

/// The longest that one measured command may take; a cold build takes half an hour.
const LIMIT: Duration = Duration::from_secs(90 * 60);
/// The cluster that is measured and removed.
const BENCH_CLUSTER: &str = "mlflow-gke-bench";

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Benchmark {
    /// The first build of xtask from a clean checkout, and every later start.
    Help,
    /// A cluster from cached images, and a deploy from no cluster to a proved MLflow.
    Cluster,
    /// A deploy with nothing to change, beside `kubectl apply -k` in the same run.
    Noop,
    /// The images, unpacked.
    Images,
    /// MLflow's pod: from deletion to Ready, and its memory at rest.
    Pod,
    /// The emulated Google Cloud beside what is behind it, without a cluster. Takes five minutes.
    Google,
    /// Everything from source, with empty caches. Takes half an hour.
    Cold,
}

/// Measure what docs/benchmarks.md tells. Timings are never part of the tests.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench                 everything but `cold`
  cargo xtask bench noop --runs 20
  cargo xtask bench google          the emulated Google Cloud, each figure beside its peer
  cargo xtask bench cold            with empty caches of its own")]
pub(crate) struct Arguments {
    /// What to measure; everything but `cold` unless told.
    #[arg(value_enum)]
    benchmarks: Vec<Benchmark>,
    /// How many runs of what takes less than a minute.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// Prints a table of minimum, median and maximum.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    use Benchmark::{Cluster, Cold, Google, Help, Images, Noop, Pod};
    let all = [Help, Images, Cluster, Noop, Pod, Google];
    let wanted = if arguments.benchmarks.is_empty() { &all[..] } else { &arguments.benchmarks };
    let runs = arguments.runs.max(1);
    let mut rows = Vec::new();
    for benchmark in wanted {
        let step = context.log.step("bench", format!("measure {benchmark:?}"));
        rows.extend(match benchmark {
            Help => help(context, runs)?,
            Images => image_sizes(context)?,
            Cluster => on_bench_cluster(context, |sh| cluster_and_deploy(sh, runs))?,
            Noop => on_bench_cluster(context, |sh| noop(context, sh, runs.max(10)))?,
            Pod => {
                on_bench_cluster(context, |_| server::pod(context, &bench_cluster(context), runs))?
            }
            Google => google::measure(context, runs)?,
            Cold => cold(context)?,
        });
        step.done("");
    }
    context.stop_daemon()?;
    let mut table = vec![Row::heads()];
    table.extend(rows.iter().map(Row::cells));
    output::result(context, &output::table(&table), serde_json::json!({ "rows": rows }));
    Ok(())
}

fn bench_cluster(context: &Context) -> Cluster {
    Cluster::named(&context.builder, BENCH_CLUSTER)
}

/// Gives the work a shell whose xtask uses the bench cluster, and removes that cluster afterwards.
fn on_bench_cluster(
    context: &Context,
    work: impl FnOnce(&Shell) -> anyhow::Result<Vec<Row>>,
) -> anyhow::Result<Vec<Row>> {
    doctor::ensure(context)?;
    images::build_all(context)?;
    let sh = Shell::new()?;
    sh.change_dir(&context.root);
    sh.set_var("MLFLOW_GKE_CLUSTER", BENCH_CLUSTER);
    sh.set_var("MLFLOW_GKE_CACHE", context.builder.cache.root());
    let xtask = xtask()?;
    Call::new(cmd!(sh, "{xtask} --quiet deploy --env kind"), LIMIT).run()?;
    let rows = work(&sh);
    bench_cluster(context).down(&context.builder)?;
    rows
}

fn xtask() -> anyhow::Result<std::path::PathBuf> {
    std::env::current_exe().context("cannot tell where xtask is")
}

fn took(cmd: Cmd<'_>) -> anyhow::Result<Duration> {
    Ok(Call::new(cmd, LIMIT).run()?.took)
}

/// Crates are fetched beforehand: what is measured is the compiler, not the network.
fn help(context: &Context, runs: usize) -> anyhow::Result<Vec<Row>> {
    let sh = Shell::new()?;
    sh.change_dir(&context.root);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    Call::new(cmd!(sh, "{cargo} fetch --locked"), LIMIT).run()?;
    let target = context.root.join("target/xtask/bench-target");
    drop(std::fs::remove_dir_all(&target));
    let first =
        took(cmd!(sh, "{cargo} run --quiet --package xtask --target-dir {target} -- --help"))?;
    drop(std::fs::remove_dir_all(&target));
    let xtask = xtask()?;
    let later = repeat(runs.max(20), || took(cmd!(sh, "{xtask} --help")))?;
    let through_cargo = repeat(runs, || took(cmd!(sh, "{cargo} xtask --help")))?;
    Ok(vec![
        Row::seconds("first `cargo xtask --help` of a checkout, crates fetched", Times::one(first))
            .reach(Reach::AtMost(90.0)),
        Row::seconds("later `xtask --help`, the program itself", later).reach(Reach::AtMost(0.01)),
        Row::seconds("later `cargo xtask --help`, through cargo", through_cargo),
    ])
}

fn image_sizes(context: &Context) -> anyhow::Result<Vec<Row>> {
    doctor::ensure(context)?;
    let mut rows = Vec::new();
    for built in images::build_all(context)? {
        cluster::image::ensure_in_docker(&built)?;
        let mb = cluster::docker::size_mb(&built.reference())?.unwrap_or_default();
        let reach = (built.name == "mlflow").then_some(Reach::AtMost(250.0));
        rows.push(Row::megabytes(format!("image {}, unpacked", built.name), &[mb]).reach(reach));
    }
    Ok(rows)
}

fn cluster_and_deploy(sh: &Shell, runs: usize) -> anyhow::Result<Vec<Row>> {
    let xtask = xtask()?;
    let down = || took(cmd!(sh, "{xtask} --quiet cluster down"));
    let up = repeat(runs, || {
        down()?;
        took(cmd!(sh, "{xtask} --quiet cluster up"))
    })?;
    let deploy = repeat(runs, || {
        down()?;
        took(cmd!(sh, "{xtask} --quiet deploy --env kind"))
    })?;
    Ok(vec![
        Row::seconds("`cluster up`, images cached, no cluster", up).reach(Reach::AtMost(15.0)),
        Row::seconds("`deploy --env kind`, images cached, no cluster, to the proof", deploy)
            .reach(Reach::AtMost(60.0)),
    ])
}

/// The peer runs on the same cluster, in turn, with objects that it has applied itself before.
fn noop(context: &Context, sh: &Shell, runs: usize) -> anyhow::Result<Vec<Row>> {
    let xtask = xtask()?;
    let kubectl = cluster::kubectl(&context.builder)?;
    let kubeconfig = bench_cluster(context).kubeconfig();
    let overlay = context.root.join("deploy/mlflow/env/kind");
    let apply = || {
        took(cmd!(sh, "{kubectl} --kubeconfig {kubeconfig} apply -k {overlay} --dry-run=server"))
    };
    let deploy = || took(cmd!(sh, "{xtask} --quiet deploy --env kind"));
    deploy()?;
    let (ours, theirs) = interleave(runs, deploy, apply)?;
    Ok(vec![
        Row::seconds("`deploy --env kind`, nothing changed, health included", ours)
            .reach(Reach::AtMost(0.3)),
        Row::seconds("`kubectl apply -k --dry-run=server`, the same objects", theirs),
    ])
}

/// Its own cache, Go's and cargo's build results are empty; only downloads of crates are kept.
fn cold(context: &Context) -> anyhow::Result<Vec<Row>> {
    let root = context.builder.cache.root().join("bench-cold");
    drop(std::fs::remove_dir_all(&root));
    let builder = Builder { cache: Cache::at(root.join("cache"))?, ..context.builder.clone() };
    let sh = Shell::new()?;
    sh.change_dir(&context.root);
    sh.set_var("MLFLOW_GKE_CACHE", builder.cache.root());
    sh.set_var("MLFLOW_GKE_CLUSTER", BENCH_CLUSTER);
    sh.set_var("GOCACHE", root.join("go-build"));
    sh.set_var("GOMODCACHE", root.join("go-mod"));
    sh.set_var("GOFLAGS", "-modcacherw");
    sh.set_var("PIP_NO_CACHE_DIR", "1");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let target = root.join("target");
    let call = cmd!(
        sh,
        "{cargo} run --quiet --package xtask --target-dir {target} -- --quiet deploy --env kind"
    );
    let took = took(call);
    Cluster::named(&builder, BENCH_CLUSTER).down(&builder)?;
    drop(std::fs::remove_dir_all(&root));
    Ok(vec![Row::seconds(
        "`cargo xtask deploy --env kind`, everything from source",
        Times::one(took?),
    )])
}
