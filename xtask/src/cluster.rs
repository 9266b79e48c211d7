//! Subcommands: cargo xtask cluster up, cargo xtask cluster down

use cluster::Up;

use crate::context::Context;
use crate::{doctor, images, output};

/// The local cluster.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make the local cluster, or start it again, and load the images.
    #[command(after_help = "Example: cargo xtask cluster up")]
    Up,
    /// Remove the local cluster, its volumes, and the Docker daemon if it was started for it.
    #[command(after_help = "Example: cargo xtask cluster down")]
    Down,
}

/// Runs a command of the group.
pub(crate) fn run(context: &Context, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up => {
            let up = up(context)?;
            let (text, state) = match up {
                Up::Created => ("made", "created"),
                Up::Started => ("started again", "started"),
                Up::Running => ("up already", "running"),
            };
            let kubeconfig = context.cluster.kubeconfig();
            let result = serde_json::json!({
                "cluster": context.cluster.name,
                "state": state,
                "kubeconfig": kubeconfig,
                "context": context.cluster.context(),
            });
            let text = format!(
                "cluster {} is {text}\nkubectl --kubeconfig {} get pods --all-namespaces",
                context.cluster.name,
                kubeconfig.display()
            );
            output::result(context, &text, result);
            Ok(())
        }
        Command::Down => down(context),
    }
}

/// Sees to the prerequisites, builds what is missing, and brings the cluster up.
pub(crate) fn up(context: &Context) -> anyhow::Result<Up> {
    doctor::ensure(context)?;
    up_prepared(context)
}

/// The same, where the prerequisites have been seen to already.
pub(crate) fn up_prepared(context: &Context) -> anyhow::Result<Up> {
    context.cluster.refuse_others()?;
    let built = images::build_all(context)?;
    Ok(context.cluster.up(&context.builder, &built)?)
}

fn down(context: &Context) -> anyhow::Result<()> {
    let removed = match cluster::docker::daemon() {
        Ok(_) => context.cluster.down(&context.builder)?,
        // A cluster that was made here may still be in the store of a daemon that does not run.
        Err(error) if context.cluster.is_known() => return Err(error.into()),
        Err(_) => false,
    };
    let stopped = context.stop_daemon()?;
    let text = match (removed, stopped) {
        (true, true) => "removed the cluster and stopped the Docker daemon",
        (true, false) => "removed the cluster",
        (false, true) => "stopped the Docker daemon",
        (false, false) => "there was nothing to remove",
    };
    output::result(
        context,
        text,
        serde_json::json!({ "removed": removed, "daemon_stopped": stopped }),
    );
    Ok(())
}
