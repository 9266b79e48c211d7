//! The emulated Google Cloud beside what is behind it, and beside the least that could be there.
//!
//! The scripts `tests/google/clients/*_bench.py` start the real programs, each in a network of its
//! own, and tell samples; what is made of them is in `figures`.

mod decisions;
mod figures;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use process::{Call, Namespace, Running, Shell, cmd};

use super::measure::Row;
use crate::context::Context;
use crate::suite::google::{build, for_all, for_labs};
use crate::{doctor, exit};
use figures::{SCRIPTS, Script};

/// Far above what a script needs, also with many runs on a busy machine.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// Released builds of all that is measured, and of what makes the load.
const BUILT: [&str; 7] = [
    "--release",
    "--package=google-emulator",
    "--package=iam",
    "--bin=google-emulator",
    "--example=storage_load",
    "--example=tls_forwarder",
    "--example=decide",
];

/// Measures everything.
pub(super) fn measure(context: &Context, runs: usize) -> anyhow::Result<Vec<Row>> {
    doctor::ensure_for_google(context)?;
    let built = build(context, &BUILT)?;
    let variables = variables(context, &built)?;
    let mut rows = Vec::new();
    for script in &SCRIPTS {
        let step = context.log.step(script.file, script.title);
        let text = samples(context, script, runs, &variables)?;
        rows.extend(script.rows(&text)?);
        step.done("");
    }
    rows.extend(decisions(program(&built, "decide")?, runs)?);
    Ok(rows)
}

fn program<'a>(built: &'a BTreeMap<String, String>, name: &str) -> anyhow::Result<&'a str> {
    let file = built.get(name).with_context(|| format!("cargo does not name its `{name}`"))?;
    Ok(file)
}

fn variables(
    context: &Context,
    built: &BTreeMap<String, String>,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut variables = for_labs(context, built)?;
    variables.extend(for_all(&context.builder)?);
    for (name, program_name) in
        [("STORAGE_LOAD", "storage_load"), ("TLS_FORWARDER", "tls_forwarder")]
    {
        variables.push((format!("MLFLOW_GKE_{name}"), program(built, program_name)?.to_owned()));
    }
    Ok(variables)
}

/// What a script prints.
fn samples(
    context: &Context,
    script: &Script,
    runs: usize,
    variables: &[(String, String)],
) -> anyhow::Result<String> {
    let namespace = Namespace::make("bench").context("make a folder")?;
    let mut command = namespace.command("python3.11");
    command.arg(script.file).current_dir(context.root.join("tests/google/clients"));
    command.envs(variables.iter().cloned()).env("MLFLOW_GKE_BENCH_RUNS", runs.to_string());
    command.env("MLFLOW_GKE_INSIDE", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    let ended = Running::start(command)?.finish(LIMIT)?;
    if ended.code() != 0 {
        let text = format!("`{}` ended with {}:\n{}", script.file, ended.code(), ended.stderr);
        return Err(exit::error(exit::TOOL, text));
    }
    Ok(ended.stdout)
}

fn decisions(program: &str, runs: usize) -> anyhow::Result<Vec<Row>> {
    let sh = Shell::new()?;
    let texts = (0..runs).map(|_| Ok(Call::new(cmd!(sh, "{program}"), LIMIT).run()?.stdout));
    decisions::rows(&texts.collect::<anyhow::Result<Vec<_>>>()?)
}
