//! A deploy that ends half-way: the next one goes on from there, and two never work at once.

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::{Background, DEPLOY_LIMIT, LIMIT, Scene, Signal, deployed, empty};

#[test]
fn a_deploy_that_was_interrupted_or_killed_continues() -> anyhow::Result<()> {
    empty(|scene| {
        let mut first = start(scene)?;
        first.line(LIMIT, |it| is_object(it, "job/mlflow-secrets", "created"))?;
        let signalled = Instant::now();
        first.signal(Signal::INT)?;
        first.finish(LIMIT)?.expect(130)?.says("the same command continues")?;
        ensure!(signalled.elapsed() < Duration::from_secs(10), "Ctrl-C took long");

        let mut second = start(scene)?;
        second.line(LIMIT, |it| is_object(it, "deployment/mlflow", "created"))?;
        second.signal(Signal::KILL)?;
        second.finish(LIMIT)?.expect(137)?;

        scene.deploy()?.expect(0)?;
        scene.run(&["status", "--env", "kind"])?.expect(0)?;
        scene.deploy()?.expect(0)?.says("nothing was written")?;
        Ok(())
    })
}

#[test]
fn two_deploys_at_once_do_not_mix() -> anyhow::Result<()> {
    deployed(|scene| {
        let copy = scene.checkout()?;
        copy.replace(
            "deploy/mlflow/base/server.env",
            "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE=1800",
            "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE=1700",
        )?;
        let mut command = scene.xtask(&["--json", "deploy", "--env", "kind"]);
        command.env("MLFLOW_GKE_ROOT", &copy.root);
        let mut first = Background::start(command)?;
        first.line(LIMIT, |it| is_object(it, "deployment/mlflow", "updated"))?;
        // The old settings against the new ones, while those are being rolled out. The first one
        // stands still meanwhile: it might be done before the second one has begun.
        first.signal(Signal::STOP)?;
        let second = scene.deploy();
        first.signal(Signal::CONT)?;
        let second = second?;
        let first = first.finish(DEPLOY_LIMIT)?.expect(0)?;
        second
            .expect(40)?
            .says("is deploying to namespace mlflow right now")?
            .says(&format!("/{}`", first.id))?
            .says("hint:")?;
        scene.run_in(&copy, &["diff", "--env", "kind"])?.expect(0)?;
        scene.deploy()?.expect(0)?;
        scene.run(&["diff", "--env", "kind"])?.expect(0)?;
        Ok(())
    })
}

fn start(scene: &Scene) -> anyhow::Result<Background> {
    Background::start(scene.xtask(&["--json", "deploy", "--env", "kind"]))
}

/// Whether a line of NDJSON tells that the object, by the start of its name, is in that state.
fn is_object(line: &str, object: &str, state: &str) -> bool {
    let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    event["event"] == "object"
        && event["state"] == state
        && event["object"].as_str().is_some_and(|it| it.starts_with(object))
}
