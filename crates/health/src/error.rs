//! What can go wrong between us and a cluster.

use crate::observed::Kind;
use std::{io, path::PathBuf, time::Duration};

/// The result of everything that talks to a cluster.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between us and a cluster. Each names the thing it is about; the cause is the
/// source, not part of the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kubeconfig cannot be read.
    #[error("read the kubeconfig `{}`", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The kubeconfig has no such context.
    #[error("`{}` has no context `{context}` (it has: {known})", path.display())]
    NoContext {
        /// The file.
        path: PathBuf,
        /// The context that was asked for.
        context: String,
        /// Those that are there.
        known: String,
    },
    /// The API server of this context does not answer.
    #[error("reach the API server `{server}` of context `{context}` in `{}`", path.display())]
    Unreachable {
        /// The file.
        path: PathBuf,
        /// The context.
        context: String,
        /// The URL.
        server: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server refused or failed a request.
    #[error("{what}")]
    Api {
        /// What was tried, such as ``list pods in `mlflow` ``.
        what: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// All watches have ended.
    #[error("the watch of {0:?} has ended for good")]
    WatchEnded(Kind),
    /// No pod serves the Service.
    #[error(
        "service `{namespace}/{service}` has no ready endpoint for port {port} after {waited:?}\nhint: kubectl --namespace {namespace} get endpointslices,pods"
    )]
    NoEndpoint {
        /// Its namespace.
        namespace: String,
        /// Its name.
        service: String,
        /// The port of the Service.
        port: u16,
        /// How long one was waited for.
        waited: Duration,
    },
    /// The Service does not have that port.
    #[error("service `{namespace}/{service}` has no port {port}")]
    NoPort {
        /// Its namespace.
        namespace: String,
        /// Its name.
        service: String,
        /// The port.
        port: u16,
    },
    /// Bytes to or from a pod were lost.
    #[error("{what}")]
    Stream {
        /// What was tried.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// HTTP through a tunnel failed.
    #[error("{what}")]
    Http {
        /// What was tried.
        what: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// Something took longer than it was given.
    #[error("{what} took longer than {limit:?}")]
    TimedOut {
        /// What was tried.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// An answer makes no sense.
    #[error("{what}: {answer}")]
    Unexpected {
        /// What was tried.
        what: String,
        /// What came instead.
        answer: String,
    },
    /// A step of the round trip failed.
    #[error("round trip, step `{step}`: {message}\nhint: {hint}")]
    RoundTrip {
        /// The step.
        step: &'static str,
        /// What was seen: the status and the first line of the answer.
        message: String,
        /// The next command.
        hint: String,
        /// Why, when something below failed.
        #[source]
        source: Option<Box<Error>>,
    },
}

impl Error {
    pub(crate) fn api(what: impl Into<String>, source: kube::Error) -> Error {
        Error::Api { what: what.into(), source: Box::new(source) }
    }

    pub(crate) fn stream(what: impl Into<String>, source: io::Error) -> Error {
        Error::Stream { what: what.into(), source }
    }
}
