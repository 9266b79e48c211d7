//! What goes and, above all, what stays.

use std::collections::BTreeSet;

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use rollout::{ENVIRONMENT, MANAGED_BY, MANAGER};
use serde_json::{Value, json};

use crate::{
    bundle::{claim, config_map, namespace, plain, service},
    fixture::{Deployed, with_cluster},
};

fn deleted(deployed: &Deployed) -> Vec<String> {
    deployed.pruned.deleted.iter().map(ToString::to_string).collect()
}

#[test]
fn a_removed_object_goes_and_data_stays() {
    with_cluster("removed", async |it| {
        let mut secret = plain("v1", "Secret", "keep", it.ns());
        secret["stringData"] = json!({ "a": "b" });
        let base = [namespace(it.ns()), service("keep", it.ns(), 80)];
        let mut all = base.to_vec();
        all.extend([service("gone", it.ns(), 80), claim("data", it.ns(), "1Gi"), secret]);
        it.deploy(&all).await.unwrap();
        let deployed = it.deploy(&base).await.unwrap();
        assert_eq!(deleted(&deployed), ["service/gone"]);
        let versions = it.versions().await;
        for name in ["services/keep", "persistentvolumeclaims/data", "secrets/keep"] {
            assert!(versions.contains_key(name), "{name}");
        }
        assert!(!versions.contains_key("services/gone"));
        assert_eq!(deployed.pruned.kept.len(), 2);
        assert!(it.plan(&base).await.unwrap().is_noop());
        assert_eq!(it.versions().await, versions);
    });
}

#[test]
fn what_lacks_label_manager_or_inventory_is_left_alone() {
    with_cluster("alone", async |it| {
        let base = [namespace(it.ns()), config_map("keep", it.ns(), "1")];
        let ours: Vec<Value> =
            ["label", "manager"].map(|name| config_map(name, it.ns(), "1")).to_vec();
        it.deploy(&[&base[..], &ours[..]].concat()).await.unwrap();
        let path = it.path("/api/v1", "configmaps");
        // Somebody took the label off.
        let bare = json!({ "metadata": { "labels": { MANAGED_BY: null } } });
        it.send("PATCH", &format!("{path}/label"), bare).await;
        // Somebody replaced the object by a copy, labels and all.
        let copy = |name: &str| {
            let mut copy = config_map(name, it.ns(), "1");
            copy["metadata"]["labels"] = json!({ MANAGED_BY: MANAGER, ENVIRONMENT: "kind" });
            copy
        };
        it.send("DELETE", &format!("{path}/manager"), Value::Null).await;
        it.send("POST", &path, copy("manager")).await;
        // And one that was never ours has our labels.
        it.send("POST", &path, copy("inventory")).await;

        let deployed = it.deploy(&base).await.unwrap();
        assert_eq!(deleted(&deployed), [""; 0]);
        for name in ["label", "manager", "inventory"] {
            assert_eq!(it.core(&format!("configmaps/{name}")).await["kind"], "ConfigMap", "{name}");
        }
        let kept: Vec<String> = deployed.pruned.kept.iter().map(|it| it.0.to_string()).collect();
        assert_eq!(kept, ["configmap/label", "configmap/manager"]);
        let notes = deployed.plan.notes.join("\n");
        assert!(notes.contains("configmap/inventory carries our labels"), "{notes}");
    });
}

