//! A pod, its binding, and the account behind it.

use iam::Resource;
use serde_json::{Value, json};

use crate::scene::{GSA, Scene};

const URL: &str = "iamcredentials.googleapis.com/v1/projects/-/serviceAccounts";
const POLICY: &str = "iam.googleapis.com/v1/projects/local/serviceAccounts";

fn ask() -> Value {
    json!({ "scope": ["https://www.googleapis.com/auth/cloud-platform"], "lifetime": "3600s" })
}

async fn bind(scene: &Scene, members: &[&str]) {
    let binding = json!({ "role": "roles/iam.workloadIdentityUser", "members": members });
    let policy = json!({ "policy": { "bindings": [binding] } });
    let url = format!("{POLICY}/{GSA}:setIamPolicy");
    scene.post(&scene.owner(), &url, &policy).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_its_service_account_as_long_as_the_binding_stands() {
    let scene = Scene::new().await;
    let pod = scene.pod("mlflow", "mlflow").await;
    let url = format!("{URL}/{GSA}:generateAccessToken");
    // The whole body of a real refusal, from public logs.
    let refusal = json!({ "error": {
        "code": 403,
        "message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may \
                    not exist).",
        "status": "PERMISSION_DENIED",
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "IAM_PERMISSION_DENIED",
            "domain": "iam.googleapis.com",
            "metadata": { "permission": "iam.serviceAccounts.getAccessToken" },
        }],
    }});
    assert_eq!(scene.post(&pod, &url, &ask()).await.expect(403), refusal);
    let log = scene.cloud.log.lines().join("\n");
    assert!(log.contains("local.svc.id.goog[mlflow/mlflow]"), "{log}");

    bind(&scene, &["serviceAccount:local.svc.id.goog[mlflow/mlflow]"]).await;
    let minted = scene.post(&pod, &url, &ask()).await.expect(200);
    assert_eq!(minted["expireTime"], "2030-03-17T18:46:40Z");
    let token = minted["accessToken"].as_str().unwrap();
    assert!(token.starts_with("ya29."));
    let info = format!("oauth2.googleapis.com/tokeninfo?access_token={token}");
    assert_eq!(scene.get("", &info).await.expect(200)["email"], GSA);

    bind(&scene, &["serviceAccount:local.svc.id.goog[other/mlflow]"]).await;
    assert_eq!(scene.post(&pod, &url, &ask()).await.expect(403), refusal);

    let subject = "principal://iam.googleapis.com/projects/123456789012/locations/global/\
                   workloadIdentityPools/local.svc.id.goog/subject/ns/mlflow/sa/mlflow";
    bind(&scene, &[subject]).await;
    scene.post(&pod, &url, &ask()).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_does_not_exist_is_told_by_its_email() {
    let scene = Scene::new().await;
    let pod = scene.pod("mlflow", "mlflow").await;
    let url = format!("{URL}/nobody@local.iam.gserviceaccount.com:generateAccessToken");
    let error = scene.post(&pod, &url, &ask()).await.expect(404);
    let words = "Not found; Gaia id not found for email nobody@local.iam.gserviceaccount.com";
    assert_eq!(error["error"]["message"], words);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_for_is_refused() {
    let scene = Scene::new().await;
    bind(&scene, &["serviceAccount:local.svc.id.goog[mlflow/mlflow]"]).await;
    let pod = scene.pod("mlflow", "mlflow").await;
    let scope = "https://www.googleapis.com/auth/cloud-platform";
    for (body, status) in [
        (json!({ "scope": [] }), 400),
        (json!({ "scope": [scope], "lifetime": "3601s" }), 400),
        (json!({ "scope": [scope], "lifetime": "0s" }), 400),
        (json!({ "scope": [scope], "lifetime": 3600 }), 400),
        (json!({ "scope": [scope], "delegates": ["nobody"] }), 400),
        (
            json!({ "scope": [scope], "delegates": [format!("projects/-/serviceAccounts/{GSA}")] }),
            403,
        ),
        (json!({ "scope": [scope] }), 200),
    ] {
        let url = format!("{URL}/{GSA}:generateAccessToken");
        let answer = scene.post(&pod, &url, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body} {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_that_of_the_account_and_an_id_token_that_of_google() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use google_emulator::jwt::{KeySet, Unverified};
    use google_emulator::signing;

    let scene = Scene::new().await;
    let binding = json!({ "role": "roles/iam.serviceAccountTokenCreator", "members": [format!("serviceAccount:{GSA}")] });
    let url = format!("{POLICY}/{GSA}:setIamPolicy");
    let policy = json!({ "policy": { "bindings": [binding] } });
    scene.post(&scene.owner(), &url, &policy).await.expect(200);
    let token = scene.token(&iam::Principal::service_account(GSA));

    let payload = json!({ "payload": STANDARD.encode("to sign") });
    let signed = scene.post(&token, &format!("{URL}/{GSA}:signBlob"), &payload).await.expect(200);
    let signature = STANDARD.decode(signed["signedBlob"].as_str().unwrap()).unwrap();
    let state = scene.cloud.state();
    assert!(signing::verify(&state, GSA, b"to sign", &signature));
    assert!(!signing::verify(&state, GSA, b"another", &signature));
    assert!(!signing::verify(
        &state,
        "other@local.iam.gserviceaccount.com",
        b"to sign",
        &signature
    ));

    let ask = json!({ "audience": "me", "includeEmail": true });
    let url = format!("{URL}/{GSA}:generateIdToken");
    let answer = scene.post(&token, &url, &ask).await.expect(200);
    let keys = scene.get("", "www.googleapis.com/oauth2/v3/certs").await.expect(200);
    let keys = KeySet::parse(&keys).unwrap();
    let text = answer["token"].as_str().unwrap();
    let claims: Value = Unverified::parse(text).unwrap().verify(&keys).unwrap();
    assert_eq!((&claims["aud"], &claims["email"]), (&json!("me"), &json!(GSA)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_an_account_has_what_is_granted_to_itself() {
    let scene = Scene::new().await;
    let pod = scene.pod("mlflow", "mlflow").await;
    let test = json!({ "permissions": ["resourcemanager.projects.get"] });
    let url = "cloudresourcemanager.googleapis.com/v1/projects/local:testIamPermissions";
    assert_eq!(scene.post(&pod, url, &test).await.expect(200), json!({}));
    let binding = iam::Binding {
        role: "roles/viewer".to_owned(),
        members: vec![format!(
            "principalSet://iam.googleapis.com/projects/123456789012/locations/global/\
             workloadIdentityPools/local.svc.id.goog/namespace/mlflow"
        )],
        condition: None,
    };
    let project = Resource::project("local");
    let grant = scene.cloud.state.change(|state| {
        state.policies.insert(project.name(), iam::Policy::new("x", vec![binding]));
        Ok(())
    });
    grant.unwrap();
    assert_eq!(scene.post(&pod, url, &test).await.expect(200), test);
    let stranger = scene.pod("other", "mlflow").await;
    assert_eq!(scene.post(&stranger, url, &test).await.expect(200), json!({}));
}
