//! Subcommand: cargo xtask events

use health::observed::event_time;
use health::{Kind, Watcher};
use serde_json::Value;

use crate::context::Context;
use crate::diff::NAMESPACE;
use crate::output;
use crate::target::{self, Selection, Target};

/// Print what Kubernetes has to say about MLflow's objects, oldest first.
#[derive(clap::Args)]
#[command(after_help = "Example: cargo xtask events --env kind --warnings")]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Only warnings.
    #[arg(long)]
    warnings: bool,
}

/// Prints a table of events.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let target = Target::of(context, &arguments.selection)?;
    target::run(async {
        let client = target.connect().await?;
        let mut watcher = Watcher::open(client, NAMESPACE).await?;
        let mut events: Vec<&Value> = watcher
            .snapshot()
            .list(Kind::Event)
            .filter(|it| !arguments.warnings || it["type"] == "Warning")
            .collect();
        events.sort_by_key(|it| event_time(it).to_owned());
        let mut rows =
            vec![["TIME", "TYPE", "OBJECT", "REASON", "MESSAGE"].map(str::to_owned).to_vec()];
        rows.extend(events.iter().map(|it| row(it)));
        output::result(context, &output::table(&rows), serde_json::json!({ "events": events }));
        Ok(())
    })
}

fn row(event: &Value) -> Vec<String> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = text("/involvedObject/kind").to_lowercase();
    vec![
        event_time(event).to_owned(),
        text("/type").to_owned(),
        format!("{kind}/{}", text("/involvedObject/name")),
        text("/reason").to_owned(),
        text("/message").replace('\n', " "),
    ]
}
