//! What admission says about pods before anything is written.

use rollout::{Preflight, preflight};
use serde_json::{Value, json};

use crate::{
    bundle::{deployment, environment, job, namespace, plain},
    fixture::{Cluster, with_cluster},
};

async fn check(it: &Cluster, objects: &[Value]) -> Preflight {
    let plan = it.plan(objects).await.expect("a plan");
    let before = it.versions().await;
    let found = preflight(&it.server, &plan).await.expect("a preflight");
    assert_eq!(it.versions().await, before);
    assert_eq!(it.core("pods").await["items"], json!([]));
    found
}

fn lines(found: &Preflight) -> Vec<String> {
    let field = |it: &Option<String>| it.clone().unwrap_or_default();
    found
        .refusals
        .iter()
        .map(|it| format!("{} {}: {}", it.object, field(&it.field), it.message))
        .collect()
}

#[test]
fn pod_security_names_every_violation() {
    with_cluster("security", async |it| {
        let account = plain("v1", "ServiceAccount", "mlflow", it.ns());
        it.deploy(&[namespace(it.ns()), account.clone()]).await.unwrap();
        let mut bad = deployment("mlflow", it.ns(), "mlflow:1", 4);
        let spec = &mut bad["spec"]["template"]["spec"];
        spec["securityContext"] = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
        spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        let found = check(&it, &[namespace(it.ns()), account, bad]).await;
        let lines = lines(&found);
        assert_eq!(lines.len(), 2, "{lines:?}");
        let start =
            "deployment/mlflow spec.template.spec: Pod Security restricted:latest forbids it: ";
        assert!(lines.iter().all(|it| it.starts_with(start)), "{lines:?}");
        assert!(lines[0].contains("allowPrivilegeEscalation != false (container \"mlflow\""));
        assert!(lines[1].contains("runAsNonRoot != true"));
    });
}

#[test]
fn a_quota_and_a_missing_account_or_class_are_told_apart() {
    with_cluster("quota", async |it| {
        let mut quota = plain("v1", "ResourceQuota", "small", it.ns());
        quota["spec"] = json!({ "hard": { "requests.memory": "100Mi" } });
        quota["status"] = quota["spec"].clone();
        let accounts =
            ["mlflow", "classy"].map(|name| plain("v1", "ServiceAccount", name, it.ns()));
        let mut base = vec![namespace(it.ns())];
        base.extend(accounts);
        it.deploy(&base).await.unwrap();
        // Without its controller a quota counts nothing, so its status is given.
        let path = it.path("/api/v1", "resourcequotas");
        it.send("POST", &path, quota.clone()).await;
        let used = json!({ "status": {
            "hard": { "requests.memory": "100Mi" }, "used": { "requests.memory": "0" },
        } });
        it.send("PATCH", &format!("{path}/small/status"), used).await;

        let mut light = deployment("classy", it.ns(), "mlflow:1", 4);
        let spec = &mut light["spec"]["template"]["spec"];
        spec["priorityClassName"] = json!("urgent");
        let orphan = job("orphan", it.ns(), "mlflow:1", 1);
        base.extend([light, orphan, deployment("mlflow", it.ns(), "mlflow:1", 4)]);
        let found = check(&it, &base).await;
        let lines = lines(&found);
        let [missing, class, quota] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(
            missing,
            "job/orphan spec.template.spec.serviceAccountName: service account `orphan` does not exist"
        );
        assert!(
            class.starts_with("deployment/classy spec.template.spec.priorityClassName: "),
            "{class}"
        );
        assert!(
            quota.starts_with(
                "deployment/mlflow spec.template.spec.containers: exceeded quota: small"
            ),
            "{quota}"
        );
    });
}

#[test]
fn an_account_of_the_same_plan_is_no_fault() {
    with_cluster("account", async |it| {
        let account = plain("v1", "ServiceAccount", "other", it.ns());
        it.deploy(&[namespace(it.ns()), account.clone()]).await.unwrap();
        let mut objects = environment(it.ns());
        objects.push(account);
        let found = check(&it, &objects).await;
        assert_eq!((lines(&found), found.tried, found.untried.len()), (vec![], 4, 0));
    });
}

#[test]
fn a_namespace_to_come_leaves_its_pods_untried() {
    with_cluster("fresh", async |it| {
        let plan = it.plan(&environment(it.ns())).await.unwrap();
        let found = preflight(&it.server, &plan).await.unwrap();
        assert_eq!((found.tried, found.untried.len(), found.refusals.len()), (0, 4, 0));
    });
}
