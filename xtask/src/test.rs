//! Subcommand: cargo xtask test

use crate::context::Context;
use crate::suite::{Class, Count, Runner, Suite};
use crate::{exit, output};

/// Run every test there is, those on a cluster included; of gcloud only where it is asked for.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask test                          everything
  cargo xtask test --class quick            what needs neither containers nor a cluster
  cargo xtask test --class google           real clients against the emulated Google Cloud
  cargo xtask test --class cluster prune    the cluster tests whose names contain `prune`
  cargo xtask test --runner cargo           by cargo test instead of nextest")]
pub(crate) struct Arguments {
    /// Only these classes.
    #[arg(long = "class", value_enum)]
    classes: Vec<Class>,
    /// Who runs the tests.
    #[arg(long, value_enum, default_value = "nextest")]
    runner: Runner,
    /// Leave the test cluster up.
    #[arg(long)]
    keep: bool,
    /// Only tests whose names contain one of these.
    filters: Vec<String>,
}

/// Runs the tests and ends with how many passed.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let classes = if arguments.classes.is_empty() { &Class::ALL[..] } else { &arguments.classes };
    let suite = Suite {
        classes,
        runner: arguments.runner,
        filters: &arguments.filters,
        keep: arguments.keep,
        evidence: context.root.join("target/xtask/evidence"),
    };
    conclude(context, suite.run(context)?)
}

/// The closing line, and the exit code that goes with it.
pub(crate) fn conclude(context: &Context, count: Count) -> anyhow::Result<()> {
    let text = format!("{} passed, {} failed", count.passed, count.failed);
    output::result(
        context,
        &text,
        serde_json::json!({ "passed": count.passed, "failed": count.failed }),
    );
    match count.failed {
        // Nothing tried proves nothing.
        0 if count.passed == 0 => Err(exit::error(exit::USAGE, "no test has such a name")),
        0 => Ok(()),
        failed => Err(exit::error(exit::FAILED, format!("{failed} tests failed"))),
    }
}
