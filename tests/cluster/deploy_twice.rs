//! The second deploy: nothing to do, nothing written.

use std::collections::BTreeMap;

use e2e::{Api, deployed};

#[test]
fn a_second_deploy_writes_nothing() -> anyhow::Result<()> {
    deployed(|scene| {
        let before = versions(&scene.api)?;
        scene.deploy()?.expect(0)?.says("nothing was written")?;
        scene.run(&["deploy", "--env", "kind", "--thorough"])?.expect(0)?;
        scene.run(&["diff", "--env", "kind"])?.expect(0)?;
        scene.run(&["deploy", "--env", "kind", "--dry-run"])?.expect(0)?;
        let after = versions(&scene.api)?;
        assert!(before.contains_key("deployments/mlflow"), "{before:?}");
        assert_eq!(before, after, "every object has the version that it had");
        Ok(())
    })
}

/// The resourceVersion of every object in the namespace; a write, even one back and forth, raises it.
fn versions(api: &Api) -> anyhow::Result<BTreeMap<String, String>> {
    let version = |it: &serde_json::Value| it["metadata"]["resourceVersion"].to_string();
    Ok(api.everything()?.iter().map(|(name, object)| (name.clone(), version(object))).collect())
}
