//! A password that PostgreSQL does not take: told at once, in PostgreSQL's own words.

use std::time::Duration;

use anyhow::Context as _;
use e2e::{NAMESPACE, Scene, deployed};
use serde_json::{Value, json};

#[test]
fn a_wrong_password_fails_fast_and_the_right_one_recovers() -> anyhow::Result<()> {
    deployed(|scene| {
        let secret = format!("/api/v1/namespaces/{NAMESPACE}/secrets/mlflow-database");
        let right = scene.api.need(&secret)?["data"]["password"].clone();
        // "wrong" in base64.
        set(scene, &secret, &json!("d3Jvbmc="))?;
        let failed = scene.deploy();
        // The Secret is in no manifest, so a later test could not repair it.
        set(scene, &secret, &right)?;
        failed?
            .expect(31)?
            .says("password authentication failed for user \"mlflow\"")?
            .says("deployment/mlflow is ")?
            .says("hint:")?
            .within(Duration::from_secs(60))?;
        scene.deploy()?.expect(0)?;
        Ok(())
    })
}

/// Changes the password and restarts the server, which reads it only at its start.
fn set(scene: &Scene, secret: &str, password: &Value) -> anyhow::Result<()> {
    scene.api.merge(secret, &json!({ "data": { "password": password } }))?;
    for pod in scene.api.pods("app=mlflow")? {
        let name = pod["metadata"]["name"].as_str().context("a pod has a name")?;
        scene
            .api
            .delete(&format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}?gracePeriodSeconds=0"))?;
    }
    Ok(())
}
