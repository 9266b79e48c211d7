//! Service accounts from their making to their end.

use serde_json::json;

use crate::scene::{GSA, Scene};

const URL: &str = "iam.googleapis.com/v1/projects/local/serviceAccounts";

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_listed_changed_and_taken_away() {
    let scene = Scene::new().await;
    let owner = scene.owner();
    let create = json!({ "accountId": "second", "serviceAccount": { "displayName": "Second" } });
    let made = scene.post(&owner, URL, &create).await.expect(200);
    assert_eq!(made["email"], "second@local.iam.gserviceaccount.com");
    let again = scene.post(&owner, URL, &create).await.expect(409);
    assert_eq!(
        again["error"]["message"],
        "Service account second already exists within project projects/local."
    );
    assert_eq!(again["error"]["status"], "ALREADY_EXISTS");

    let first = scene.get(&owner, &format!("{URL}?pageSize=1")).await.expect(200);
    assert_eq!(first["accounts"][0]["email"], GSA);
    let next = first["nextPageToken"].as_str().unwrap();
    let second = scene.get(&owner, &format!("{URL}?pageSize=1&pageToken={next}")).await.expect(200);
    assert_eq!(second["accounts"], json!([made]));
    assert_eq!(second.get("nextPageToken"), None);

    let url = format!("{URL}/second@local.iam.gserviceaccount.com");
    let patch = json!({ "serviceAccount": { "displayName": "2nd" }, "updateMask": "displayName" });
    let changed = scene.call(&owner, "PATCH", &url, &patch).await.expect(200);
    assert_eq!((&changed["displayName"], &changed["uniqueId"]), (&json!("2nd"), &made["uniqueId"]));
    assert_ne!(changed["etag"], made["etag"]);
    let by_id = format!("{URL}/{}", made["uniqueId"].as_str().unwrap());
    assert_eq!(scene.get(&owner, &by_id).await.expect(200), changed);
    scene.call(&owner, "DELETE", &url, &json!(null)).await.expect(200);
    let gone = scene.get(&owner, &url).await.expect(404);
    assert_eq!(gone["error"]["message"], "Unknown service account");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namesake_does_not_inherit_the_rights_of_a_deleted_account() {
    let scene = Scene::new().await;
    let owner = scene.owner();
    let project = "cloudresourcemanager.googleapis.com/v1/projects/local";
    let policy =
        scene.post(&owner, &format!("{project}:getIamPolicy"), &json!({})).await.expect(200);
    let mut policy = policy;
    let binding = json!({ "role": "roles/viewer", "members": [format!("serviceAccount:{GSA}")] });
    policy["bindings"].as_array_mut().unwrap().push(binding);
    let set = json!({ "policy": policy });
    scene.post(&owner, &format!("{project}:setIamPolicy"), &set).await.expect(200);
    let account = scene.token(&iam::Principal::service_account(GSA));
    scene.get(&account, project).await.expect(200);

    let url = format!("{URL}/{GSA}");
    let unique_id = scene.get(&owner, &url).await.expect(200)["uniqueId"].clone();
    scene.call(&owner, "DELETE", &url, &json!(null)).await.expect(200);
    scene.get(&account, project).await.expect(401);
    scene.post(&owner, URL, &json!({ "accountId": "mlflow" })).await.expect(200);
    scene.get(&account, project).await.expect(403);
    let policy =
        scene.post(&owner, &format!("{project}:getIamPolicy"), &json!({})).await.expect(200);
    let tombstone = format!("deleted:serviceAccount:{GSA}?uid={}", unique_id.as_str().unwrap());
    assert!(policy.to_string().contains(&tombstone), "{policy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_permission_is_not_told_whether_an_account_exists() {
    let scene = Scene::new().await;
    let account = scene.token(&iam::Principal::user("stranger@example.com"));
    for email in [GSA, "nobody@local.iam.gserviceaccount.com"] {
        let error = scene.get(&account, &format!("{URL}/{email}")).await.expect(403);
        let words = format!(
            "Permission 'iam.serviceAccounts.get' denied on resource \
             '//iam.googleapis.com/projects/local/serviceAccounts/{email}' (or it may not exist)."
        );
        assert_eq!(error["error"]["message"], words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_told_with_their_permissions() {
    let scene = Scene::new().await;
    let owner = scene.owner();
    let url = "iam.googleapis.com/v1/roles/storage.objectUser";
    let role = scene.get(&owner, url).await.expect(200);
    let permissions = role["includedPermissions"].as_array().unwrap();
    assert!(permissions.contains(&json!("storage.objects.create")));
    let missing = scene.get(&owner, "iam.googleapis.com/v1/roles/none").await.expect(404);
    assert_eq!(missing["error"]["message"], "The role named roles/none was not found.");
    let all = scene.get(&owner, "iam.googleapis.com/v1/roles").await.expect(200);
    assert!(all["roles"].as_array().unwrap().len() > 10);
}
