//! Subcommand: cargo xtask ci

use crate::context::Context;

/// Run what CI runs.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// Runs it.
pub(crate) fn run(_context: &Context, _arguments: &Arguments) -> anyhow::Result<()> {
    anyhow::bail!("not written yet")
}
