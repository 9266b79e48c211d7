//! What the tests of the emulated Google Cloud are told: the programs that judge and are judged.

use std::time::Duration;

use anyhow::Context as _;
use cluster::{Builder, prerequisite, program, python};
use process::{Call, Shell, cmd};

use super::path;
use crate::context::Context;

/// The emulator from nothing, on two busy cores.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// For every class: the emulator's own tests have the real store behind it.
pub(super) fn for_all(builder: &Builder) -> anyhow::Result<Vec<(String, String)>> {
    let server = program::obtain_go(builder, program::go_program("fake-gcs-server")?)?;
    Ok(vec![("MLFLOW_GKE_FAKE_GCS_SERVER".to_owned(), path(&server)?)])
}

/// For the scripts in `tests/google/clients`.
pub(super) fn for_judges(context: &Context) -> anyhow::Result<Vec<(String, String)>> {
    let builder = &context.builder;
    let requirements = builder.root.join("deploy/images/mlflow/requirements.txt");
    let postgres = prerequisite::postgres().context("PostgreSQL's server was there just now")?;
    let postgres = postgres.parent().context("a program is in a folder")?;
    let proxy = program::obtain_go(builder, program::go_program("cloud-sql-proxy")?)?;
    let metadata = program::obtain_go(builder, &program::GO_METADATA)?;
    let packages = python::obtain_site_packages(builder, &requirements)?;
    let variables = [
        ("GOOGLE_EMULATOR", emulator(context)?),
        ("CLOUD_SQL_PROXY", path(&proxy)?),
        ("GO_METADATA", path(&metadata)?),
        ("PYTHON_PACKAGES", path(&packages)?),
        ("POSTGRES_BIN", path(postgres)?),
    ];
    Ok(variables.map(|(name, value)| (format!("MLFLOW_GKE_{name}"), value)).to_vec())
}

/// The emulator as the tests' other programs are compiled: in seconds, and with every assertion.
fn emulator(context: &Context) -> anyhow::Result<String> {
    let sh = Shell::new()?;
    sh.change_dir(&context.root);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let name = "google-emulator";
    let call = cmd!(
        sh,
        "{cargo} build --quiet --locked --package {name} --bin {name} --message-format=json"
    );
    let output = Call::new(call, LIMIT).run()?;
    let executable = output.stdout.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(str::to_owned)
    });
    executable.context("cargo names the program that it built")
}
