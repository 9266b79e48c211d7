//! A changed setting: shown, rolled out, and rolled back by deploying the old files.

use anyhow::Context as _;
use e2e::{Scene, deployed};

const FILE: &str = "deploy/mlflow/base/server.env";
const OLD: &str = "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE=1800";
const NEW: &str = "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE=1234";

#[test]
fn a_changed_setting_rolls_out_and_back() -> anyhow::Result<()> {
    deployed(|scene| {
        let old = serving(scene)?;
        let copy = scene.checkout()?;
        copy.replace(FILE, OLD, NEW)?;
        scene
            .run_in(&copy, &["diff", "--env", "kind"])?
            .expect(3)?
            .says("MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE")?
            .says("1234")?;
        assert_eq!(serving(scene)?.pod, old.pod, "diff changed nothing");
        scene.run_in(&copy, &["deploy", "--env", "kind", "--dry-run"])?.expect(3)?;
        assert_eq!(serving(scene)?.pod, old.pod, "a dry run changed nothing");
        scene.run_in(&copy, &["deploy", "--env", "kind"])?.expect(0)?;
        let new = serving(scene)?;
        assert_eq!(new.value, "1234");
        assert_ne!(new.replica_set, old.replica_set);
        scene.run_in(&copy, &["diff", "--env", "kind"])?.expect(0)?;
        scene.deploy()?.expect(0)?;
        let back = serving(scene)?;
        assert_eq!(back.value, "1800");
        assert_eq!(back.replica_set, old.replica_set, "the old settings' ReplicaSet serves again");
        Ok(())
    })
}

/// The pod that serves, its ReplicaSet, and the setting as its process has it.
struct Serving {
    pod: String,
    replica_set: String,
    value: String,
}

fn serving(scene: &Scene) -> anyhow::Result<Serving> {
    let pods = scene.api.pods("app=mlflow")?;
    let [pod] = pods.as_slice() else { anyhow::bail!("{} pods serve", pods.len()) };
    let text = |pointer: &str| {
        let text = pod.pointer(pointer).and_then(|it| it.as_str()).map(str::to_owned);
        text.with_context(|| format!("the pod has no {pointer}"))
    };
    let value = scene
        .api
        .exec("app=mlflow", &["sh", "-c", "printf %s \"$MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE\""])?;
    Ok(Serving {
        pod: text("/metadata/name")?,
        replica_set: text("/metadata/ownerReferences/0/name")?,
        value,
    })
}
