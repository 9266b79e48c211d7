//! Plans and waves.

use rollout::{Action, Change, Error, Options, Step, diff};
use serde_json::{Value, json};

use crate::{
    bundle::{environment, plain},
    fixture::{Cluster, Recorder, refused, with_cluster},
};

/// Changes one object of an environment.
fn edit<'a>(objects: &'a mut [Value], kind: &str, name: &str) -> &'a mut Value {
    objects
        .iter_mut()
        .find(|it| it["kind"] == kind && it["metadata"]["name"] == name)
        .expect("an object of the environment")
}

fn pending(changes: &[Change]) -> Vec<&Change> {
    changes.iter().filter(|it| it.action != Action::Unchanged).collect()
}

#[test]
fn a_second_deploy_writes_nothing() {
    with_cluster("second", async |it| {
        let objects = environment(it.ns());
        let first = it.deploy(&objects).await.unwrap();
        assert_eq!(first.applied.written.len(), 25);
        let before = it.versions().await;
        let second = it.deploy(&objects).await.unwrap();
        assert!(second.plan.is_noop());
        assert_eq!(diff(&second.plan), "");
        assert_eq!((second.applied.written.len(), second.applied.unchanged.len()), (0, 25));
        assert_eq!(it.versions().await, before);
        assert!(!before.contains_key("leases/mlflow-xtask-deploy"), "the lease was given back");
        // The inventory's shortcut and the dry-run of every object come to the same result.
        let thorough = Options { thorough: true, ..Options::default() };
        assert!(it.plan_with(&objects, thorough).await.unwrap().is_noop());
        assert_eq!(it.versions().await, before);
    });
}

#[test]
fn waves_come_in_order_and_unchanged_workloads_are_waited_for() {
    with_cluster("waves", async |it| {
        let objects = environment(it.ns());
        for _ in 0..2 {
            let deployed = it.deploy(&objects).await.unwrap();
            let waits: Vec<String> = deployed
                .waiter
                .waves
                .iter()
                .map(|(wave, targets)| {
                    format!("{wave} {} {}", targets[0].id, targets[0].generation)
                })
                .collect();
            assert_eq!(
                waits,
                [
                    "1 job/mlflow-secrets 1",
                    "2 deployment/postgres 1",
                    "3 job/mlflow-migrate 1",
                    "4 deployment/mlflow 1",
                ]
            );
            assert!(deployed.waiter.waves.iter().all(|it| !it.1[0].uid.is_empty()));
        }
    });
}

#[test]
fn a_changed_field_is_one_line_and_one_write() {
    with_cluster("field", async |it| {
        let mut objects = environment(it.ns());
        it.deploy(&objects).await.unwrap();
        let before = it.versions().await;
        let container = "/spec/template/spec/containers/0/resources/limits/memory";
        *edit(&mut objects, "Deployment", "mlflow").pointer_mut(container).unwrap() = json!("2Gi");
        let deployed = it.deploy(&objects).await.unwrap();
        let field = "spec.template.spec.containers[name=mlflow].resources.limits.memory";
        assert_eq!(
            diff(&deployed.plan),
            format!("~ deployment/mlflow {field}: \"1Gi\" → \"2Gi\"\n= 24 unchanged\n"),
        );
        assert_eq!(deployed.waiter.waves[3].1[0].generation, 2);
        let written: Vec<String> = it
            .versions()
            .await
            .into_iter()
            .filter(|(name, version)| before.get(name) != Some(version))
            .map(|it| it.0)
            .collect();
        assert_eq!(written, ["configmaps/mlflow-xtask-inventory", "deployments/mlflow"]);
        assert!(matches!(
            &deployed.steps[..],
            [
                ..,
                Step::Written { how: "updated", .. },
                Step::Waiting { wave: 4, .. },
                Step::Healthy { wave: 4 }
            ]
        ));
    });
}

