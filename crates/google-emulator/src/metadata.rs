//! The metadata server of a node.

/// Options of the metadata server.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Serves until it is told to end.
///
/// # Errors
/// Why it does not start.
pub async fn run(_args: Args) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err("the metadata server is not there yet".into())
}
