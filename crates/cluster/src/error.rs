//! What can go wrong on the way to a cluster.

use std::path::PathBuf;

/// An error of this crate; each names the thing, and the fix where there is one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A process did not do what was asked.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A file or folder could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried: `read`, `write`, `create`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// There is not enough room for what is to be built.
    #[error(
        "`{}` has {free_mib} MiB free, {wanted_mib} MiB are wanted\nhint: free some space, or set MLFLOW_GKE_CACHE to a folder on another disk",
        path.display()
    )]
    DiskFull {
        /// The folder on the full disk.
        path: PathBuf,
        /// What is free.
        free_mib: u64,
        /// What is wanted.
        wanted_mib: u64,
    },
    /// The Docker daemon does not answer.
    #[error("the Docker daemon does not answer: {reason}\nhint: cargo xtask doctor --fix")]
    NoDaemon {
        /// What the client said.
        reason: String,
    },
    /// A cluster of our name is there, and it is not ours.
    #[error(
        "the kind cluster `{name}` was not made by this project (its node runs `{image}`), so it is left alone\nhint: choose another name with --cluster NAME, or remove it yourself with `kind delete cluster --name {name}`"
    )]
    ForeignCluster {
        /// The cluster's name.
        name: String,
        /// The image of its node.
        image: String,
    },
    /// The cluster is ours, but another cache has its kubeconfig and its images.
    #[error(
        "the cluster `{name}` was made with the cache `{cache}`, and is in use there\nhint: set MLFLOW_GKE_CACHE={cache}, choose another name with --cluster NAME, or remove it with `cargo xtask cluster down`"
    )]
    OtherCache {
        /// The cluster's name.
        name: String,
        /// The cache that it was made from.
        cache: String,
    },
    /// There is no cluster of that name.
    #[error("there is no cluster `{name}`\nhint: cargo xtask cluster up")]
    NoCluster {
        /// The cluster's name.
        name: String,
    },
    /// What should name a registry does not.
    #[error(
        "`{text}` names no registry: {reason}\nhint: HOST[:PORT]/PATH, for instance europe-north1-docker.pkg.dev/my-project/mlflow-gke"
    )]
    RegistryName {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A registry did not give or take an image.
    #[error("the registry {registry} {reason}\nhint: {hint}")]
    Registry {
        /// Where it is.
        registry: String,
        /// What happened, as the rest of a sentence.
        reason: String,
        /// The next command.
        hint: String,
        /// Whether the next question would end the same way.
        is_lasting: bool,
    },
    /// Something did not come up in time.
    #[error("{what} was not there after {} s: {last}", limit.as_secs())]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        limit: std::time::Duration,
        /// What was seen last.
        last: String,
    },
    /// Anything else that has no kind of its own.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// A file error, for `map_err`.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