#[test]
fn secret_values_stay_out_of_the_plan() {
    with_cluster("masked", async |it| {
        let mut objects = environment(it.ns());
        it.deploy(&objects).await.unwrap();
        edit(&mut objects, "Secret", "extra")["stringData"]["password"] = json!("correct horse");
        let plan = it.plan(&objects).await.unwrap();
        let text = format!("{}{}", diff(&plan), serde_json::to_string(&plan).unwrap());
        assert!(text.contains("data.password"), "{text}");
        for secret in ["correct horse", "hunter2", "aHVudGVyMg", "Y29ycmVjdCBob3JzZQ"] {
            assert!(!text.contains(secret), "{text}");
        }
    });
}

#[test]
fn a_changed_job_is_made_anew() {
    with_cluster("job", async |it| {
        let mut objects = environment(it.ns());
        it.deploy(&objects).await.unwrap();
        let path = it.path("/apis/batch/v1", "jobs/mlflow-migrate");
        let before = it.get(&path).await;
        let image = "/spec/template/spec/containers/0/image";
        *edit(&mut objects, "Job", "mlflow-migrate").pointer_mut(image).unwrap() =
            json!("mlflow:2");
        let deployed = it.deploy(&objects).await.unwrap();
        let [change] = pending(&deployed.plan.changes)[..] else { panic!("one change") };
        let Action::Recreate { why, leaves } = &change.action else { panic!("{change:?}") };
        assert_eq!(why, "spec.template: field is immutable");
        let leaves: Vec<String> = leaves.iter().map(ToString::to_string).collect();
        assert_eq!(
            leaves,
            [
                r#"spec.template.spec.containers[name=mlflow-migrate].image: "mlflow:1" → "mlflow:2""#
            ]
        );
        let after = it.get(&path).await;
        assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
        assert_eq!(json!(deployed.waiter.waves[2].1[0].uid), after["metadata"]["uid"]);
        assert!(it.plan(&objects).await.unwrap().is_noop());
    });
}

#[test]
fn what_cannot_change_is_refused_with_all_reasons_before_any_write() {
    with_cluster("immutable", async |it| {
        let mut objects = environment(it.ns());
        it.deploy(&objects).await.unwrap();
        let before = it.versions().await;
        edit(&mut objects, "PersistentVolumeClaim", "postgres")["spec"]["accessModes"] =
            json!(["ReadWriteMany"]);
        let mlflow = edit(&mut objects, "Deployment", "mlflow");
        mlflow["spec"]["selector"]["matchLabels"]["tier"] = json!("a");
        mlflow["spec"]["template"]["metadata"]["labels"]["tier"] = json!("a");
        edit(&mut objects, "Service", "mlflow")["spec"]["ports"][0]["port"] = json!(70_000);
        edit(&mut objects, "ConfigMap", "postgres-config")["dta"] = json!({});
        let plan = it.plan(&objects).await;
        let Err(error) = &plan else { panic!("{plan:?}") };
        assert_eq!(error.to_string().matches("hint:").count(), 4, "{error}");
        assert_eq!(
            refused(plan),
            [
                "configmap/postgres-config - invalid",
                "persistentvolumeclaim/postgres spec immutable",
                "service/mlflow spec.ports[0].port invalid",
                "deployment/mlflow spec.selector immutable",
            ]
        );
        assert_eq!(it.versions().await, before);
    });
}

