//! The emulated Google Cloud: its command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use google_emulator::{metadata, start};

/// An offline Google Cloud that enforces identity.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve Google's hosts, Cloud SQL's data port, a proxy and the admin port.
    Gateway(start::Options),
    /// Serve the metadata server of a node.
    Metadata(metadata::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result: Result<(), Box<dyn std::error::Error + Send + Sync>> =
        match Arguments::parse().command {
            Command::Gateway(options) => start::gateway(options).await.map_err(Into::into),
            Command::Metadata(args) => metadata::run(args).await,
        };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            google_emulator::log::failure(&*error);
            ExitCode::FAILURE
        }
    }
}
