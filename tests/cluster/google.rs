//! The emulated Google Cloud from the host, through the variables that a person would export.

use anyhow::Context as _;
use e2e::{Cloud, Open, deployed};
use serde_json::{Value, json};

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

/// MLflow signs the URLs of the parts itself, and a workload's credentials hold no key: nothing that
/// can be granted changes that, on GKE neither.
#[test]
fn mlflow_can_open_a_multipart_upload_and_not_sign_its_parts() -> anyhow::Result<()> {
    deployed(|scene| {
        let open = Open::start(scene)?;
        let at = |verb: &str| format!("/api/2.0/mlflow-artifacts/mpu/{verb}/parts");
        let file = json!({ "path": "big.bin", "num_parts": 2 }).to_string();
        assert_eq!(open.mlflow.ask("POST", &at("create"), &file)?.status, 500);
        let logs = scene.run(&["logs", "--env", "kind", "--tail", "200"])?.expect(0)?;
        logs.says("you need a private key to sign credentials")?;

        // Each try leaves an upload open, which is paid for until it is aborted.
        let cloud = Cloud::of(scene)?;
        let listing = "https://storage.googleapis.com/mlflow-artifacts?uploads";
        let listed = cloud.call("GET", listing, &Value::Null)?;
        assert!(listed.body.contains("parts/big.bin</Key>"), "{listed:?}");
        let id = listed.body.split("<UploadId>").nth(1).and_then(|it| it.split('<').next());
        let abort = json!({ "path": "big.bin", "upload_id": id.context("an upload has an id")? });
        assert_eq!(open.mlflow.ask("POST", &at("abort"), &abort.to_string())?.status, 200);
        let listed = cloud.call("GET", listing, &Value::Null)?;
        assert!(!listed.body.contains("<Upload>"), "{listed:?}");
        Ok(())
    })
}
