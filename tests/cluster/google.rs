//! The emulated Google Cloud from the host, through the variables that a person would export.

use e2e::{Cloud, deployed};
use serde_json::Value;

const BUCKET: &str = "https://storage.googleapis.com/storage/v1/b/mlflow-artifacts";

#[test]
fn the_host_reaches_it_by_its_own_names_as_whoever_it_says_it_is() -> anyhow::Result<()> {
    deployed(|scene| {
        let bucket = Cloud::of(scene)?.do_it("GET", BUCKET, &Value::Null)?;
        assert_eq!(bucket["name"], "mlflow-artifacts");
        let server = "serviceAccount:mlflow@mlflow-gke-local.iam.gserviceaccount.com";
        let server = Cloud::seen_by(scene, server)?;
        server.do_it("GET", &format!("{BUCKET}/o"), &Value::Null)?;
        let refused = server.call("GET", BUCKET, &Value::Null)?;
        assert_eq!(refused.status, 403);
        assert!(refused.body.contains(
            "mlflow@mlflow-gke-local.iam.gserviceaccount.com does not have storage.buckets.get access to the Google Cloud Storage bucket.",
        ), "{refused:?}");
        let nobody = scene.run(&["google", "token", "--as", "somebody"])?.expect(2)?;
        nobody.says("the emulator gives `somebody` no token")?.says("hint: --as user:EMAIL")?;
        Ok(())
    })
}
