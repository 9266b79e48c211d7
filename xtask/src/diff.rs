//! Subcommand: cargo xtask diff

use rollout::{Options, Owner, Server};

use crate::context::Context;
use crate::overlay::Overlay;
use crate::target::{self, Selection, Target};
use crate::{exit, output};

/// Show what a deploy would change, field by field, and change nothing.
#[derive(clap::Args)]
#[command(
    after_help = "Example: cargo xtask diff --env kind    (exit code 3 when there are changes)"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
}

/// Prints the differences; exit code 3 when there are any.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let overlay = Overlay::render(context, arguments.selection.env)?;
    let target = Target::of(context, &arguments.selection)?;
    target::run(async {
        let server = Server::new(target.connect().await?);
        let options = Options { thorough: true, ..Options::default() };
        let plan = rollout::plan(&server, &overlay.bundle, &owner(&overlay), options).await?;
        show(context, &plan)
    })
}

/// Whose objects an overlay's are.
pub(crate) fn owner(overlay: &Overlay) -> Owner {
    Owner { environment: overlay.environment.to_string(), namespace: NAMESPACE.to_owned() }
}

/// The namespace of every overlay.
pub(crate) const NAMESPACE: &str = "mlflow";

/// Prints a plan, and ends with the code that says whether it changes anything.
pub(crate) fn show(context: &Context, plan: &rollout::Plan) -> anyhow::Result<()> {
    output::result(context, &rollout::diff(plan), serde_json::to_value(plan)?);
    let n_changes = plan.pending().count();
    if n_changes == 0 {
        return Ok(());
    }
    Err(exit::error(
        exit::CHANGES,
        format!("{n_changes} objects would change; nothing was written"),
    ))
}