#[test]
fn a_broken_wave_stops_the_next_ones_and_a_second_run_goes_on() {
    with_cluster("broken", async |it| {
        let objects = environment(it.ns());
        let broken = Recorder { broken: Some(2), ..Recorder::default() };
        let failed = it.deploy_with(&objects, Options::default(), broken).await;
        let Err(error @ Error::Unhealthy { wave: 2, .. }) = failed else { panic!("not broken") };
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "it crashes");
        let versions = it.versions().await;
        assert!(versions.contains_key("deployments/postgres"));
        assert!(!versions.contains_key("jobs/mlflow-migrate"));
        assert!(!versions.contains_key("leases/mlflow-xtask-deploy"));
        // What an interrupted rollout left behind is known, and goes when it is not wanted.
        let wanted: Vec<Value> = objects
            .into_iter()
            .filter(|it| it["kind"] != "Deployment" || it["metadata"]["name"] != "postgres")
            .collect();
        let deployed = it.deploy(&wanted).await.unwrap();
        let deleted: Vec<String> =
            deployed.pruned.deleted.iter().map(ToString::to_string).collect();
        assert_eq!(deleted, ["deployment/postgres"]);
        assert_eq!(deployed.plan.revision, 1);
        assert!(it.plan(&wanted).await.unwrap().is_noop());
    });
}

#[test]
fn a_change_by_hand_is_named_and_undone_only_by_force() {
    with_cluster("conflict", async |it| {
        let objects = environment(it.ns());
        it.deploy(&objects).await.unwrap();
        let path = it.path("/apis/apps/v1", "deployments/mlflow");
        let scale = json!({ "spec": { "replicas": 3 } });
        it.send("PATCH", &format!("{path}?fieldManager=kubectl-edit"), scale).await;
        let plan = it.plan(&objects).await;
        let Err(error) = &plan else { panic!("{plan:?}") };
        let text = error.to_string();
        assert!(
            text.contains("deployment/mlflow spec.replicas: it was set by `kubectl-edit`"),
            "{text}"
        );
        assert_eq!(refused(plan), ["deployment/mlflow spec.replicas conflict"]);
        let force = Options { force: true, ..Options::default() };
        let deployed = it.deploy_with(&objects, force, Recorder::default()).await.unwrap();
        assert_eq!(
            diff(&deployed.plan),
            "~ deployment/mlflow spec.replicas: 3 → 1\n= 24 unchanged\n"
        );
        assert_eq!(it.get(&path).await["spec"]["replicas"], 1);
        assert!(it.plan(&objects).await.unwrap().is_noop());
    });
}

#[test]
fn an_object_deleted_by_hand_comes_back() {
    with_cluster("deleted", async |it| {
        let objects = environment(it.ns());
        it.deploy(&objects).await.unwrap();
        it.send("DELETE", &it.path("/api/v1", "services/mlflow"), Value::Null).await;
        let deployed = it.deploy(&objects).await.unwrap();
        assert_eq!(diff(&deployed.plan), "+ service/mlflow: create\n= 24 unchanged\n");
        assert_eq!(it.core("services/mlflow").await["kind"], "Service");
    });
}

#[test]
fn a_kind_that_nobody_told_us_about_is_looked_up() {
    with_cluster("kinds", async |it| {
        let mut slice = plain("discovery.k8s.io/v1", "EndpointSlice", "outside", it.ns());
        slice["addressType"] = json!("IPv4");
        slice["endpoints"] = json!([{ "addresses": ["192.0.2.1"] }]);
        let objects = [crate::bundle::namespace(it.ns()), slice];
        it.deploy(&objects).await.unwrap();
        assert!(it.plan(&objects).await.unwrap().is_noop());

        let widget = plain("example.com/v1", "Widget", "a", it.ns());
        let Err(error) = it.plan(&[widget]).await else { panic!("no such kind") };
        let text = error.to_string();
        assert!(text.contains("`Widget` of example.com/v1") && text.contains("hint:"), "{error:?}");
    });
}

#[test]
fn a_namespace_of_another_environment_is_refused() {
    with_cluster("foreign", async |mut it: Cluster| {
        let objects = environment(it.ns());
        it.deploy(&objects).await.unwrap();
        it.owner.environment = "gcp".to_owned();
        let refusals = refused(it.plan(&objects).await);
        assert_eq!(refusals.len(), 26);
        assert!(refusals.iter().all(|it| it.ends_with("other-environment")), "{refusals:?}");
    });
}
