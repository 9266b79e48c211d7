//! The local kind cluster and everything that it is built from.
//!
//! Nothing is built from what a container registry has: Kubernetes and its companions are compiled
//! from Go modules, base systems are unpacked from Debian packages, MLflow comes from its Python
//! package. A [`Registry`] that the user names is asked for the results of the same recipes first.
//! What was built is in a [`Cache`] outside the checkout, by the hash of what it was built from.
//! A cluster is known to be ours by its node's image; any other is left alone.

mod addons;
pub mod base;
mod builder;
mod cache;
mod cluster;
pub mod daemon;
mod digest;
pub mod docker;
mod error;
mod host;
pub mod image;
mod kubectl;
pub mod node;
pub mod outlook;
mod poll;
pub mod prerequisite;
pub mod program;
pub mod python;
mod registry;
pub mod rust;
mod state;
pub mod sudo;

pub use builder::{Builder, free_mib};
pub use cache::{Cache, Recipe};
pub use cluster::{Cluster, Up};
pub use digest::Digest;
pub use error::Error;
pub use host::Host;
pub use kubectl::{kube_apiserver, kubectl, render};
pub use registry::{Pushed, Registry};
