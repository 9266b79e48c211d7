//! The cluster that an environment belongs to, and nothing else than that cluster.

use std::future::Future;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use manifests::Environment;

use crate::context::Context;
use crate::exit;

/// Flags that name what to work on.
#[derive(clap::Args, Clone)]
pub(crate) struct Selection {
    /// The environment: gcp, gcp-cloudsql, kind, kind-cloudsql.
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Environment,
    /// The kubeconfig context of the GKE cluster; the current context is never used.
    #[arg(long, value_name = "CONTEXT", env = "MLFLOW_GKE_CONTEXT")]
    context: Option<String>,
}

/// The cluster of an environment.
pub(crate) struct Target {
    /// The environment.
    environment: Environment,
    /// The file that says how to reach it.
    pub(crate) kubeconfig: PathBuf,
    /// The context in that file.
    pub(crate) context: String,
}

impl Target {
    /// Finds the cluster of the selected environment.
    ///
    /// # Errors
    /// A GKE environment without a context, or one with the context of a local cluster.
    pub(crate) fn of(context: &Context, selection: &Selection) -> anyhow::Result<Self> {
        if selection.env.is_local() {
            return Ok(Self { environment: selection.env, ..Self::local(context) });
        }
        let Some(name) = &selection.context else {
            return Err(exit::error(
                exit::REFUSED,
                format!(
                    "environment `{}` does not say which GKE cluster it is for, and the current context is never trusted\nhint: --context gke_PROJECT_REGION_CLUSTER (kubectl config get-contexts lists them)",
                    selection.env
                ),
            ));
        };
        if name.starts_with("kind-") {
            return Err(exit::error(
                exit::REFUSED,
                format!(
                    "`{name}` is a local cluster, `{}` is for GKE\nhint: --env kind",
                    selection.env
                ),
            ));
        }
        let (kubeconfig, context) = (user_kubeconfig()?, name.clone());
        Ok(Self { environment: selection.env, kubeconfig, context })
    }

    /// The local cluster, whatever is deployed to it.
    pub(crate) fn local(context: &Context) -> Self {
        let kubeconfig = context.cluster.kubeconfig();
        let context = context.cluster.context();
        Self { environment: Environment::Kind, kubeconfig, context }
    }

    /// Connects, after a look at whose cluster the file leads to.
    ///
    /// # Errors
    /// The file leads elsewhere than the environment belongs, or nobody answers.
    pub(crate) async fn connect(&self) -> anyhow::Result<kube::Client> {
        if self.environment.is_local() {
            refuse_remote(&self.kubeconfig)?;
        }
        Ok(health::connect(&self.kubeconfig, &self.context).await?)
    }

    /// The flags by which a person names the same target to another command.
    pub(crate) fn flags(&self) -> String {
        match self.environment.is_local() {
            true => format!("--env {}", self.environment),
            false => format!("--env {} --context {}", self.environment, self.context),
        }
    }

    /// How a person would call kubectl for this cluster.
    pub(crate) fn kubectl(&self, namespace: &str) -> String {
        format!(
            "kubectl --kubeconfig {} --context {} --namespace {namespace}",
            self.kubeconfig.display(),
            self.context
        )
    }
}

/// The local cluster's API server is on this machine; a kubeconfig that says otherwise is not ours.
fn refuse_remote(kubeconfig: &Path) -> anyhow::Result<()> {
    let text = match std::fs::read_to_string(kubeconfig) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(exit::error(
                exit::PREREQUISITE,
                "the local cluster is not up\nhint: cargo xtask cluster up",
            ));
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", kubeconfig.display()));
        }
    };
    match remote_server(&text) {
        None => Ok(()),
        Some(server) => Err(exit::error(
            exit::REFUSED,
            format!(
                "`{}` leads to `{server}`, which is not on this machine; nothing was sent there\nhint: cargo xtask cluster down, then up again",
                kubeconfig.display()
            ),
        )),
    }
}

/// The first server of a kubeconfig that is not a loopback address.
fn remote_server(kubeconfig: &str) -> Option<&str> {
    kubeconfig
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("server:"))
        .map(str::trim)
        .find(|server| {
            let host = server.split_once("://").map_or(*server, |(_, rest)| rest);
            !["127.0.0.1:", "[::1]:", "localhost:"].iter().any(|it| host.starts_with(it))
        })
}

fn user_kubeconfig() -> anyhow::Result<PathBuf> {
    if let Some(paths) = std::env::var_os("KUBECONFIG").filter(|it| !it.is_empty()) {
        let first = std::env::split_paths(&paths).next();
        return first.context("KUBECONFIG names no file");
    }
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".kube/config"))
}

/// Runs asynchronous work to its end on this thread; Ctrl-C ends it with the exit code for that.
///
/// From here on Ctrl-C ends nothing else than such work, so this is for the last part of a command.
///
/// # Errors
/// Those of the work.
pub(crate) fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    run_briefly(async {
        tokio::select! {
            result = work => result,
            _ = tokio::signal::ctrl_c() => Err(exit::error(
                exit::INTERRUPTED,
                "interrupted; the same command continues from here",
            )),
        }
    })
}

/// Runs a short piece of asynchronous work and leaves Ctrl-C to the operating system.
///
/// # Errors
/// Those of the work.
pub(crate) fn run_briefly<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_names_the_same_target() {
        let target = |environment: Environment, context: &str| Target {
            environment,
            kubeconfig: PathBuf::new(),
            context: context.to_owned(),
        };
        assert_eq!(target(Environment::Kind, "kind-mlflow-gke").flags(), "--env kind");
        assert_eq!(
            target(Environment::GcpCloudsql, "gke_our").flags(),
            "--env gcp-cloudsql --context gke_our"
        );
    }

    #[test]
    fn a_kubeconfig_that_leads_elsewhere_is_seen() {
        let local = "clusters:\n- cluster:\n    server: https://127.0.0.1:40123\n";
        assert_eq!(remote_server(local), None);
        let remote = "clusters:\n- cluster:\n    server: https://34.88.1.2\n";
        assert_eq!(remote_server(remote), Some("https://34.88.1.2"));
        let tricky = "    server: https://127.0.0.1.example.com:443\n";
        assert_eq!(remote_server(tricky), Some("https://127.0.0.1.example.com:443"));
    }
}
