//! Subcommand: cargo xtask doctor

use std::io::{BufRead, IsTerminal};

use cluster::prerequisite::{self, Finding, Need};
use cluster::{Host, daemon, docker, free_mib, sudo};

use crate::context::Context;
use crate::{exit, output};

/// What a deploy wants: twice what all of it holds at rest, for the migration, MLflow's start and the
/// page cache. Linking Kubernetes, the first time, takes about as much.
const MEMORY_MIB: u64 = 2 * 1024;
/// Less than all of it holds at rest: the control plane 0.5 GiB, the kubelet, containerd and the Docker
/// daemon 0.3, MLflow, PostgreSQL and fake-gcs-server 0.25. What does not fit, the kernel kills.
const LEAST_MEMORY_MIB: u64 = 1024;
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
    let needs = [Need::Cluster, Need::Tests, Need::Google];
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

/// Sees to what the tests with Google's clients need, which is no daemon and little memory.
pub(crate) fn ensure_for_google(context: &Context) -> anyhow::Result<()> {
    let host = Host::read();
    let needs = [Need::Google];
    let mut findings = prerequisite::check(&host, &needs)?;
    if findings.iter().any(|it| !it.is_good) {
        mend(context, &host, &findings)?;
        findings = prerequisite::check(&host, &needs)?;
    }
    refuse_if_missing(&findings)
}

fn ensure_all(context: &Context, needs: &[Need]) -> anyhow::Result<()> {
    context.use_daemon()?;
    let host = Host::read();
    let mut findings = prerequisite::check(&host, needs)?;
    if findings.iter().any(|it| !it.is_good) {
        mend(context, &host, &findings)?;
        findings = prerequisite::check(&host, needs)?;
    }
    refuse_if_missing(&findings)?;
    match Memory::judge(host.memory_free_mib, || is_cluster_running(context)) {
        Memory::Enough => {}
        Memory::Scarce => context.log.note(format!(
            "warning: {} MiB of memory are free, {MEMORY_MIB} MiB are wanted; it may be slow or lose pods",
            host.memory_free_mib
        )),
        Memory::TooLittle => return Err(exit::error(
            exit::PREREQUISITE,
            format!(
                "{} MiB of memory are free, and a cluster with MLflow in it cannot run in less than {LEAST_MEMORY_MIB} MiB\nhint: {FREE_MEMORY}",
                host.memory_free_mib
            ),
        )),
    }
    daemon::ensure(&context.builder, &host)?;
    Ok(())
}

const FREE_MEMORY: &str = "close something (`ps -e --sort=-rss -o rss,comm | head` shows the largest), or give this machine more memory";

/// How far the free memory goes.
#[derive(Debug, PartialEq, Eq)]
enum Memory {
    Enough,
    Scarce,
    TooLittle,
}

impl Memory {
    /// A cluster that runs holds already what it needs, so beside it nothing is too little.
    fn judge(free_mib: u64, is_cluster_running: impl FnOnce() -> bool) -> Self {
        match free_mib {
            MEMORY_MIB.. => Self::Enough,
            LEAST_MEMORY_MIB.. => Self::Scarce,
            _ if is_cluster_running() => Self::Scarce,
            _ => Self::TooLittle,
        }
    }
}

fn is_cluster_running(context: &Context) -> bool {
    context.cluster.is_running().unwrap_or(false)
}

fn mend(context: &Context, host: &Host, findings: &[Finding]) -> anyhow::Result<()> {
    let mut commands = prerequisite::install_commands(host, findings);
    let daemon = daemon::wanted_command(host);
    commands.extend(daemon.clone());
    if commands.is_empty() {
        return Ok(());
    }
    if !context.yes {
        if !ask(context, &commands) {
            return refuse_if_missing(findings);
        }
        if !host.is_root {
            sudo::unlock()?;
        }
    }
    prerequisite::install(&context.log, host, findings)?;
    if daemon.is_some() {
        daemon::start_as_root(&context.builder, host)?;
    }
    Ok(())
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
    let finding = |name, found: u64, is_good, wanted, fix: &str| Finding {
        name,
        found: format!("{found} MiB free"),
        wanted,
        is_good,
        fix: fix.to_owned(),
        package: None,
    };
    let memory = host.memory_free_mib;
    let is_enough = Memory::judge(memory, || is_cluster_running(context)) != Memory::TooLittle;
    let wanted = format!("{MEMORY_MIB} MiB, at least {LEAST_MEMORY_MIB} MiB");
    let disk_fix = "free some space, or set MLFLOW_GKE_CACHE to another disk";
    Ok(vec![
        finding("memory", memory, is_enough, wanted, FREE_MEMORY),
        finding("disk", free, free >= DISK_MIB, format!("{DISK_MIB} MiB"), disk_fix),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_told_from_little() {
        for (free_mib, is_cluster_running, expected) in [
            (MEMORY_MIB, false, Memory::Enough),
            (MEMORY_MIB - 1, false, Memory::Scarce),
            (LEAST_MEMORY_MIB, false, Memory::Scarce),
            (LEAST_MEMORY_MIB - 1, false, Memory::TooLittle),
            (LEAST_MEMORY_MIB - 1, true, Memory::Scarce),
            (0, false, Memory::TooLittle),
        ] {
            assert_eq!(Memory::judge(free_mib, || is_cluster_running), expected, "{free_mib}");
        }
    }
}
