//! Who asks: from the address of a connection to the pod behind it.

pub mod cluster;
pub mod file;

use futures::future::BoxFuture;
use std::{net::IpAddr, sync::Arc, time::SystemTime};
use tokio::sync::watch;

/// The annotation by which a Kubernetes service account names its Google service account.
pub const ANNOTATION: &str = "iam.gke.io/gcp-service-account";

/// A pod of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What tells it from an earlier pod of the same name.
    pub uid: String,
    /// Its service account.
    pub kubernetes_sa: String,
    /// The Google service account that the annotation of its service account names.
    pub google_sa: Option<String>,
    /// When its life began.
    pub started: Option<SystemTime>,
}

/// What is behind an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A pod of this node.
    Pod(Arc<Pod>),
    /// The node itself, and with it every pod on the host's network.
    Node,
    /// Nobody that is known, or not yet.
    Unknown,
}

/// No token could be had for a service account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoToken(pub String);

/// A source of pods and of their tokens.
pub trait Pods: Send + Sync {
    /// Who has this address, from memory.
    fn find(&self, address: IpAddr) -> Peer;

    /// Says when [`Pods::find`] may answer otherwise than before.
    fn changes(&self) -> watch::Receiver<u64>;

    /// A token of the pod's service account for an audience, signed by the cluster.
    fn projected_token<'a>(
        &'a self,
        pod: &'a Pod,
        audience: &'a str,
    ) -> BoxFuture<'a, Result<String, NoToken>>;

    /// Whether everything is known that there was at the start.
    fn is_ready(&self) -> bool;
}
