//! Subcommands: cargo xtask google fault add, list, clear, sql

mod sql;

use health::tunnel::{Address, Tunnel};
use serde_json::{Value, json};

use super::{LIMIT, gateway};
use crate::context::Context;
use crate::{exit, output};

/// The one host that the gateway does not serve.
const METADATA_HOST: &str = "metadata.google.internal";
/// Where both admin ports keep their rules.
const FAULTS: &str = "/faults";
/// What the table shows where a rule says nothing.
const ANY: &str = "any";

/// Faults of the emulated Google Cloud. They are rules in memory: a restart ends them.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// The next calls that match fail, or take longer.
    #[command(after_help = "Examples:
  cargo xtask google fault add --host storage.googleapis.com --status 503 --times 3
  cargo xtask google fault add --host storage.googleapis.com --path /upload --method POST --status 403 --message 'The quota is used up.'
  cargo xtask google fault add --host sqladmin.googleapis.com --reset
  cargo xtask google fault add --host metadata.google.internal --latency-ms 5000 --times 10")]
    Add(Rule),
    /// Show the rules that are left.
    #[command(after_help = "Example: cargo xtask google fault list")]
    List,
    /// End all of them.
    #[command(after_help = "Example: cargo xtask google fault clear")]
    Clear,
    /// Something happens to a Cloud SQL instance: its port, its certificates, its disk.
    #[command(after_help = "Examples:
  cargo xtask google fault sql fill-disk            PostgreSQL has no space for what is written
  cargo xtask google fault sql free-disk            it has space again
  cargo xtask google fault sql close --seconds 60   nobody gets in, as during maintenance
  cargo xtask google fault sql expire-certificates  as if the hour of each were over")]
    Sql(sql::Arguments),
}

/// Which calls meet which fault.
#[derive(clap::Args)]
pub(crate) struct Rule {
    /// The host that is called; any but the metadata server unless told.
    #[arg(long)]
    host: Option<String>,
    /// The beginning of the path; any unless told.
    #[arg(long)]
    path: Option<String>,
    /// The method; any unless told.
    #[arg(long)]
    method: Option<String>,
    /// How many calls meet it.
    #[arg(long, value_name = "CALLS", default_value_t = 1)]
    times: u32,
    #[command(flatten)]
    fault: Fault,
    /// The words of the error; Google's usual ones unless told.
    #[arg(long, requires = "status")]
    message: Option<String>,
}

/// What they meet.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Fault {
    /// Served, but this much later.
    #[arg(long, value_name = "MILLISECONDS")]
    latency_ms: Option<u64>,
    /// The connection is closed without an answer.
    #[arg(long)]
    reset: bool,
    /// An error with this status, in the form of the API that is called.
    #[arg(long, value_name = "CODE")]
    status: Option<u16>,
}

/// Refuses what is wrong whatever runs.
pub(crate) fn check(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Sql(arguments) => sql::check(arguments),
        Command::Add(_) | Command::List | Command::Clear => Ok(()),
    }
}

/// Runs a command of the group.
pub(crate) async fn run(
    context: &Context,
    client: &kube::Client,
    command: &Command,
) -> anyhow::Result<()> {
    match command {
        Command::Add(rule) => add(context, client, rule).await,
        Command::List => list(context, client).await,
        Command::Clear => clear(context, client).await,
        Command::Sql(arguments) => sql::run(context, client, arguments).await,
    }
}

async fn add(context: &Context, client: &kube::Client, rule: &Rule) -> anyhow::Result<()> {
    let address = if rule.host.as_deref() == Some(METADATA_HOST) { metadata() } else { gateway() };
    let rule = written(rule);
    ask(client, address, "POST", FAULTS, &rule).await?;
    output::result(context, "", rule);
    Ok(())
}

