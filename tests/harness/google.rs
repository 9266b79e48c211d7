//! Real clients of Google as judges of the emulated one, each script of them in a network of its own.
//!
//! A script of `tests/google/clients` starts the parts that it judges: the gateway, the metadata
//! server, PostgreSQL, the real proxy. It does so on a loopback, with a hosts file and with process
//! numbers that end with it, so no port of the machine is taken and nothing outlives a test.
#![expect(clippy::print_stdout, reason = "the number of cases belongs to the test's output")]

mod page;
mod script;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use process::Namespace;

pub use page::adds_up;
pub use script::Script;

use script::Case;

use crate::run;

/// Far above what a script needs, also on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs a script and fails with all of its cases that failed, or when the page of cases tells of
/// others than those that ran.
///
/// # Errors
/// Those, or the script could not run.
pub fn judge(script: &Script) -> anyhow::Result<()> {
    let evidence = evidence(script)?;
    let namespace = Namespace::make(script.name()).context("make a folder")?;
    let ended = run(command(&namespace, script)?, LIMIT)?;
    let took = ended.took;
    std::fs::write(evidence.join("cases.ndjson"), &ended.stdout).context("keep the cases")?;
    let cases = Case::parse(&ended.stdout)
        .with_context(|| format!("the cases of `{}`\n{}", script.name(), ended.text()))?;
    let failures: Vec<String> = cases.iter().filter_map(Case::failure).collect();
    if !failures.is_empty() || ended.code != 0 {
        std::fs::write(evidence.join("stderr.log"), &ended.stderr).context("keep stderr")?;
        keep(&namespace, &evidence)?;
    }
    ensure!(
        failures.is_empty(),
        "{} of {} cases failed; evidence is in {}\n{}",
        failures.len(),
        cases.len(),
        evidence.display(),
        failures.join("\n")
    );
    let last = ended.stderr.lines().last().unwrap_or_default();
    ensure!(
        ended.code == 0,
        "`{}` ended with {} after {} good cases: {last}\nevidence is in {}",
        script.name(),
        ended.code,
        cases.len(),
        evidence.display()
    );
    println!("{}: {} cases in {:.1} s", script.surface, cases.len(), took.as_secs_f64());
    page::tell(script, &cases)
}

/// The script in a namespace of its own.
fn command(namespace: &Namespace, script: &Script) -> anyhow::Result<std::process::Command> {
    let folder = crate::root().join("tests/google/clients");
    let packages = crate::scene::variable("MLFLOW_GKE_PYTHON_PACKAGES")?;
    let path = std::env::join_paths([packages.into(), crate::root().join("deploy/images/mlflow")])?;
    let mut command = namespace.command("python3.11");
    // Without `site`: what a machine hooks into its own Python would run on these packages, and may
    // write into them.
    command.arg("-S").args(script.words).current_dir(folder);
    command.env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1");
    for variable in ["MLFLOW_GKE_INSIDE", "MLFLOW_GKE_KEEP_LABS"] {
        command.env(variable, "1");
    }
    command.env("CLOUDSQL_INSIDE", "yes");
    Ok(command)
}

/// Keeps the logs and what was asked for, at the top of each folder that a script made.
fn keep(namespace: &Namespace, evidence: &Path) -> anyhow::Result<()> {
    for folder in std::fs::read_dir(namespace.folder())?.filter_map(Result::ok) {
        let Ok(entries) = std::fs::read_dir(folder.path()) else { continue };
        for file in entries.filter_map(Result::ok).map(|it| it.path()) {
            let is_log = file.file_name().is_some_and(|it| it == "log")
                || file.extension().is_some_and(|it| it == "log" || it == "json");
            if let (true, Some(name)) = (is_log && file.is_file(), file.file_name()) {
                std::fs::copy(&file, evidence.join(name)).context("keep a log")?;
            }
        }
    }
    Ok(())
}

/// An empty folder for what this script leaves.
fn evidence(script: &Script) -> anyhow::Result<PathBuf> {
    let folder = crate::scene::evidence_base().join(format!("google-{}", script.name()));
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).context("create the folder for evidence")?;
    Ok(folder)
}
