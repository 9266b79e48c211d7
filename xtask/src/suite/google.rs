//! What the tests and the benchmark of the emulated Google Cloud are told: the programs that judge and are judged.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use cluster::{Builder, prerequisite, program, python};
use process::{Call, Shell, cmd};

use super::path;
use crate::context::Context;

/// The emulator from nothing, on two busy cores.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// The emulator's package, and its program.
const EMULATOR: &str = "google-emulator";

/// For every class: the emulator's own tests have the real store behind it.
pub(crate) fn for_all(builder: &Builder) -> anyhow::Result<Vec<(String, String)>> {
    let server = program::obtain_go(builder, program::go_program("fake-gcs-server")?)?;
    Ok(vec![("MLFLOW_GKE_FAKE_GCS_SERVER".to_owned(), path(&server)?)])
}

/// For the scripts in `tests/google/clients`, with the emulator as the tests' other programs are
/// compiled: in seconds, and with every assertion.
pub(super) fn for_judges(context: &Context) -> anyhow::Result<Vec<(String, String)>> {
    let builder = &context.builder;
    let requirements = builder.root.join("deploy/images/mlflow/requirements.txt");
    let metadata = program::obtain_go(builder, &program::GO_METADATA)?;
    let packages = python::obtain_site_packages(builder, &requirements)?;
    let built = build(context, &["--package", EMULATOR, "--bin", EMULATOR])?;
    let mut variables = for_labs(context, &built)?;
    variables.extend([
        ("MLFLOW_GKE_GO_METADATA".to_owned(), path(&metadata)?),
        ("MLFLOW_GKE_PYTHON_PACKAGES".to_owned(), path(&packages)?),
    ]);
    Ok(variables)
}

/// For what those scripts start before they judge or measure; the emulator is one of `built`.
pub(crate) fn for_labs(
    context: &Context,
    built: &BTreeMap<String, String>,
) -> anyhow::Result<Vec<(String, String)>> {
    let emulator = built.get(EMULATOR).context("cargo names the program that it built")?;
    let postgres = prerequisite::postgres().context("PostgreSQL's server was there just now")?;
    let postgres = postgres.parent().context("a program is in a folder")?;
    let builder = &context.builder;
    let proxy = program::obtain_go(builder, program::go_program("cloud-sql-proxy")?)?;
    let variables = [
        ("GOOGLE_EMULATOR", emulator.clone()),
        ("CLOUD_SQL_PROXY", path(&proxy)?),
        ("POSTGRES_BIN", path(postgres)?),
    ];
    Ok(variables.map(|(name, value)| (format!("MLFLOW_GKE_{name}"), value)).to_vec())
}

/// Compiles programs and gives their files by their names.
pub(crate) fn build(context: &Context, what: &[&str]) -> anyhow::Result<BTreeMap<String, String>> {
    let sh = Shell::new()?;
    sh.change_dir(&context.root);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let call = cmd!(sh, "{cargo} build --quiet --locked {what...} --message-format=json");
    let output = Call::new(call, LIMIT).run()?;
    let executables = output.stdout.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, message["executable"].as_str()?.to_owned()))
    });
    Ok(executables.collect())
}
