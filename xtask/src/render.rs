//! Subcommand: cargo xtask render

use crate::context::Context;
use crate::output;
use crate::overlay::Overlay;
use crate::target::Selection;

/// Print the manifests of an environment, with the shell's settings and the images' tags.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask render --env kind
  PROJECT_ID=my-project cargo xtask render --env gcp")]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
}

/// Prints the YAML to stdout.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let overlay = Overlay::render(context, arguments.selection.env)?;
    let objects: Vec<_> = overlay.bundle.values().collect();
    output::result(context, &overlay.text, serde_json::json!({ "objects": objects }));
    Ok(())
}
