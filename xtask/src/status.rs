//! Subcommand: cargo xtask status

use health::{Kind, Watcher};
use manifests::Bundle;

use crate::context::Context;
use crate::deploy::describe;
use crate::diff::NAMESPACE;
use crate::overlay::Overlay;
use crate::target::{self, Selection, Target};
use crate::{exit, output};

/// Show how each workload stands, and why one is not healthy.
#[derive(clap::Args)]
#[command(
    after_help = "Example: cargo xtask status --env kind    (exit code 30 when something waits, 31 when it failed)"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
}

/// Prints a table; the exit code says whether all is well.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let overlay = Overlay::render(context, arguments.selection.env)?;
    let target = Target::of(context, &arguments.selection)?;
    target::run(async {
        let client = target.connect().await?;
        let mut watcher = Watcher::open(client, NAMESPACE).await?;
        let verdicts = watcher.verdicts(&workloads(&overlay.bundle));
        let mut rows = vec![["WORKLOAD", "STATE", "WHY"].map(str::to_owned).to_vec()];
        let mut objects = Vec::new();
        for (key, verdict) in &verdicts {
            let why = describe(key, verdict);
            objects.push(serde_json::json!({ "object": key.to_string(), "state": verdict.word(), "why": why }));
            rows.push(vec![key.to_string(), verdict.word().to_owned(), why]);
        }
        output::result(context, &output::table(&rows), serde_json::json!({ "workloads": objects }));
        if verdicts.iter().all(|(_, it)| it.is_healthy()) {
            return Ok(());
        }
        let code = match verdicts.iter().any(|(_, it)| it.is_failure()) {
            true => exit::DOOMED,
            false => exit::LATE,
        };
        Err(exit::error(
            code,
            format!("not every workload is healthy\nhint: cargo xtask events {}", target.flags()),
        ))
    })
}

/// The workloads of a bundle.
fn workloads(bundle: &Bundle) -> Vec<health::Target> {
    let kinds = [Kind::Deployment, Kind::StatefulSet, Kind::Job];
    bundle
        .values()
        .filter_map(|object| {
            let kind = Kind::parse(object["kind"].as_str()?).filter(|it| kinds.contains(it))?;
            Some(health::Target::new(kind, object["metadata"]["name"].as_str()?))
        })
        .collect()
}
