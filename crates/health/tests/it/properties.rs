//! What holds for any object, however broken.

use crate::objects::{Scene, ended, pod, restarted, waiting};
use health::{Kind, Observed, Rules, State, Target, assess, diagnose};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zA-Z]{0,8}".prop_map(Value::from),
        Just(json!("True")),
        Just(json!("Failed")),
        Just(json!("2026-01-01T00:00:00Z")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{"name": "mlflow", "type": "Ready", "status": "True"}, 7])),
    ]
}

/// Puts a value in the place of the n-th node of a tree.
fn mutate(value: &mut Value, n: &mut usize, with: &Value) {
    if *n == 0 {
        *value = with.clone();
    }
    *n = n.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|it| mutate(it, n, with)),
        Value::Object(map) => map.values_mut().for_each(|it| mutate(it, n, with)),
        _ => {}
    }
}

fn mutated(base: Value) -> impl Strategy<Value = Value> {
    prop::collection::vec((0..80_usize, leaf()), 1..4).prop_map(move |changes| {
        let mut object = base.clone();
        for (mut n, with) in changes {
            mutate(&mut object, &mut n, &with);
        }
        object
    })
}

fn kinds() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "Pod",
        "Job",
        "PersistentVolumeClaim",
        "Service",
        "Namespace",
        "CustomResourceDefinition",
        "ConfigMap",
    ])
}

fn pods() -> Vec<Value> {
    vec![
        pod("new", waiting("ErrImagePull", "not found")),
        pod("new", restarted(2, ended(1, 3, 4))),
        pod("new", json!({"started": true, "ready": false, "state": {"running": {}}})),
    ]
}

proptest! {
    #[test]
    fn assess_never_panics(kind in kinds(), object in mutated(pod("new", waiting("x", "y")))) {
        let mut object = object;
        assess(&object);
        if object.is_object() {
            object["kind"] = kind.into();
            assess(&object);
        }
    }

    #[test]
    fn diagnose_never_panics(
        which in 0..3_usize, changes in prop::collection::vec((0..80_usize, leaf()), 0..4),
        seconds in 0..1000_u64,
    ) {
        let mut object = pods().swap_remove(which);
        for (mut n, with) in changes {
            mutate(&mut object, &mut n, &with);
        }
        let mut scene = Scene::new();
        scene.seen.apply(Kind::Pod, object, Duration::ZERO);
        scene.after(seconds).verdict();
    }

    #[test]
    fn stale_generation_is_never_current(
        kind in kinds(), status in mutated(json!({
            "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "phase": "Bound", "conditions": [{"type": "Complete", "status": "True"}],
        })), observed in 0..5_i64, ahead in 1..5_i64,
    ) {
        prop_assume!(status.is_object());
        let mut object = json!({"kind": kind, "metadata": {"generation": observed + ahead}});
        object["status"] = status;
        object["status"]["observedGeneration"] = observed.into();
        prop_assert_ne!(assess(&object).state, State::Current);
    }

    #[test]
    fn generation_older_than_the_write_is_never_healthy_nor_failed(
        generation in 0..5_i64, ahead in 1..5_i64, failing in any::<bool>(),
    ) {
        let mut seen = Observed::default();
        let reason = if failing { "ProgressDeadlineExceeded" } else { "NewReplicaSetAvailable" };
        seen.apply(Kind::Deployment, json!({
            "metadata": {"name": "mlflow", "uid": "u", "generation": generation},
            "status": {
                "observedGeneration": generation, "replicas": 1, "updatedReplicas": 1,
                "readyReplicas": 1, "availableReplicas": 1,
                "conditions": [{"type": "Progressing", "status": "False", "reason": reason}],
            },
        }), Duration::ZERO);
        let mut target = Target::new(Kind::Deployment, "mlflow");
        target.generation = Some(generation + ahead);
        let verdict = diagnose(&target, &seen, &Rules::default(), Duration::MAX);
        prop_assert!(verdict.is_waiting());
    }

    #[test]
    fn time_alone_never_dooms(seconds in 0..100_000_u64, which in 0..3_usize) {
        // What is doomed or impossible later was so at once: only `late` comes with time.
        let mut scene = Scene::new();
        scene.apply(pods().swap_remove(which));
        let before = scene.verdict().word();
        let after = scene.after(seconds).verdict().word();
        prop_assert!(before == after || (before == "waiting" && after == "late"));
    }
}
