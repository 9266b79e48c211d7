//! The cluster as a test finds it: locked, up, and in the state that the test starts from.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{Api, Checkout, DEPLOY_LIMIT, NAMESPACE, Run, evidence, program, run};

/// How long the first test may wait for a cluster, its images built anew.
const UP_LIMIT: Duration = Duration::from_secs(15 * 60);

/// A test's hold on the cluster.
pub struct Scene {
    /// The test's name, as the name of a folder.
    pub name: String,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The tests' own client.
    pub api: Api,
    xtask: PathBuf,
    kubectl: PathBuf,
    _lock: File,
}

/// Runs a test on the cluster, whatever is deployed there.
///
/// # Errors
/// Those of the test, after the evidence has been written.
pub fn with_cluster<T: Test>(test: T) -> anyhow::Result<()> {
    play(name_of::<T>(), test)
}

/// Runs a test that starts from a healthy deployment.
///
/// # Errors
/// Those of the test.
pub fn deployed<T: Test>(test: T) -> anyhow::Result<()> {
    deployed_as("kind", test)
}

/// Runs a test that starts from a healthy deployment of an environment.
///
/// # Errors
/// Those of the test.
pub fn deployed_as<T: Test>(environment: &str, test: T) -> anyhow::Result<()> {
    play(name_of::<T>(), |scene| {
        start_from(scene, environment).context("make the test's starting state")?;
        test(scene)
    })
}

/// Two environments do not share the namespace: that of another one goes.
fn start_from(scene: &Scene, environment: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}");
    let namespace = scene.api.get(&path)?.unwrap_or_default();
    let owner = namespace["metadata"]["labels"]["mlflow-gke.dev/environment"].as_str();
    if owner.is_some_and(|it| it != environment) {
        scene.api.remove_namespace()?;
    }
    scene.run(&["deploy", "--env", environment])?.expect(0)?;
    Ok(())
}

/// Runs a test that starts without the namespace.
///
/// # Errors
/// Those of the test.
pub fn empty<T: Test>(test: T) -> anyhow::Result<()> {
    play(name_of::<T>(), |scene| {
        scene.api.remove_namespace().context("make the test's starting state")?;
        test(scene)
    })
}

/// The body of a test.
pub trait Test: FnOnce(&Scene) -> anyhow::Result<()> {}

impl<T: FnOnce(&Scene) -> anyhow::Result<()>> Test for T {}

/// `cluster::prune::a_removed_object::{{closure}}` without its ends. The thread's name would do for
/// `cargo test`, but a test runner may run a test in the main thread.
fn name_of<T>() -> String {
    let path = std::any::type_name::<T>();
    let path = path.split_once("::").map_or(path, |(_, it)| it);
    // The report looks for the evidence under the test's name in this form.
    path.trim_end_matches("::{{closure}}").replace("::", "-")
}

fn play(name: String, test: impl FnOnce(&Scene) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let scene = Scene::enter(name)?;
    // A failed assertion leaves by a panic, a failed step by an error; both leave evidence.
    let guard = evidence::Guard::new(&scene);
    let result = test(&scene);
    guard.end(result)
}

impl Scene {
    fn enter(name: String) -> anyhow::Result<Self> {
        let xtask = PathBuf::from(variable("MLFLOW_GKE_XTASK")?);
        let cluster = variable("MLFLOW_GKE_CLUSTER")?;
        let kubectl = PathBuf::from(variable("MLFLOW_GKE_KUBECTL")?);
        ensure!(
            cluster != "mlflow-gke",
            "MLFLOW_GKE_CLUSTER names the cluster that people work with, and tests empty theirs\nhint: cargo xtask test"
        );
        let lock = lock(&cluster)?;
        let kubeconfig = up(&xtask)?;
        let api = Api::connect(&kubeconfig, &format!("kind-{cluster}"))?;
        Ok(Self { name, cluster, kubeconfig, api, xtask, kubectl, _lock: lock })
    }

