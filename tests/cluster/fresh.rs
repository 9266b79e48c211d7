//! The first deploy: everything from nothing, proved, and the password nowhere but in its Secret.

use anyhow::{Context as _, ensure};
use e2e::{LIMIT, NAMESPACE, Scene, empty, program, run};
use health::Observed;
use serde_json::{Value, json};

#[test]
fn a_fresh_deploy_is_proved_and_its_password_is_only_in_the_secret() -> anyhow::Result<()> {
    empty(|scene| {
        let deploy = scene.run(&["--json", "deploy", "--env", "kind"])?.expect(0)?;
        let last: Value = serde_json::from_str(deploy.stdout.lines().last().unwrap_or_default())?;
        assert_eq!(last["result"]["version"], "3.17.2");
        let run_id = last["result"]["run"].as_str().context("the proof names its run")?;
        let stages = scene
            .api
            .sql(&format!("SELECT lifecycle_stage FROM runs WHERE run_uuid = '{run_id}'"))?;
        assert_eq!(stages, ["deleted"], "the proof's run is in the database, and out of the way");
        scene.run(&["status", "--env", "kind"])?.expect(0)?.says("deployment/mlflow")?;
        restricted(scene)?;
        password_is_hidden(scene, &deploy.text())
    })
}

/// The namespace's label is only worth something if the API server acts on it.
fn restricted(scene: &Scene) -> anyhow::Result<()> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "privileged" },
        "spec": { "containers": [{
            "name": "it",
            "image": "localhost/mlflow-gke/postgres:dev",
            "securityContext": { "privileged": true },
        }] },
    });
    let refusal = scene.api.create(&format!("/api/v1/namespaces/{NAMESPACE}/pods"), &pod);
    let refusal = format!("{:#}", refusal.err().context("a privileged pod was accepted")?);
    ensure!(refusal.contains("violates PodSecurity \"restricted:"), "{refusal}");
    Ok(())
}

fn password_is_hidden(scene: &Scene, deploy_said: &str) -> anyhow::Result<()> {
    // Events come late; those of the deployment's end are the ones to look into as well.
    scene.api.watch("an event of the server's start", LIMIT, |seen: &Observed| {
        seen.list(health::Kind::Event).any(|it| it["reason"] == "Started")
    })?;
    let password =
        scene.api.exec("app=postgres", &["cat", "/run/secrets/mlflow-database/password"])?;
    ensure!(
        password.len() >= 16,
        "the password is too short to look for: {} bytes",
        password.len()
    );
    let secret = scene.api.need("/api/v1/namespaces/mlflow/secrets/mlflow-database")?;
    let encoded = secret["data"]["password"].as_str().context("the Secret has a password")?;
    let hidden = |place: &str, text: &str| {
        ensure!(!text.contains(&password) && !text.contains(encoded), "the password is in {place}");
        Ok(())
    };
    hidden("the output of deploy", deploy_said)?;
    for arguments in [
        &["render", "--env", "kind"][..],
        &["diff", "--env", "kind"],
        &["events", "--env", "kind"],
        &["status", "--env", "kind"],
    ] {
        hidden(&arguments.join(" "), &scene.run(arguments)?.expect(0)?.text())?;
    }
    for app in ["mlflow", "postgres", "mlflow-secrets", "mlflow-migrate"] {
        let selector = format!("app={app}");
        let logs = ["logs", "--env", "kind", "--selector", &selector, "--tail", "10000"];
        hidden(&selector, &scene.run(&logs)?.expect(0)?.text())?;
    }
    for (name, object) in scene.api.everything()? {
        if !name.starts_with("secrets/") {
            hidden(&name, &object.to_string())?;
        }
    }
    let events = scene.api.need(&format!("/api/v1/namespaces/{NAMESPACE}/events"))?;
    hidden("the events", &events.to_string())?;
    hidden("the arguments of a process", &arguments_in_node(scene)?)
}

/// The command lines of all processes of the node, those in containers included.
fn arguments_in_node(scene: &Scene) -> anyhow::Result<String> {
    let mut docker = program("docker");
    let node = format!("{}-control-plane", scene.cluster);
    let script = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\000' ' '; true";
    docker.args(["exec", &node, "sh", "-c", script]);
    let arguments = run(docker, LIMIT)?.expect(0)?.stdout;
    ensure!(arguments.contains("mlflow-server"), "MLflow's process was not seen: {arguments}");
    Ok(arguments)
}
