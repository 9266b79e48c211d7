//! Reaches a Service from outside of the cluster, through the API server.
//!
//! A port-forward goes to one pod, not to a Service, so the pod is chosen here as kube-proxy would:
//! from the ready endpoints of the Service, anew for each connection.

mod endpoints;
mod forward;
mod http;

pub use endpoints::Endpoint;
pub use forward::{Forward, ForwardEvent, forward};
pub use http::{Response, Tunnel};

use crate::error::{Error, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use std::time::Duration;
use tokio::io::DuplexStream;

/// How long the way to a pod may take to come about.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The namespace of the Service.
    pub namespace: String,
    /// The Service.
    pub service: String,
    /// Its port, as in the Service's `port`, not the pod's.
    pub port: u16,
}

impl Address {
    /// Names a port of a Service.
    pub fn new(namespace: impl Into<String>, service: impl Into<String>, port: u16) -> Address {
        Address { namespace: namespace.into(), service: service.into(), port }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.service, self.port)
    }
}

/// A stream to a port of a pod.
async fn open_stream(
    client: &Client,
    namespace: &str,
    endpoint: &Endpoint,
) -> Result<DuplexStream> {
    let what = format!("forward port {} of pod `{}`", endpoint.port, endpoint.pod);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let ports = [endpoint.port];
    let opening = pods.portforward(&endpoint.pod, &ports);
    let mut forwarder = match tokio::time::timeout(OPEN_LIMIT, opening).await {
        Err(_) => return Err(Error::TimedOut { what, limit: OPEN_LIMIT }),
        Ok(opened) => opened.map_err(|it| Error::api(what.clone(), it))?,
    };
    // The forwarder's task lives on without its handle, until the stream is dropped.
    forwarder.take_stream(endpoint.port).ok_or_else(|| Error::Unexpected {
        what,
        answer: "the port-forward has no stream".to_owned(),
    })
}
