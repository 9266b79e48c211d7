//! The harness of the tests that need a cluster: they drive the command line as a person does, and
//! look at the cluster with a client of their own. Those in [`google`] need none.
//!
//! The tests on a cluster share one cluster and its one namespace, so a [`Scene`] holds a lock, and makes its own
//! starting state: a test may leave the cluster in whatever state it likes.

mod api;
mod checkout;
mod child;
mod cloud;
mod evidence;
pub mod google;
mod mlflow;
mod open;
mod scene;

pub use api::Api;
pub use checkout::Checkout;
pub use child::{Background, Run, Signal, program, run};
pub use cloud::{BUCKET, Cloud, On, PROJECT, google_sa};
pub use mlflow::{Answer, Mlflow};
pub use open::Open;
pub use scene::{Scene, Test, deployed, deployed_as, empty, root, with_cluster};

/// The namespace of every overlay.
pub const NAMESPACE: &str = "mlflow";

/// How long a deploy may take in a test. It needs 20 s on two idle cores; CI's are busy.
pub const DEPLOY_LIMIT: std::time::Duration = std::time::Duration::from_secs(300);

/// How long anything else may take.
pub const LIMIT: std::time::Duration = std::time::Duration::from_secs(120);
