//! Subcommand: cargo xtask completions

use clap::CommandFactory;

/// Print a completion script for a shell.
#[derive(clap::Args)]
#[command(after_help = "Example: source <(cargo xtask completions bash)")]
pub(crate) struct Arguments {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Writes the script to stdout.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut command = crate::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "xtask", &mut std::io::stdout());
    Ok(())
}
