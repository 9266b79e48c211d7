//! Subcommand: cargo xtask google fault sql

use clap::ValueEnum as _;
use serde_json::{Value, json};

use super::{ask, gateway};
use crate::context::Context;
use crate::{exit, output};

/// What happens to which instance.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What happens.
    deed: Deed,
    /// The instance, in the emulated project.
    #[arg(long, value_name = "NAME", default_value = "mlflow")]
    instance: String,
    /// How long nobody gets in; with `close` alone.
    #[arg(long, required_if_eq("deed", "close"))]
    seconds: Option<u64>,
}

/// As the emulator's admin port calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Deed {
    /// Connections end, and nobody gets in for some seconds.
    Close,
    /// Whoever knocks gets in again.
    Open,
    /// The certificates of the proxies are over.
    ExpireCertificates,
    /// PostgreSQL refuses what would need space.
    FillDisk,
    /// It has space again.
    FreeDisk,
}

/// Refuses a time for what has none.
pub(super) fn check(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.seconds.is_some() && arguments.deed != Deed::Close {
        let text = "only `close` lasts for some seconds\nhint: leave out --seconds";
        return Err(exit::error(exit::USAGE, text));
    }
    Ok(())
}

/// Makes it happen.
pub(super) async fn run(
    context: &Context,
    client: &kube::Client,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let world = ask(client, gateway(), "GET", "/world", &Value::Null).await?;
    let project = world["project"]["id"].as_str().unwrap_or_default();
    let deed = arguments.deed.to_possible_value();
    let deed = deed.as_ref().map_or("", clap::builder::PossibleValue::get_name);
    let path = format!("/sql/{project}/{}/{deed}", arguments.instance);
    let body = json!({ "seconds": arguments.seconds.unwrap_or(0) });
    ask(client, gateway(), "POST", &path, &body).await?;
    output::result(context, "", json!({ "instance": arguments.instance, "deed": deed }));
    Ok(())
}