#[test]
fn an_object_that_changed_hands_after_the_plan_is_left_alone() {
    with_cluster("hands", async |it| {
        let base = [namespace(it.ns())];
        it.deploy(&[&base[..], &[config_map("gone", it.ns(), "1")]].concat()).await.unwrap();
        let plan = it.plan(&base).await.unwrap();
        let mut rollout =
            rollout::Rollout::begin(&it.server, &plan, &crate::fixture::holder("a")).await.unwrap();
        let path = it.path("/api/v1", "configmaps");
        it.send("DELETE", &format!("{path}/gone"), Value::Null).await;
        // Even when it was us: what the plan knew is gone, and nobody decided on this one.
        let mut successor = config_map("gone", it.ns(), "theirs");
        successor["metadata"]["labels"] = json!({ MANAGED_BY: MANAGER, ENVIRONMENT: "kind" });
        it.send("APPLY", &format!("{path}/gone?fieldManager={MANAGER}"), successor).await;
        let pruned = rollout.prune().await.unwrap();
        rollout.end().await.unwrap();
        assert_eq!((pruned.deleted.len(), pruned.kept.len()), (0, 1));
        assert_eq!(it.core("configmaps/gone").await["data"]["KEY"], "theirs");
    });
}

#[test]
fn generated_settings_stay_for_one_revision() {
    with_cluster("hashed", async |it| {
        let with = |name: &str| [namespace(it.ns()), config_map(name, it.ns(), name)];
        let names = ["settings-bbbbbbbbbb", "settings-cccccccccc", "settings-dddddddddd"];
        let mut gone = Vec::new();
        for name in names {
            gone.push(deleted(&it.deploy(&with(name)).await.unwrap()));
            assert!(it.plan(&with(name)).await.unwrap().is_noop());
        }
        assert_eq!(gone, [vec![], vec![], vec!["configmap/settings-bbbbbbbbbb".to_owned()]]);
        let versions = it.versions().await;
        assert!(versions.contains_key("configmaps/settings-cccccccccc"));
    });
}

/// Which of six objects the bundle has, each in one of two versions; absent is `None`.
fn edits() -> impl Strategy<Value = Vec<[Option<bool>; 6]>> {
    prop::collection::vec(any::<[Option<bool>; 6]>(), 1..5)
}

#[test]
fn random_edits_delete_exactly_what_was_removed() {
    with_cluster("edits", async |it| {
        let path = it.path("/api/v1", "configmaps");
        it.deploy(&[namespace(it.ns())]).await.unwrap();
        it.send("POST", &path, config_map("foreign", it.ns(), "1")).await;
        let foreign = it.core("configmaps/foreign").await;
        // One sequence of rollouts after another on the same namespace: each case starts from what
        // the one before left behind.
        let mut runner = TestRunner::new(Config { cases: 12, ..Config::default() });
        let mut before: BTreeSet<String> = BTreeSet::new();
        for _ in 0..runner.config().cases {
            let steps = edits().new_tree(&mut runner).unwrap().current();
            for step in steps {
                let objects = objects(it.ns(), &step);
                let deployed = it.deploy(&objects).await.unwrap();
                let after: BTreeSet<String> = objects[1..].iter().map(name).collect();
                let gone: BTreeSet<String> = deleted(&deployed).into_iter().collect();
                assert_eq!(gone, before.difference(&after).cloned().collect(), "{step:?}");
                let again =
                    it.plan_with(&objects, rollout::Options { thorough: true, force: false });
                assert!(again.await.unwrap().is_noop(), "{step:?}");
                let there: BTreeSet<String> = it
                    .versions()
                    .await
                    .into_keys()
                    .filter(|it| it.starts_with("configmaps/c") || it.starts_with("services/s"))
                    .map(|it| {
                        it.replace("configmaps/", "configmap/").replace("services/", "service/")
                    })
                    .collect();
                assert_eq!(there, after, "{step:?}");
                before = after;
            }
        }
        assert_eq!(it.core("configmaps/foreign").await, foreign);
    });
}

fn objects(ns: &str, step: &[Option<bool>; 6]) -> Vec<Value> {
    let mut objects = vec![namespace(ns)];
    for (index, version) in step.iter().enumerate() {
        let Some(version) = version else { continue };
        objects.push(match index % 2 {
            0 => config_map(&format!("c{index}"), ns, &version.to_string()),
            _ => service(&format!("s{index}"), ns, 80 + u16::from(*version)),
        });
    }
    objects
}

fn name(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
    format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap_or_default())
}