    /// A command of the command line.
    #[must_use]
    pub fn xtask(&self, arguments: &[&str]) -> Command {
        let mut command = program(&self.xtask);
        command.args(arguments);
        command
    }

    /// A command of the command line, run to its end.
    ///
    /// # Errors
    /// It does not end.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Run> {
        run(self.xtask(arguments), DEPLOY_LIMIT)
    }

    /// A command in a changed copy of the checkout.
    ///
    /// # Errors
    /// It does not end.
    pub fn run_in(&self, checkout: &Checkout, arguments: &[&str]) -> anyhow::Result<Run> {
        let mut command = self.xtask(arguments);
        command.env("MLFLOW_GKE_ROOT", &checkout.root);
        run(command, DEPLOY_LIMIT)
    }

    /// `deploy --env kind`.
    ///
    /// # Errors
    /// It does not end.
    pub fn deploy(&self) -> anyhow::Result<Run> {
        self.run(&["deploy", "--env", "kind"])
    }

    /// kubectl, as the guide's reader types it, for this cluster.
    #[must_use]
    pub fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = program(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        command
    }

    /// A copy of the checkout to change.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn checkout(&self) -> anyhow::Result<Checkout> {
        Checkout::copy(&root(), &self.name)
    }

    /// The folder of the command line's cache.
    ///
    /// # Errors
    /// The kubeconfig is not where it always is.
    pub fn cache(&self) -> anyhow::Result<&Path> {
        self.kubeconfig.ancestors().nth(3).context("the kubeconfig is in CACHE/clusters/NAME")
    }

    /// The folder for what a test leaves for people to look at.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn evidence(&self) -> anyhow::Result<PathBuf> {
        let folder = evidence_base().join(&self.name);
        std::fs::create_dir_all(&folder).context("create the folder for evidence")?;
        Ok(folder)
    }
}

/// The checkout that the command line reads.
#[must_use]
pub fn root() -> PathBuf {
    match std::env::var_os("MLFLOW_GKE_ROOT").filter(|it| !it.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => workspace(),
    }
}

/// The folder of all evidence.
pub(crate) fn evidence_base() -> PathBuf {
    match std::env::var_os("MLFLOW_GKE_EVIDENCE").filter(|it| !it.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => workspace().join("target/e2e/evidence"),
    }
}

fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// A variable that the command line sets for tests.
pub(crate) fn variable(name: &str) -> anyhow::Result<String> {
    let value = std::env::var(name).ok().filter(|it| !it.is_empty());
    value.with_context(|| format!("{name} is not set\nhint: cargo xtask test sets it"))
}

/// One test at a time, whether they are threads of `cargo test` or processes of nextest.
fn lock(cluster: &str) -> anyhow::Result<File> {
    let folder = workspace().join("target/e2e");
    std::fs::create_dir_all(&folder).context("create target/e2e")?;
    let path = folder.join(format!("{cluster}.lock"));
    let file = File::options().create(true).append(true).open(&path).context("open the lock")?;
    file.lock().context("lock the cluster")?;
    Ok(file)
}

/// Brings the cluster up, once a process, and says where its kubeconfig is.
fn up(xtask: &Path) -> anyhow::Result<PathBuf> {
    static KUBECONFIG: OnceLock<PathBuf> = OnceLock::new();
    if let Some(known) = KUBECONFIG.get() {
        return Ok(known.clone());
    }
    let mut command = program(xtask);
    command.args(["--json", "cluster", "up"]);
    let up = run(command, UP_LIMIT)?.expect(0)?;
    let last: Value = serde_json::from_str(up.stdout.lines().last().unwrap_or_default())?;
    let kubeconfig = last["result"]["kubeconfig"].as_str().context("the result names it")?;
    Ok(KUBECONFIG.get_or_init(|| kubeconfig.into()).clone())
}
