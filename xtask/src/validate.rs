//! Subcommand: cargo xtask validate

use crate::context::Context;
use crate::output;
use crate::overlay::Source;
use crate::target::Selection;

/// Check an environment offline: settings, references, Pod Security, secrets, images.
#[derive(clap::Args)]
#[command(after_help = "Example: cargo xtask validate --env gcp-cloudsql")]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
}

/// Fails with everything that is wrong, not with the first of it.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let source = Source::read(context, arguments.selection.env)?;
    // Machines get problems and findings together; a person mends the problems first, which takes no
    // kubectl to see.
    if !context.log.is_json() {
        source.refuse_problems(context)?;
    }
    let overlay = source.render(context)?;
    if context.log.is_json() {
        context.log.result(serde_json::json!({
            "problems": overlay.problems,
            "findings": overlay.findings(),
        }));
    }
    overlay.refuse_faults()?;
    let n_objects = overlay.bundle.values().count();
    if !context.log.is_json() {
        output::print(&format!(
            "{}: {n_objects} objects, nothing to complain about",
            overlay.environment
        ));
    }
    Ok(())
}
