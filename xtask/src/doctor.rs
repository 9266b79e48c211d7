//! Subcommand: cargo xtask doctor

use std::io::{BufRead, IsTerminal};

use cluster::prerequisite::{self, Finding, Need};
use cluster::{Host, daemon, docker, free_mib};

use crate::context::Context;
use crate::{exit, output};

/// The least memory that the cluster, MLflow and PostgreSQL run in, measured at rest.
const MEMORY_MIB: u64 = 3 * 1024;
/// What a first build writes to the cache and to Docker's store.
const DISK_MIB: u64 = 12 * 1024;

/// Check every prerequisite, and install what is missing.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask doctor          what is found, what is wanted, what mends it
  cargo xtask doctor --fix    install it (Debian, Ubuntu), and start a Docker daemon when none runs")]
pub(crate) struct Arguments {
    /// Install what is missing, after asking.
    #[arg(long)]
    fix: bool,
}

/// Prints the table; fails when something is missing and was not mended.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let host = Host::read();
    let needs = [Need::Cluster, Need::Tests];
    let mut findings = prerequisite::check(&host, &needs)?;
    if arguments.fix && findings.iter().any(|it| !it.is_good) {
        mend(context, &host, &findings)?;
        findings = prerequisite::check(&host, &needs)?;
    }
    if arguments.fix && findings.iter().all(|it| it.is_good) {
        daemon::ensure(&context.builder, &host)?;
    }
    findings.extend(resources(context, &host)?);
    let daemon = docker::daemon();
    let daemon_line = match &daemon {
        Ok(daemon) => format!("Docker {} answers ({})", daemon.version, daemon.default_runtime),
        Err(_) => "no Docker daemon answers; deploy and test start one".to_owned(),
    };
    let wrapper = match host.has_sys_resource {
        true => "this host gives containers every capability",
        false => {
            "this host withholds CAP_SYS_RESOURCE: containers start through the runtime wrapper"
        }
    };
    let text = format!("{}{daemon_line}\n{wrapper}", table(&findings));
    let result = serde_json::json!({
        "system": host.system,
        "prerequisites": findings,
        "daemon": daemon.is_ok(),
        "runtime_wrapper": !host.has_sys_resource,
    });
    output::result(context, &text, result);
    refuse_if_missing(&findings)
}

/// Sees to what a local cluster needs, without a word when all is there.
pub(crate) fn ensure(context: &Context) -> anyhow::Result<()> {
    ensure_all(context, &[Need::Cluster])
}

/// Sees to what the tests need.
pub(crate) fn ensure_for_tests(context: &Context) -> anyhow::Result<()> {
    ensure_all(context, &[Need::Cluster, Need::Tests])
}

fn ensure_all(context: &Context, needs: &[Need]) -> anyhow::Result<()> {
    let host = Host::read();
    let mut findings = prerequisite::check(&host, needs)?;
    if findings.iter().any(|it| !it.is_good) {
        mend(context, &host, &findings)?;
        findings = prerequisite::check(&host, needs)?;
    }
    refuse_if_missing(&findings)?;
    if host.memory_free_mib < MEMORY_MIB {
        context.log.note(format!(
            "warning: {} MiB of memory are free, the cluster wants {MEMORY_MIB} MiB; it may be slow or lose pods",
            host.memory_free_mib
        ));
    }
    daemon::ensure(&context.builder, &host)?;
    Ok(())
}

fn mend(context: &Context, host: &Host, findings: &[Finding]) -> anyhow::Result<()> {
    let commands = prerequisite::install_commands(host, findings);
    if commands.is_empty() {
        return Ok(());
    }
    if !context.yes && !ask(context, &commands) {
        return refuse_if_missing(findings);
    }
    Ok(prerequisite::install(&context.log, host, findings)?)
}

/// Asks on the terminal. Where nobody can answer, the answer is no: the error tells the commands.
fn ask(context: &Context, commands: &[String]) -> bool {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return false;
    }
    context
        .log
        .note(format!("something is missing; run this now?\n  {}\n[y/N]", commands.join("\n  ")));
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("y")
}

fn resources(context: &Context, host: &Host) -> anyhow::Result<Vec<Finding>> {
    let free = free_mib(context.builder.cache.root())?;
    let finding = |name, found: u64, wanted: u64, fix: &str| Finding {
        name,
        found: format!("{found} MiB free"),
        wanted: format!("{wanted} MiB"),
        is_good: found >= wanted,
        fix: fix.to_owned(),
        package: None,
    };
    Ok(vec![
        finding("memory", host.memory_free_mib, MEMORY_MIB, "close something"),
        finding("disk", free, DISK_MIB, "free some space, or set MLFLOW_GKE_CACHE to another disk"),
    ])
}

fn table(findings: &[Finding]) -> String {
    let mut rows = vec![["", "NAME", "FOUND", "WANTED", "FIX"].map(str::to_owned).to_vec()];
    for it in findings {
        let mark = if it.is_good { "✓" } else { "✗" };
        let found = if it.found.is_empty() { "nothing" } else { &it.found };
        let fix = if it.is_good { "" } else { &it.fix };
        rows.push([mark, it.name, found, &it.wanted, fix].map(str::to_owned).to_vec());
    }
    output::table(&rows)
}

fn refuse_if_missing(findings: &[Finding]) -> anyhow::Result<()> {
    let missing: Vec<_> = findings.iter().filter(|it| !it.is_good).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing
        .iter()
        .map(|it| format!("  {}: {} is wanted; {}", it.name, it.wanted, it.fix))
        .collect();
    Err(exit::error(
        exit::PREREQUISITE,
        format!("prerequisites are missing\n{}\nhint: cargo xtask doctor --fix", lines.join("\n")),
    ))
}
