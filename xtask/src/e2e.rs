//! Subcommand: cargo xtask e2e

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use events::Event;
use process::{Call, Shell, cmd};
use report::{Evidence, Run, junit, ndjson};

use crate::context::Context;
use crate::suite::{Class, Runner, Suite};
use crate::test;

/// Rehearse everything on a kind cluster of its own, and leave a report.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask e2e                   the whole rehearsal; target/e2e/report.html tells how it went
  cargo xtask e2e --keep prune      only tests whose names contain `prune`, the cluster stays")]
pub(crate) struct Arguments {
    /// Leave the cluster up.
    #[arg(long)]
    keep: bool,
    /// Only tests whose names contain one of these.
    filters: Vec<String>,
}

/// Runs the cluster tests and writes JUnit, NDJSON and the page, whatever the outcome.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let folder = context.root.join("target/e2e");
    drop(std::fs::remove_dir_all(&folder));
    let started = SystemTime::now();
    let suite = Suite {
        classes: &[Class::Cluster],
        runner: Runner::Nextest,
        filters: &arguments.filters,
        keep: arguments.keep,
        evidence: folder.join("evidence"),
    };
    let count = suite.run(context);
    write_report(context, &folder, started)?;
    context.log.note(format!("report: {}", folder.join("report.html").display()));
    test::conclude(context, count?)
}

fn write_report(context: &Context, folder: &Path, started: SystemTime) -> anyhow::Result<()> {
    let junit_text = std::fs::read_to_string(context.root.join("target/nextest/default/junit.xml"));
    let mut cases = match junit_text {
        Ok(text) => junit::parse_since(&text, Some(started))?,
        Err(_) => Vec::new(),
    };
    for case in &mut cases {
        case.evidence = evidence_of(&folder.join("evidence"), &case.name);
    }
    let (log, events) = read_events(&folder.join("evidence/events"), started);
    let run = Run {
        title: "MLflow on kind: the rehearsal".to_owned(),
        started: Some(started),
        commit: commit(&context.root),
        facts: facts(context),
        events,
        cases,
        provoked: true,
        ..Run::default()
    };
    write(&folder.join("events.ndjson"), &log)?;
    write(&folder.join("junit.xml"), &junit::write(&run))?;
    write(&folder.join("report.html"), &report::html(&run))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

/// What a test's guard has left in a folder of the test's name.
fn evidence_of(folder: &Path, test: &str) -> Vec<Evidence> {
    let name = test.replace("::", "-");
    let Ok(entries) = std::fs::read_dir(folder.join(&name)) else { return Vec::new() };
    let mut files: Vec<_> = entries.filter_map(Result::ok).map(|it| it.file_name()).collect();
    files.sort();
    let evidence = files.iter().map(|file| {
        let file = file.to_string_lossy();
        match std::fs::read_to_string(folder.join(&name).join(file.as_ref())) {
            Ok(text) => Evidence::text(file.clone(), text),
            Err(_) => Evidence::file(file.clone(), format!("evidence/{name}/{file}")),
        }
    });
    evidence.collect()
}

/// The logs of every command that the tests ran, on the time line of this one.
fn read_events(folder: &Path, started: SystemTime) -> (String, Vec<Event>) {
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut all: Vec<Event> = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let began = name.to_string_lossy().split('-').next().and_then(|it| it.parse().ok());
        let offset = Duration::from_millis(began.unwrap_or_default()).saturating_sub(started);
        let by_ms = u64::try_from(offset.as_millis()).unwrap_or_default();
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        all.extend(ndjson::parse(&text).0.into_iter().map(|event| event.shifted(by_ms)));
    }
    all.sort_by_key(Event::at_ms);
    let lines = all.iter().filter_map(|event| serde_json::to_string(event).ok());
    (lines.map(|line| line + "\n").collect(), all)
}

fn commit(root: &Path) -> String {
    let Ok(sh) = Shell::new() else { return String::new() };
    sh.change_dir(root);
    let call = Call::new(cmd!(sh, "git rev-parse --short HEAD"), Duration::from_secs(10));
    call.run().map(|it| it.stdout.trim().to_owned()).unwrap_or_default()
}

fn facts(context: &Context) -> Vec<(String, String)> {
    let host = cluster::Host::read();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kubernetes = cluster::program::kubernetes_version(&context.root).unwrap_or_default();
    [
        ("system", host.system),
        ("cores", cores.to_string()),
        ("memory free at the end", format!("{} MiB", host.memory_free_mib)),
        ("Kubernetes", kubernetes),
        ("runtime wrapper", if host.has_sys_resource { "not needed" } else { "used" }.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}
