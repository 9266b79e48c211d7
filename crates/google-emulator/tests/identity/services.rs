//! APIs that are enabled or not.

use serde_json::{Value, json};

use crate::scene::Scene;

const URL: &str = "serviceusage.googleapis.com/v1/projects/local/services";

#[tokio::test(flavor = "multi_thread")]
async fn an_api_works_from_the_moment_it_is_enabled() {
    let scene = Scene::new().await;
    let owner = scene.owner();
    let accounts = "iam.googleapis.com/v1/projects/local/serviceAccounts";
    scene.get(&owner, accounts).await.expect(200);
    let disable = format!("{URL}/iam.googleapis.com:disable");
    scene.post(&owner, &disable, &json!({})).await.expect(200);
    let error = scene.get(&owner, accounts).await.expect(403);
    let words = "Identity and Access Management (IAM) API has not been used in project 123456789012 \
                 before or it is disabled. Enable it by visiting \
                 https://console.developers.google.com/apis/api/iam.googleapis.com/overview?project=\
                 123456789012 then retry. If you enabled this API recently, wait a few minutes for \
                 the action to propagate to our systems and retry.";
    assert_eq!(error["error"]["message"], words);
    assert_eq!(error["error"]["details"][0]["reason"], "SERVICE_DISABLED");

    let batch = json!({ "serviceIds": ["iam.googleapis.com", "storage.googleapis.com"] });
    let started = scene.post(&owner, &format!("{URL}:batchEnable"), &batch).await.expect(200);
    assert_eq!(started.get("done"), None);
    let name = started["name"].as_str().unwrap();
    let done =
        scene.get(&owner, &format!("serviceusage.googleapis.com/v1/{name}")).await.expect(200);
    assert_eq!(done["done"], true);
    assert_eq!(done["response"]["services"].as_array().unwrap().len(), 2);
    scene.get(&owner, accounts).await.expect(200);
    let again = scene.post(&owner, &format!("{URL}:batchEnable"), &batch).await.expect(200);
    assert_eq!(again["done"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_filtered_and_an_unknown_api_is_told() {
    let scene = Scene::new().await;
    let owner = scene.owner();
    let list = |filter: &str| format!("{URL}?filter=state%3A{filter}&pageSize=200");
    let names = |body: &Value| -> Vec<String> {
        let services = body["services"].as_array().unwrap();
        services.iter().map(|it| it["config"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let enabled = names(&scene.get(&owner, &list("ENABLED")).await.expect(200));
    assert_eq!(
        enabled,
        [
            "cloudresourcemanager.googleapis.com",
            "iam.googleapis.com",
            "iamcredentials.googleapis.com"
        ]
    );
    let disabled = names(&scene.get(&owner, &list("DISABLED")).await.expect(200));
    assert!(disabled.contains(&"sqladmin.googleapis.com".to_owned()));
    let url = format!("{URL}/nothing.googleapis.com:enable");
    let error = scene.post(&owner, &url, &json!({})).await.expect(403);
    assert_eq!(
        error["error"]["message"],
        "Not found or permission denied for service(s): nothing.googleapis.com."
    );
}
