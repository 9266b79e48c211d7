//! Objects as a cluster returns them, as short as the rules allow.

use health::{Kind, Observed, Rules, Target, Verdict, diagnose};
use serde_json::{Value, json};
use std::time::Duration;

/// What the API server has for a Deployment `mlflow`, and what has happened since.
pub(crate) struct Scene {
    pub(crate) seen: Observed,
    pub(crate) rules: Rules,
    pub(crate) target: Target,
    pub(crate) now: Duration,
}

impl Scene {
    /// A Deployment whose newest ReplicaSet has revision 2, and no pods.
    pub(crate) fn new() -> Scene {
        let mut scene = Scene {
            seen: Observed::default(),
            rules: Rules::default(),
            target: Target::new(Kind::Deployment, "mlflow"),
            now: Duration::ZERO,
        };
        scene.apply(deployment()).apply(replica_set("new", 2));
        scene
    }

    pub(crate) fn apply(&mut self, object: Value) -> &mut Scene {
        let kind = Kind::parse(object["kind"].as_str().unwrap()).unwrap();
        self.seen.apply(kind, object, self.now);
        self
    }

    pub(crate) fn after(&mut self, seconds: u64) -> &mut Scene {
        self.now += Duration::from_secs(seconds);
        self
    }

    pub(crate) fn verdict(&self) -> Verdict {
        diagnose(&self.target, &self.seen, &self.rules, self.now)
    }

    /// The word of the verdict, its reason, and a part of its line.
    #[track_caller]
    pub(crate) fn check(&self, word: &str, reason: &str, part: &str) -> &Scene {
        let verdict = self.verdict();
        let cause = verdict.cause().cloned().unwrap_or_default();
        assert_eq!((verdict.word(), cause.reason.as_str()), (word, reason), "{cause}");
        assert!(cause.to_string().contains(part), "`{part}` is not in: {cause}");
        self
    }
}

/// A Deployment that has been observed and is not available.
pub(crate) fn deployment() -> Value {
    json!({
        "kind": "Deployment",
        "metadata": {
            "name": "mlflow", "uid": "deployment-mlflow", "generation": 2,
            "annotations": {"deployment.kubernetes.io/revision": "2"},
        },
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1},
    })
}

/// The same, available since that second.
pub(crate) fn available(name: &str, second: u32) -> Value {
    let mut object = deployment();
    object["metadata"]["name"] = name.into();
    object["metadata"]["uid"] = format!("deployment-{name}").into();
    for field in ["readyReplicas", "availableReplicas"] {
        object["status"][field] = 1.into();
    }
    object["status"]["conditions"] =
        json!([{"type": "Available", "status": "True", "lastTransitionTime": time(second)}]);
    object
}

pub(crate) fn replica_set(name: &str, revision: u32) -> Value {
    json!({
        "kind": "ReplicaSet",
        "metadata": {
            "name": name, "uid": format!("set-{name}"), "generation": 1,
            "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
            "ownerReferences": [{"uid": "deployment-mlflow"}],
        },
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "replicas": 1},
    })
}

/// A pod of a ReplicaSet, on a node, with one container in this state.
pub(crate) fn pod(set: &str, container: Value) -> Value {
    let mut status = json!({"name": "mlflow", "restartCount": 0, "started": false});
    for (field, value) in container.as_object().unwrap() {
        status[field] = value.clone();
    }
    json!({
        "kind": "Pod",
        "metadata": {
            "name": format!("mlflow-{set}-1"), "uid": format!("pod-{set}"),
            "ownerReferences": [{"uid": format!("set-{set}")}],
        },
        "spec": {
            "restartPolicy": "Always",
            "containers": [{
                "name": "mlflow", "image": "localhost/mlflow-gke/mlflow:dev",
                "startupProbe": {"periodSeconds": 1, "failureThreshold": 60},
                "readinessProbe": {"periodSeconds": 2, "failureThreshold": 3},
            }],
        },
        "status": {
            "phase": "Pending", "startTime": time(0),
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [status],
        },
    })
}

pub(crate) fn waiting(reason: &str, message: &str) -> Value {
    json!({"state": {"waiting": {"reason": reason, "message": message}}})
}

/// An end of a run that took from one second to another.
pub(crate) fn ended(code: i64, from: u32, to: u32) -> Value {
    json!({"terminated": {
        "exitCode": code, "reason": "Error", "startedAt": time(from), "finishedAt": time(to),
    }})
}

/// A container that runs again after `restarts` restarts, the last run having ended so.
pub(crate) fn restarted(restarts: u32, last: Value) -> Value {
    json!({
        "restartCount": restarts, "lastState": last,
        "state": {"running": {"startedAt": time(50)}},
    })
}

pub(crate) fn event(uid: &str, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Event", "type": "Warning",
        "metadata": {"name": format!("{uid}.{reason}")},
        "involvedObject": {"uid": uid}, "reason": reason, "message": message,
        "lastTimestamp": time(30),
    })
}

pub(crate) fn time(second: u32) -> String {
    format!("2026-11-22T10:{:02}:{:02}Z", second / 60, second % 60)
}
