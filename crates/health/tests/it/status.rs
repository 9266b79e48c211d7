//! What one object says about itself.

use health::{State, assess};
use serde_json::{Value, json};

#[track_caller]
fn check(object: Value, state: State, reason: &str) {
    let status = assess(&object);
    assert_eq!((status.state, status.reason.as_str()), (state, reason), "{}", status.message);
}

mod any {
    use super::*;

    #[test]
    fn nothing_is_not_found() {
        check(Value::Null, State::NotFound, "NotFound");
    }

    #[test]
    fn without_a_kind_is_unknown() {
        check(json!({"metadata": {"name": "x"}}), State::Unknown, "NoKind");
        check(json!(["Pod"]), State::Unknown, "NoKind");
    }

    #[test]
    fn config_map_is_current_once_it_exists() {
        check(json!({"kind": "ConfigMap", "metadata": {"name": "x"}}), State::Current, "");
    }

    #[test]
    fn being_deleted_comes_before_all_else() {
        let metadata = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        check(
            json!({"kind": "ConfigMap", "metadata": metadata}),
            State::Terminating,
            "Terminating",
        );
    }

    #[test]
    fn unknown_kind_with_an_old_status_is_in_progress() {
        let object = json!({
            "kind": "Widget", "metadata": {"generation": 2}, "status": {"observedGeneration": 1},
        });
        check(object, State::InProgress, "StaleGeneration");
    }

    #[test]
    fn namespace_on_its_way_out_is_terminating() {
        let object = json!({"kind": "Namespace", "status": {"phase": "Terminating"}});
        check(object, State::Terminating, "Terminating");
    }

    #[test]
    fn service_needs_nothing() {
        check(json!({"kind": "Service", "spec": {"type": "ClusterIP"}}), State::Current, "");
    }

    #[test]
    fn balanced_service_needs_an_address() {
        let spec = json!({"type": "LoadBalancer"});
        check(json!({"kind": "Service", "spec": spec}), State::InProgress, "NoAddress");
        let status = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}});
        check(json!({"kind": "Service", "spec": spec, "status": status}), State::Current, "");
    }

    #[test]
    fn definition_that_was_refused_is_failed() {
        let refused = json!({"type": "NamesAccepted", "status": "False", "reason": "Conflict"});
        let object = json!({
            "kind": "CustomResourceDefinition", "status": {"conditions": [refused]},
        });
        check(object, State::Failed, "Conflict");
    }
}

mod deployment {
    use super::*;

    fn deployment(status: Value) -> Value {
        json!({
            "kind": "Deployment",
            "metadata": {"name": "mlflow", "generation": 2},
            "spec": {"replicas": 2},
            "status": status,
        })
    }

    fn counts(total: i64, updated: i64, ready: i64, available: i64) -> Value {
        deployment(json!({
            "observedGeneration": 2, "replicas": total, "updatedReplicas": updated,
            "readyReplicas": ready, "availableReplicas": available,
        }))
    }

    #[test]
    fn all_available_is_current() {
        check(counts(2, 2, 2, 2), State::Current, "");
    }

    #[test]
    fn green_status_of_an_older_generation_is_in_progress() {
        let status = json!({
            "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2,
            "availableReplicas": 2,
        });
        check(deployment(status), State::InProgress, "StaleGeneration");
    }

    #[test]
    fn without_a_status_is_in_progress() {
        check(deployment(Value::Null), State::InProgress, "StaleGeneration");
    }

    #[test]
    fn counts_are_compared_in_order() {
        check(counts(2, 1, 2, 2), State::InProgress, "LessUpdated");
        check(counts(3, 2, 2, 2), State::InProgress, "ExtraPods");
        check(counts(2, 2, 1, 1), State::InProgress, "LessReady");
        check(counts(2, 2, 2, 1), State::InProgress, "LessAvailable");
    }

    #[test]
    fn none_wanted_and_none_there_is_current() {
        let mut object = counts(0, 0, 0, 0);
        object["spec"]["replicas"] = json!(0);
        check(object, State::Current, "");
    }

    #[test]
    fn past_its_progress_deadline_is_failed() {
        let mut object = counts(2, 2, 0, 0);
        object["status"]["conditions"] = json!([
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
        ]);
        check(object, State::Failed, "ProgressDeadlineExceeded");
    }

    #[test]
    fn refused_pods_are_in_progress_with_their_reason() {
        let mut object = counts(0, 0, 0, 0);
        object["status"]["conditions"] = json!([
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"},
        ]);
        check(object, State::InProgress, "FailedCreate");
    }
}

mod stateful_set {
    use super::*;

    fn stateful_set(status: Value) -> Value {
        let mut object = json!({
            "kind": "StatefulSet", "metadata": {"generation": 1}, "spec": {"replicas": 1},
            "status": {"observedGeneration": 1, "updateRevision": "b", "currentRevision": "b"},
        });
        for (field, value) in status.as_object().unwrap() {
            object["status"][field] = value.clone();
        }
        object
    }