async fn list(context: &Context, client: &kube::Client) -> anyhow::Result<()> {
    let of_gateway = ask(client, gateway(), "GET", FAULTS, &Value::Null).await?;
    let of_metadata = ask(client, metadata(), "GET", FAULTS, &Value::Null).await?;
    let lists = [&of_gateway["faults"], &of_metadata];
    let rules: Vec<&Value> = lists.iter().filter_map(|it| it.as_array()).flatten().collect();
    let mut table = vec![["HOST", "PATH", "METHOD", "TIMES", "FAULT"].map(str::to_owned).to_vec()];
    table.extend(rules.iter().map(|rule| cells(rule)));
    output::result(context, &output::table(&table), json!({ "faults": rules }));
    Ok(())
}

async fn clear(context: &Context, client: &kube::Client) -> anyhow::Result<()> {
    for address in [gateway(), metadata()] {
        ask(client, address, "DELETE", FAULTS, &Value::Null).await?;
    }
    output::result(context, "", json!({ "faults": [] }));
    Ok(())
}

/// The metadata server's admin port.
fn metadata() -> Address {
    Address::new("kube-system", "google-metadata-admin", 8988)
}

async fn ask(
    client: &kube::Client,
    address: Address,
    method: &str,
    path: &str,
    body: &Value,
) -> anyhow::Result<Value> {
    let mut admin = Tunnel::open(client.clone(), address, LIMIT).await?;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let json = [("host", "localhost"), ("content-type", "application/json")];
    let answer = admin.http(method, path, &json, body).await?;
    if answer.status.is_success() {
        return Ok(answer.json());
    }
    let why =
        answer.json()["error"]["message"].as_str().map_or_else(|| answer.text(), str::to_owned);
    let hint = "hint: cargo xtask google fault --help";
    Err(exit::error(exit::USAGE, format!("the emulator refuses the fault: {why}\n{hint}")))
}

/// The rule as the admin ports read it.
fn written(rule: &Rule) -> Value {
    let fault = match (rule.fault.latency_ms, rule.fault.status) {
        (Some(milliseconds), _) => json!({ "latency": { "milliseconds": milliseconds } }),
        (_, Some(code)) => {
            json!({ "status": { "code": code, "message": rule.message.as_deref().unwrap_or("") } })
        }
        _ => json!({ "reset": {} }),
    };
    json!({
        "host": rule.host,
        "path": rule.path,
        "method": rule.method,
        "times": rule.times,
        "fault": fault,
    })
}

fn cells(rule: &Value) -> Vec<String> {
    let mut cells: Vec<String> = ["host", "path", "method"]
        .map(|name| rule[name].as_str().unwrap_or(ANY).to_owned())
        .to_vec();
    cells.extend([rule["times"].to_string(), shown(&rule["fault"])]);
    cells
}

/// `503 The words`, `5000 ms`, `reset`.
fn shown(fault: &Value) -> String {
    if let Some(milliseconds) = fault["latency"]["milliseconds"].as_u64() {
        return format!("{milliseconds} ms");
    }
    match fault["status"]["code"].as_u64() {
        Some(code) => {
            let message = fault["status"]["message"].as_str().unwrap_or_default();
            format!("{code} {message}").trim_end().to_owned()
        }
        None => "reset".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        rule: Rule,
    }

    #[track_caller]
    fn check(words: &str, expected: &str, fault: Value) {
        let words = std::iter::once("add").chain(words.split(' '));
        let rule = written(&Line::try_parse_from(words).unwrap().rule);
        assert_eq!((shown(&rule["fault"]), &rule["fault"]), (expected.to_owned(), &fault));
    }

    #[test]
    fn each_fault_is_written_as_the_emulator_reads_it_and_shown_again() {
        check("--latency-ms 20", "20 ms", json!({ "latency": { "milliseconds": 20 } }));
        check("--reset", "reset", json!({ "reset": {} }));
        check("--status 503", "503", json!({ "status": { "code": 503, "message": "" } }));
        let quota = json!({ "status": { "code": 429, "message": "slow" } });
        check("--status 429 --message slow", "429 slow", quota);
    }

    #[test]
    fn a_rule_has_one_fault() {
        for words in
            [&["add"][..], &["add", "--reset", "--status", "503"], &["add", "--message", "x"]]
        {
            assert!(Line::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
