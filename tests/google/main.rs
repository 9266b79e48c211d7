//! The emulated Google Cloud, judged by real clients without a cluster.
#![cfg(test)]

mod scripts;

use e2e::google::{adds_up, judge};
use scripts::{
    CLOUD_SQL_ADMIN, CLOUD_SQL_OUTAGES, CLOUD_SQL_PROXY, GCLOUD, GCLOUD_SQL, METADATA,
    METADATA_CLUSTER, MLFLOW, STORAGE,
};

#[test]
fn cloud_sql_is_administered_and_refuses_in_googles_words() -> anyhow::Result<()> {
    judge(&CLOUD_SQL_ADMIN)
}

#[test]
fn cloud_sql_serves_the_real_proxy_and_refuses_in_googles_words() -> anyhow::Result<()> {
    judge(&CLOUD_SQL_PROXY)
}

#[test]
fn cloud_sql_ends_connections_on_bad_days_as_google_does_and_comes_back() -> anyhow::Result<()> {
    judge(&CLOUD_SQL_OUTAGES)
}

#[test]
fn cloud_storage_serves_googles_own_client_and_refuses_in_googles_words() -> anyhow::Result<()> {
    judge(&STORAGE)
}

#[test]
fn mlflow_keeps_artifacts_in_a_bucket_without_a_setting_or_a_key() -> anyhow::Result<()> {
    judge(&MLFLOW)
}

#[test]
fn the_metadata_server_is_found_and_believed_by_google_auth_go_and_curl() -> anyhow::Result<()> {
    judge(&METADATA)
}

#[test]
fn the_metadata_server_follows_the_pods_of_a_real_api_server() -> anyhow::Result<()> {
    judge(&METADATA_CLUSTER)
}

#[test]
fn the_page_of_cases_adds_up_and_tells_of_every_script() -> anyhow::Result<()> {
    adds_up(&[
        &CLOUD_SQL_ADMIN,
        &CLOUD_SQL_OUTAGES,
        &CLOUD_SQL_PROXY,
        &GCLOUD,
        &GCLOUD_SQL,
        &METADATA,
        &METADATA_CLUSTER,
        &MLFLOW,
        &STORAGE,
    ])
}
