//! Objects that are no longer wanted go; objects of others stay.

use anyhow::ensure;
use e2e::{NAMESPACE, deployed};
use serde_json::json;

const EXTRA: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: extra
data:
  it: is here
---
apiVersion: v1
kind: Service
metadata:
  name: extra
spec:
  selector:
    app: mlflow
  ports:
    - port: 80
      targetPort: http
";

const KUSTOMIZATION: &str = "deploy/mlflow/env/kind/kustomization.yaml";

#[test]
fn a_removed_object_is_pruned_and_a_foreign_one_is_left_alone() -> anyhow::Result<()> {
    deployed(|scene| {
        let config_maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        let path = |name: &str| format!("{config_maps}/{name}");
        let service = format!("/api/v1/namespaces/{NAMESPACE}/services/extra");
        let copy = scene.checkout()?;
        copy.write("deploy/mlflow/env/kind/extra.yaml", EXTRA)?;
        copy.replace(KUSTOMIZATION, "  - ../gcp\n", "  - ../gcp\n  - extra.yaml\n")?;
        scene.run_in(&copy, &["deploy", "--env", "kind"])?.expect(0)?;
        let extra = scene.api.need(&path("extra"))?;
        assert_eq!(extra["metadata"]["labels"]["app.kubernetes.io/managed-by"], "mlflow-xtask");
        scene.api.need(&service)?;

        // One that knows nothing of us, and one that was copied from ours with all labels.
        for (name, labels) in
            [("by-hand", json!({})), ("copied", extra["metadata"]["labels"].clone())]
        {
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": name, "labels": labels },
                "data": { "mine": "yes" },
            });
            scene.api.delete(&path(name))?;
            scene.api.create(&config_maps, &object)?;
        }
        scene.run(&["diff", "--env", "kind"])?.expect(3)?.says("extra")?;
        ensure!(scene.api.get(&service)?.is_some(), "diff deleted something");
        scene.deploy()?.expect(0)?.says("2 pruned")?;
        ensure!(scene.api.get(&path("extra"))?.is_none(), "the ConfigMap is still there");
        ensure!(scene.api.get(&service)?.is_none(), "the Service is still there");
        for name in ["by-hand", "copied"] {
            let object = scene.api.need(&path(name))?;
            assert_eq!(object["data"]["mine"], "yes");
            scene.api.delete(&path(name))?;
        }
        scene.deploy()?.expect(0)?.says("nothing was written")?;
        Ok(())
    })
}
