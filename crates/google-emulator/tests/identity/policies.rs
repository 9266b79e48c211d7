//! Policies: races, versions, and members that do not exist.

use serde_json::{Value, json};

use crate::scene::{GSA, Scene};

const URL: &str = "cloudresourcemanager.googleapis.com/v1/projects/local";

async fn policy(scene: &Scene, token: &str) -> Value {
    let body = json!({ "options": { "requestedPolicyVersion": 3 } });
    scene.post(token, &format!("{URL}:getIamPolicy"), &body).await.expect(200)
}

fn with(policy: &Value, member: &str) -> Value {
    let mut policy = policy.clone();
    let binding = json!({ "role": "roles/viewer", "members": [member] });
    policy["bindings"].as_array_mut().unwrap().push(binding);
    json!({ "policy": policy })
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_read_the_same_policy_one_writes_it() {
    let scene = Scene::new().await;
    let owner = scene.owner();
    let read = policy(&scene, &owner).await;
    let set = format!("{URL}:setIamPolicy");
    scene.post(&owner, &set, &with(&read, "user:one@example.com")).await.expect(200);
    let error = scene.post(&owner, &set, &with(&read, "user:two@example.com")).await.expect(409);
    assert_eq!(error["error"]["status"], "ABORTED");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("There were concurrent policy changes."), "{message}");
    let text = policy(&scene, &owner).await.to_string();
    assert!(text.contains("user:one@") && !text.contains("user:two@"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_grant_is_lost_when_many_write_at_once() {
    let scene = Scene::new().await;
    let owner = scene.owner();
    let writer = |number: usize| {
        let (scene, owner) = (&scene, &owner);
        async move {
            let member = format!("user:u{number}@example.com");
            loop {
                let proposed = with(&policy(scene, owner).await, &member);
                let answer = scene.post(owner, &format!("{URL}:setIamPolicy"), &proposed).await;
                match answer.status.as_u16() {
                    200 => return,
                    status => assert_eq!(status, 409, "{}", answer.body),
                }
            }
        }
    };
    futures::future::join_all((0..8).map(writer)).await;
    let text = policy(&scene, &owner).await.to_string();
    for number in 0..8 {
        assert!(text.contains(&format!("user:u{number}@example.com")), "{number}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_stand_is_refused_with_its_reason() {
    let scene = Scene::new().await;
    let owner = scene.owner();
    let read = policy(&scene, &owner).await;
    let set = format!("{URL}:setIamPolicy");
    for (member, words) in [
        (
            "serviceAccount:nobody@local.iam.gserviceaccount.com",
            "Service account nobody@local.iam.gserviceaccount.com does not exist.",
        ),
        (
            "serviceAccount:other.svc.id.goog[a/b]",
            "Identity Pool does not exist (other.svc.id.goog).",
        ),
    ] {
        let error = scene.post(&owner, &set, &with(&read, member)).await.expect(400);
        assert_eq!(error["error"]["message"], words);
        assert_eq!(error["error"]["status"], "INVALID_ARGUMENT");
    }
    for member in ["mlflow", "robot:x@y", "user:"] {
        scene.post(&owner, &set, &with(&read, member)).await.expect(400);
    }
    let mut unknown = read.clone();
    unknown["bindings"] = json!([{ "role": "roles/nothing", "members": ["allUsers"] }]);
    scene.post(&owner, &set, &json!({ "policy": unknown })).await.expect(400);
    assert_eq!(policy(&scene, &owner).await, read);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_read_a_project_is_not_told_whether_it_exists() {
    let scene = Scene::new().await;
    let account = scene.token(&iam::Principal::service_account(GSA));
    let one = scene.get(&account, URL).await.expect(403);
    let url = "cloudresourcemanager.googleapis.com/v1/projects/missing";
    let other = scene.get(&account, url).await.expect(403);
    assert_eq!(one, other);
    assert_eq!(one["error"]["message"], "The caller does not have permission");
    assert_eq!(scene.get(&scene.owner(), url).await.expect(403), one);
    let v1 = scene.get(&scene.owner(), URL).await.expect(200);
    assert_eq!(
        (&v1["projectNumber"], &v1["lifecycleState"]),
        (&json!("123456789012"), &json!("ACTIVE"))
    );
    let url = "cloudresourcemanager.googleapis.com/v3/projects/123456789012";
    let v3 = scene.get(&scene.owner(), url).await.expect(200);
    assert_eq!(v3["name"], "projects/123456789012");
}
