//! What the images promise, each promise tested in containers of its own.
//!
//! The containers run as Kubernetes would run them: without privileges, on a read-only root file
//! system, under the image's own user. The images are the ones that `cargo xtask images build` made;
//! nothing is pulled, but by one test from a registry of its own.

mod container;
mod http;
mod scene;
mod stack;

mod fake_gcs_server;
mod mlflow;
mod postgres;
mod registry;