    #[test]
    fn ready_and_updated_is_current() {
        let status = json!({"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1});
        check(stateful_set(status), State::Current, "");
    }

    #[test]
    fn without_ready_pods_is_in_progress() {
        let status = json!({"replicas": 1, "updatedReplicas": 1});
        check(stateful_set(status), State::InProgress, "LessReady");
    }

    #[test]
    fn revision_that_is_not_current_is_in_progress() {
        let status = json!({
            "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "currentRevision": "a",
        });
        check(stateful_set(status), State::InProgress, "RevisionPending");
    }

    #[test]
    fn partition_leaves_the_others_alone() {
        let status = json!({
            "replicas": 1, "readyReplicas": 1, "updatedReplicas": 0, "currentRevision": "a",
        });
        let mut object = stateful_set(status);
        object["spec"]["updateStrategy"] = json!({"rollingUpdate": {"partition": 1}});
        check(object, State::Current, "");
    }
}

mod sets {
    use super::*;

    #[test]
    fn daemon_set_waits_for_each_node() {
        let status = json!({
            "observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
            "updatedNumberScheduled": 2, "numberReady": 1, "numberAvailable": 1,
        });
        let mut object =
            json!({"kind": "DaemonSet", "metadata": {"generation": 1}, "status": status});
        check(object.clone(), State::InProgress, "LessReady");
        object["status"]["numberReady"] = json!(2);
        object["status"]["numberAvailable"] = json!(2);
        check(object, State::Current, "");
    }

    #[test]
    fn daemon_set_that_was_not_counted_is_in_progress() {
        let object = json!({
            "kind": "DaemonSet", "metadata": {"generation": 1}, "status": {"observedGeneration": 1},
        });
        check(object, State::InProgress, "NoDesiredNumber");
    }

    #[test]
    fn replica_set_on_its_way_down_is_in_progress() {
        let object = json!({
            "kind": "ReplicaSet", "metadata": {"generation": 3}, "spec": {"replicas": 0},
            "status": {"observedGeneration": 3, "replicas": 1},
        });
        check(object, State::InProgress, "ExtraPods");
    }
}

mod pod {
    use super::*;

    fn waiting(field: &str, reason: &str) -> Value {
        json!({"kind": "Pod", "status": {"phase": "Pending", field: [
            {"name": "main", "state": {"waiting": {"reason": reason, "message": "why"}}},
        ]}})
    }

    #[test]
    fn ready_is_current() {
        let ready = json!({"type": "Ready", "status": "True"});
        let status = json!({"phase": "Running", "conditions": [ready]});
        check(json!({"kind": "Pod", "status": status}), State::Current, "");
    }

    #[test]
    fn succeeded_is_current() {
        check(json!({"kind": "Pod", "status": {"phase": "Succeeded"}}), State::Current, "");
    }

    #[test]
    fn evicted_is_failed() {
        let status = json!({"phase": "Failed", "reason": "Evicted"});
        check(json!({"kind": "Pod", "status": status}), State::Failed, "Evicted");
    }

    #[test]
    fn crash_loop_is_failed() {
        check(waiting("containerStatuses", "CrashLoopBackOff"), State::Failed, "CrashLoopBackOff");
    }

    #[test]
    fn crash_loop_of_an_init_container_is_failed() {
        let object = waiting("initContainerStatuses", "CrashLoopBackOff");
        check(object, State::Failed, "CrashLoopBackOff");
    }

    #[test]
    fn image_that_may_never_be_pulled_is_failed() {
        check(
            waiting("containerStatuses", "ErrImageNeverPull"),
            State::Failed,
            "ErrImageNeverPull",
        );
    }

    #[test]
    fn failing_pull_is_in_progress_with_its_reason() {
        let object = waiting("containerStatuses", "ImagePullBackOff");
        check(object, State::InProgress, "ImagePullBackOff");
    }

    #[test]
    fn without_a_node_is_in_progress() {
        let refusal = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"});
        let status = json!({"phase": "Pending", "conditions": [refusal]});
        check(json!({"kind": "Pod", "status": status}), State::InProgress, "Unschedulable");
    }

    #[test]
    fn on_a_lost_node_is_unknown() {
        check(json!({"kind": "Pod", "status": {"phase": "Unknown"}}), State::Unknown, "NodeLost");
    }
}

mod job {
    use super::*;

    fn job(conditions: Value) -> Value {
        json!({"kind": "Job", "metadata": {"generation": 1}, "status": {"conditions": conditions}})
    }

    #[test]
    fn running_is_in_progress() {
        check(job(json!([])), State::InProgress, "Running");
    }

    #[test]
    fn complete_is_current() {
        check(job(json!([{"type": "Complete", "status": "True"}])), State::Current, "");
    }

    #[test]
    fn about_to_fail_is_failed() {
        let target =
            json!([{"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded"}]);
        check(job(target), State::Failed, "BackoffLimitExceeded");
    }

    #[test]
    fn suspended_is_in_progress() {
        check(json!({"kind": "Job", "spec": {"suspend": true}}), State::InProgress, "Suspended");
    }
}

mod claim {
    use super::*;

    #[test]
    fn bound_is_current_pending_waits_lost_is_failed() {
        let claim =
            |phase: &str| json!({"kind": "PersistentVolumeClaim", "status": {"phase": phase}});
        check(claim("Bound"), State::Current, "");
        check(claim("Pending"), State::InProgress, "Pending");
        check(claim("Lost"), State::Failed, "Lost");
    }
}
