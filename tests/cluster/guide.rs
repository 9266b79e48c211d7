//! The guide's commands, typed by hand, without any of our own.

use anyhow::ensure;
use e2e::{Background, DEPLOY_LIMIT, LIMIT, Mlflow, Run, Scene, empty, run};
use health::{Kind, Observed};

#[test]
fn the_guides_commands_work_by_hand_and_deploy_takes_over() -> anyhow::Result<()> {
    empty(|scene| {
        let overlay = e2e::root().join("deploy/mlflow/env/kind");
        let overlay = overlay.to_string_lossy();
        kubectl(scene, &["kustomize", &overlay])?.says("kind: Deployment")?;
        kubectl(scene, &["apply", "-k", &overlay])?.says("deployment.apps/mlflow created")?;
        // `kubectl wait` does not wait for pods that are not there yet.
        scene.api.watch("both pods exist", LIMIT, |seen: &Observed| {
            ["mlflow", "postgres"]
                .iter()
                .all(|app| seen.list(Kind::Pod).any(|it| it["metadata"]["labels"]["app"] == *app))
        })?;
        for app in ["app=postgres", "app=mlflow"] {
            let wait = ["-n", "mlflow", "wait", "--for=condition=ready", "pod", "-l", app];
            kubectl(scene, &[&wait[..], &["--timeout=240s"]].concat())?.says("condition met")?;
        }
        kubectl(scene, &["-n", "mlflow", "logs", "-l", "app=mlflow"])?.says("ready to serve")?;
        port_forward(scene)?;
        // And then somebody who has read further.
        scene.deploy()?.expect(0)?;
        scene.run(&["diff", "--env", "kind"])?.expect(0)?;
        Ok(())
    })
}

fn port_forward(scene: &Scene) -> anyhow::Result<()> {
    let forward = ["-n", "mlflow", "port-forward", "svc/mlflow", ":5000"];
    let mut forward = Background::start(scene.kubectl(&forward))?;
    let line = forward.line(LIMIT, |it| it.starts_with("Forwarding from 127.0.0.1:"))?;
    let port = line.trim_start_matches("Forwarding from 127.0.0.1:");
    let port = port.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default();
    let mlflow = Mlflow { port };
    let version = mlflow.ask("GET", "/version", "")?;
    assert_eq!((version.status, version.body.trim()), (200, "3.17.2"));
    let run_id = mlflow.create_run("guide", "by hand")?;
    let artifact = mlflow.artifact_path(&run_id, "by-hand.txt")?;
    assert_eq!(mlflow.ask("PUT", &artifact, "by hand")?.status, 200);
    ensure!(mlflow.ask("GET", &artifact, "")?.body == "by hand", "the artifact is another");
    Ok(())
}

fn kubectl(scene: &Scene, arguments: &[&str]) -> anyhow::Result<Run> {
    run(scene.kubectl(arguments), DEPLOY_LIMIT)?.expect(0)
}
