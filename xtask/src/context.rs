//! What every command is given: the flags that are the same everywhere, the log, the cache.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use cluster::{Builder, Cache, Cluster, Registry, daemon};
use events::{Estimates, Log, Style};

/// The name of the local cluster unless another is asked for.
pub(crate) const CLUSTER: &str = "mlflow-gke";

/// How long the slow steps take on two idle cores, for a machine that has not run them yet.
const BUILT_IN_ESTIMATES_MS: [(&str, u64); 17] = [
    ("program-kind", 20_000),
    ("program-kubernetes", 500_000),
    ("program-etcd", 45_000),
    ("program-containerd", 105_000),
    ("program-ctr", 8_000),
    ("program-coredns", 100_000),
    ("program-fake-gcs-server", 90_000),
    ("program-cloud-sql-proxy", 80_000),
    ("program-google-emulator", 400_000),
    ("program-runtime-wrapper", 12_000),
    ("base-node", 45_000),
    ("base-mlflow", 45_000),
    ("base-postgres", 55_000),
    ("python-mlflow", 25_000),
    ("image-mlflow", 40_000),
    ("image-node", 15_000),
    ("cluster-create", 15_000),
];

/// Flags that every command understands.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// Write events as NDJSON to stdout, for machines.
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but notes and errors.
    #[arg(long, short, global = true, conflicts_with = "json")]
    quiet: bool,
    /// Show each program that is called, as it can be typed, and what it prints.
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Answer every question with yes.
    #[arg(long, short, global = true, env = "CI", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) yes: bool,
    /// The local cluster's name.
    #[arg(long, global = true, value_name = "NAME", default_value = CLUSTER, env = "MLFLOW_GKE_CLUSTER")]
    cluster: String,
    /// Look for our images in this registry before building them; log in with `docker login`.
    #[arg(long, global = true, value_name = "HOST[:PORT]/PATH", env = "MLFLOW_GKE_REGISTRY")]
    registry: Option<String>,
    /// Also write every event as NDJSON to a file in this folder, named by the start in milliseconds.
    #[arg(long, global = true, value_name = "FOLDER", env = "MLFLOW_GKE_EVENTS", hide = true)]
    events: Option<PathBuf>,
}

/// The context of a command.
pub(crate) struct Context {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Whether questions are answered with yes.
    pub(crate) yes: bool,
    /// Where the story is told.
    pub(crate) log: Log,
    /// Builds programs and images.
    pub(crate) builder: Builder,
    /// The local cluster.
    pub(crate) cluster: Cluster,
    /// What keeps others from ending the Docker daemon, as soon as this command needs it.
    daemon: RefCell<Option<daemon::Use>>,
}

impl Context {
    /// Finds the checkout and the cache.
    ///
    /// # Errors
    /// The cache's folder cannot be made, or the event file cannot be opened.
    pub(crate) fn new(common: Common) -> anyhow::Result<Self> {
        let root = root()?;
        let cache = Cache::at(cache_root()?)?;
        let estimates =
            Estimates::load(cache.root().join("estimates.json"), &BUILT_IN_ESTIMATES_MS);
        let style = match (common.json, common.quiet) {
            (true, _) => Style::Json,
            (_, true) => Style::Quiet,
            _ => Style::Human,
        };
        let copy = common.events.as_deref().map(event_file).transpose()?;
        let log = Log::new(style, estimates, copy);
        if common.verbose {
            show_processes(log.clone());
        }
        let registry = common.registry.filter(|it| !it.is_empty());
        let registry = registry.as_deref().map(Registry::named).transpose()?;
        let builder = Builder { root: root.clone(), cache, log: log.clone(), registry };
        let cluster = Cluster::named(&builder, &common.cluster);
        let daemon = RefCell::default();
        Ok(Self { root, yes: common.yes, log, builder, cluster, daemon })
    }

    /// Keeps everybody else from ending the Docker daemon while this command runs.
    ///
    /// # Errors
    /// The lock cannot be made.
    pub(crate) fn use_daemon(&self) -> anyhow::Result<()> {
        let mut daemon = self.daemon.borrow_mut();
        if daemon.is_none() {
            *daemon = Some(daemon::Use::begin(&self.builder)?);
        }
        Ok(())
    }

    /// Ends the Docker daemon, if it was started by one of these commands and none needs it any more.
    ///
    /// # Errors
    /// It could not be asked, or not be ended.
    pub(crate) fn stop_daemon(&self) -> anyhow::Result<bool> {
        drop(self.daemon.take());
        Ok(daemon::stop_if_ours(&self.builder)?)
    }
}

fn show_processes(log: Log) {
    process::observe(move |sight| match sight {
        process::Sight::Started(command) => log.note(format!("$ {command}")),
        process::Sight::Line(line) => log.note(format!("  | {line}")),
    });
}

/// A file of this command's own: several commands may write to one folder.
fn event_file(folder: &Path) -> anyhow::Result<std::fs::File> {
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let path = folder.join(format!("{}-{}.ndjson", start.as_millis(), std::process::id()));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::File::create(&path))
        .with_context(|| format!("cannot write events to `{}`", path.display()))
}

/// The checkout that this binary was built in, or the copy that a test names.
fn root() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("MLFLOW_GKE_ROOT").filter(|it| !it.is_empty()) {
        return std::path::absolute(folder).context("MLFLOW_GKE_ROOT names no folder");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(folder.context("xtask is not in a checkout")?.to_owned())
}

/// Results are shared by all checkouts of a user, so they live in the user's cache folder.
fn cache_root() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("MLFLOW_GKE_CACHE").filter(|it| !it.is_empty()) {
        return std::path::absolute(folder).context("MLFLOW_GKE_CACHE names no folder");
    }
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|it| !it.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("mlflow-gke"))
}
