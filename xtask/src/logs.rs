//! Subcommand: cargo xtask logs

use health::logs::{self, Line, Selection as Pods};

use crate::context::Context;
use crate::diff::NAMESPACE;
use crate::output;
use crate::target::{self, Selection, Target};

/// Print the logs of MLflow's pods, or of others.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask logs --env kind
  cargo xtask logs --env kind --follow              pods that come later are followed too
  cargo xtask logs --env kind --selector app=postgres --tail 50")]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Whose logs, as a label selector.
    #[arg(long, short = 'l', default_value = "app=mlflow")]
    selector: String,
    /// Go on with what is written from now on.
    #[arg(long, short)]
    follow: bool,
    /// At most that many lines of each container.
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    tail: i64,
}

/// Prints the lines to stdout, each with its pod.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let target = Target::of(context, &arguments.selection)?;
    target::run(async {
        let client = target.connect().await?;
        let pods =
            Pods { namespace: NAMESPACE, labels: &arguments.selector, tail: Some(arguments.tail) };
        let is_json = context.log.is_json();
        let print = |line: &Line| match is_json {
            true => context.log.result(serde_json::json!({
                "pod": line.pod, "container": line.container, "line": line.text,
            })),
            false => output::print(&format!("{} {}", line.pod, line.text)),
        };
        if arguments.follow {
            logs::follow(&client, &pods, print).await?;
        } else if logs::print(&client, &pods, print).await? == 0 {
            context.log.note(format!("no pod with `{}` has written anything", arguments.selector));
        }
        Ok(())
    })
}
