//! The MLflow image: its migration, its server, and what it leaves out.

mod api;
mod artifacts;
mod image;
mod migration;
mod server;
