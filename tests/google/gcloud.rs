//! The emulated Google Cloud, judged by the real gcloud; a class of its own, as few machines have it.
#![cfg(test)]

#[expect(dead_code, reason = "the other scripts are run by another class")]
mod scripts;

use e2e::google::judge;
use scripts::{GCLOUD, GCLOUD_SQL};

/// What a person does about a missing gcloud.
fn is_installed() -> anyhow::Result<()> {
    anyhow::ensure!(
        process::find("gcloud").is_some(),
        "gcloud is not installed\nhint: install the Google Cloud CLI (https://cloud.google.com/sdk/docs/install), or leave out `--class gcloud`"
    );
    Ok(())
}

#[test]
fn an_administrator_gets_by_with_gcloud() -> anyhow::Result<()> {
    is_installed()?;
    judge(&GCLOUD)
}

#[test]
fn an_administrator_of_cloud_sql_gets_by_with_gcloud() -> anyhow::Result<()> {
    is_installed()?;
    judge(&GCLOUD_SQL)
}
