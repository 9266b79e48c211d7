//! What `kubectl apply -k` made by hand.

use rollout::{Action, diff};
use serde_json::{Value, json};

use crate::{
    bundle::{config_map, deployment, namespace, plain},
    fixture::{Cluster, refused, with_cluster},
};

/// Creates objects as `kubectl apply` does, without server-side apply.
async fn by_hand(it: &Cluster, manager: &str, objects: &[Value]) {
    for object in objects {
        let path = match object["kind"].as_str() {
            Some("Namespace") => "/api/v1/namespaces".to_owned(),
            Some("Deployment") => it.path("/apis/apps/v1", "deployments"),
            Some("ServiceAccount") => it.path("/api/v1", "serviceaccounts"),
            _ => it.path("/api/v1", "configmaps"),
        };
        let made = it.send("POST", &format!("{path}?fieldManager={manager}"), object.clone()).await;
        assert_eq!(made["kind"], object["kind"], "{made}");
    }
}

fn objects(ns: &str, image: &str) -> Vec<Value> {
    vec![
        namespace(ns),
        plain("v1", "ServiceAccount", "mlflow", ns),
        config_map("settings", ns, "1"),
        deployment("mlflow", ns, image, 4),
    ]
}

#[test]
fn a_deploy_by_kubectl_is_taken_over_whole() {
    with_cluster("adopt", async |it| {
        let mut by_kubectl = objects(it.ns(), "mlflow:dev");
        by_kubectl[2]["data"]["OLD"] = json!("to go");
        by_hand(&it, "kubectl-client-side-apply", &by_kubectl).await;
        let wanted = objects(it.ns(), "mlflow:hash");
        let deployed = it.deploy(&wanted).await.unwrap();
        assert_eq!(deployed.applied.written.len(), 4);
        let text = diff(&deployed.plan);
        assert!(
            text.contains("! deployment/mlflow was made by kubectl-client-side-apply"),
            "{text}"
        );
        assert!(text.contains(r#""mlflow:dev" → "mlflow:hash""#), "{text}");
        // Without a change of owner the key would stay for ever, as kubectl's.
        let data = it.core("configmaps/settings").await["data"].clone();
        assert_eq!(data, json!({ "KEY": "1" }));
        assert!(it.plan(&wanted).await.unwrap().is_noop());
    });
}

#[test]
fn an_object_of_another_tool_is_not_taken_over() {
    with_cluster("tool", async |it| {
        let mut theirs = objects(it.ns(), "mlflow:dev");
        theirs[2]["metadata"]["labels"] = json!({ "app.kubernetes.io/managed-by": "Helm" });
        by_hand(&it, "helm", &theirs).await;
        let refusals = refused(it.plan(&objects(it.ns(), "mlflow:hash")).await);
        let container = "deployment/mlflow spec.template.spec.containers[name=\"mlflow\"]";
        assert_eq!(
            refusals,
            [
                "configmap/settings metadata.labels.app.kubernetes.io/managed-by conflict"
                    .to_owned(),
                format!("{container}.image conflict"),
                // Equal quantities, but the server compares them as they are written.
                format!("{container}.resources.limits.cpu conflict"),
                format!("{container}.resources.limits.memory conflict"),
            ]
        );
    });
}

#[test]
fn an_empty_namespace_made_by_hand_is_adopted() {
    with_cluster("empty", async |it| {
        by_hand(
            &it,
            "kubectl-create",
            &[json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": it.ns() },
            })],
        )
        .await;
        let deployed = it.deploy(&objects(it.ns(), "mlflow:1")).await.unwrap();
        let home = deployed.plan.changes.iter().find(|it| it.id.kind == "Namespace").unwrap();
        assert!(matches!(home.action, Action::Update { .. }), "{home:?}");
        assert!(it.plan(&objects(it.ns(), "mlflow:1")).await.unwrap().is_noop());
    });
}
