//! When a wait ends early, and when it must not.

use crate::objects::*;
use health::{Key, Kind, Target, Verdict};
use serde_json::{Value, json};

mod image {
    use super::*;

    #[track_caller]
    fn check(reason: &str, message: &str, word: &str) {
        let mut scene = Scene::new();
        scene.apply(pod("new", waiting(reason, message))).check(word, reason, "field image");
    }

    #[test]
    fn that_does_not_exist_is_impossible_at_the_first_attempt() {
        check("ErrImagePull", "rpc error: code = NotFound desc = x: not found", "impossible");
        check("ErrImagePull", "manifest unknown", "impossible");
    }

    #[test]
    fn that_was_not_loaded_is_impossible() {
        let refused = "dial tcp [::1]:443: connect: connection refused";
        check("ErrImagePull", refused, "impossible");
        check("ErrImageNeverPull", "image is not present with pull policy of Never", "impossible");
    }

    #[test]
    fn with_a_malformed_name_is_impossible() {
        check("InvalidImageName", "couldn't parse image name", "impossible");
    }

    #[test]
    fn of_a_registry_that_fails_for_a_moment_is_waited_for() {
        check("ErrImagePull", "unexpected status: 503 Service Unavailable", "waiting");
        check("ErrImagePull", "net/http: TLS handshake timeout", "waiting");
        check("ErrImagePull", "lookup reg.example on 10.0.0.10:53: no such host", "waiting");
    }

    #[test]
    fn pulled_too_long_is_late() {
        let mut scene = Scene::new();
        scene.apply(pod("new", waiting("ErrImagePull", "503"))).after(179);
        scene.check("waiting", "ErrImagePull", "");
        scene.after(2).check("late", "ErrImagePull", "");
    }

    #[test]
    fn error_is_remembered_when_the_back_off_hides_it() {
        let mut scene = Scene::new();
        scene.apply(pod("new", waiting("ErrImagePull", "manifest unknown")));
        scene.apply(pod("new", waiting("ImagePullBackOff", "Back-off pulling image")));
        scene.check("impossible", "ImagePullBackOff", "manifest unknown");
    }

    #[test]
    fn access_refused_once_proves_nothing_thrice_does() {
        let mut scene = Scene::new();
        let denied = || pod("new", waiting("ErrImagePull", "403 Forbidden"));
        let back_off = || pod("new", waiting("ImagePullBackOff", "Back-off pulling image"));
        scene.apply(denied()).apply(denied()).apply(denied()).check("waiting", "ErrImagePull", "");
        scene.apply(back_off()).apply(denied()).apply(back_off()).apply(denied());
        scene.check("doomed", "ErrImagePull", "403 Forbidden");
    }
}

mod config {
    use super::*;

    const REASON: &str = "CreateContainerConfigError";

    fn missing(message: &str) -> Scene {
        let mut scene = Scene::new();
        scene.apply(pod("new", waiting(REASON, message)));
        scene
    }

    fn producer(conditions: Value) -> Value {
        json!({
            "kind": "Job",
            "metadata": {
                "name": "mlflow-secrets", "uid": "job-1",
                "annotations": {"mlflow-gke.dev/produces": "Secret/mlflow-database, ConfigMap/other"},
            },
            "status": {"conditions": conditions},
        })
    }

    #[test]
    fn missing_secret_is_impossible() {
        missing("secret \"typo\" not found").check("impossible", REASON, "field env");
    }

    #[test]
    fn cache_that_lags_is_waited_for() {
        let message = "failed to sync secret cache: timed out waiting for the condition";
        missing(message).check("waiting", REASON, "");
    }

    #[test]
    fn root_image_is_impossible_and_names_the_field() {
        let message = "container has runAsNonRoot and image will run as root";
        missing(message).check("impossible", REASON, "securityContext.runAsNonRoot");
    }

    #[test]
    fn secret_that_a_running_job_makes_is_waited_for() {
        let mut scene = missing("secret \"mlflow-database\" not found");
        scene.apply(producer(json!([]))).check("waiting", REASON, "which a Job makes");
    }

    #[test]
    fn secret_that_a_finished_job_made_is_waited_for_until_the_kubelet_looks_again() {
        let mut scene = missing("secret \"mlflow-database\" not found");
        let complete = json!([{"type": "Complete", "status": "True"}]);
        scene.apply(producer(complete)).check("waiting", REASON, "which a Job makes");
        scene.after(200).check("late", REASON, "");
    }

    #[test]
    fn secret_of_a_failed_job_is_impossible() {
        let mut scene = missing("secret \"mlflow-database\" not found");
        let failed = json!([{"type": "Failed", "status": "True"}]);
        scene.apply(producer(failed)).check("impossible", REASON, "mlflow-database");
    }

    #[test]
    fn another_secret_is_impossible_whatever_jobs_run() {
        let mut scene = missing("secret \"mlflow-database-2\" not found");
        scene.apply(producer(json!([]))).check("impossible", REASON, "");
    }
}

mod crash {
    use super::*;

    #[test]
    fn once_is_waited_for() {
        let mut scene = Scene::new();
        scene.apply(pod("new", json!({"state": ended(1, 0, 5)})));
        scene.check("waiting", "CrashLoopBackOff", "exit code 1");
    }

    #[test]
    fn twice_with_the_same_code_is_doomed() {
        let mut scene = Scene::new();
        scene.apply(pod("new", json!({"state": ended(1, 0, 5)})));
        scene.apply(pod("new", restarted(1, ended(1, 0, 5))));
        assert!(scene.verdict().is_waiting());
        let mut second = restarted(1, ended(1, 0, 5));
        second["state"] = ended(1, 50, 52);
        scene.apply(pod("new", second)).check("doomed", "CrashLoopBackOff", "container mlflow");
        assert_eq!(scene.verdict().cause().unwrap().exit_code, Some(1));
        assert_eq!(
            scene.verdict().cause().unwrap().hint,
            "kubectl logs mlflow-new-1 --container mlflow --previous"
        );
    }

    #[test]
    fn twice_before_anybody_watched_is_doomed_as_well() {
        let mut scene = Scene::new();
        let mut container = waiting("CrashLoopBackOff", "back-off 10s");
        container["restartCount"] = json!(1);
        container["lastState"] = ended(3, 8, 9);
        scene.apply(pod("new", container)).check("doomed", "CrashLoopBackOff", "exit code 3");
    }

    #[test]
    fn twice_with_different_codes_is_waited_for() {
        let mut scene = Scene::new();
        let mut container = restarted(1, ended(1, 0, 5));
        container["state"] = ended(2, 50, 52);
        scene.apply(pod("new", container)).check("waiting", "CrashLoopBackOff", "exit code 2");
    }

    #[test]
    fn message_of_the_program_is_told() {
        let mut scene = Scene::new();
        let mut end = ended(1, 0, 5);
        end["terminated"]["message"] = json!("trace\nthe bucket is not there\n");
        scene.apply(pod("new", json!({"state": end})));
        scene.check("waiting", "CrashLoopBackOff", "exit code 1: the bucket is not there");
    }

    #[test]
    fn out_of_memory_twice_is_doomed_and_named() {
        let mut scene = Scene::new();
        let mut end = ended(137, 8, 9);
        end["terminated"]["reason"] = json!("OOMKilled");
        let mut container = waiting("CrashLoopBackOff", "");
        container["restartCount"] = json!(1);
        container["lastState"] = end;
        scene.apply(pod("new", container));
        scene.check("doomed", "OOMKilled", "field resources.limits.memory");
    }

    #[test]
    fn missing_program_is_impossible_at_once() {
        let mut scene = Scene::new();
        let mut end = ended(128, 0, 0);
        end["terminated"]["reason"] = json!("StartError");
        end["terminated"]["message"] = json!("exec: \"mlfow\": executable file not found in $PATH");
        scene.apply(pod("new", json!({"state": end}))).check("impossible", "StartError", "command");
    }

    #[test]
    fn of_an_init_container_is_seen() {
        let mut scene = Scene::new();
        let mut object = pod("new", waiting("PodInitializing", ""));
        object["spec"]["initContainers"] = json!([{"name": "wait"}]);
        object["status"]["initContainerStatuses"] = json!([{
            "name": "wait", "restartCount": 2, "lastState": ended(4, 8, 9),
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        }]);
        scene.apply(object).check("doomed", "CrashLoopBackOff", "container wait");
    }

    #[test]
    fn init_container_that_ended_well_is_no_crash() {
        let mut scene = Scene::new();
        let mut object = pod("new", json!({"state": {"running": {}}}));
        object["spec"]["initContainers"] = json!([{"name": "wait"}]);
        object["status"]["initContainerStatuses"] = json!([{
            "name": "wait", "restartCount": 2, "state": ended(0, 8, 9),
        }]);
        scene.apply(object).check("waiting", "NotReady", "is starting");
    }

    #[test]
    fn beside_a_ready_pod_is_waited_for() {
        let mut scene = Scene::new();
        let mut container = waiting("CrashLoopBackOff", "");
        container["restartCount"] = json!(1);
        container["lastState"] = ended(1, 8, 9);
        let mut well = pod("new", json!({"started": true, "ready": true}));
        well["metadata"]["name"] = json!("mlflow-new-2");
        well["metadata"]["uid"] = json!("pod-new-2");
        well["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        scene.apply(pod("new", container)).apply(well);
        assert!(scene.verdict().is_waiting());
    }

    #[test]
    fn of_an_older_revision_is_nobodys_business() {
        let mut scene = Scene::new();
        let mut container = waiting("CrashLoopBackOff", "");
        container["restartCount"] = json!(9);
        container["lastState"] = ended(1, 8, 9);
        scene.apply(replica_set("old", 1)).apply(pod("old", container));
        scene.check("waiting", "LessReady", "ready 0/1");
    }

    #[test]
    fn of_a_pod_on_its_way_out_is_nobodys_business() {
        let mut scene = Scene::new();
        let mut container = waiting("CrashLoopBackOff", "");
        container["restartCount"] = json!(9);
        container["lastState"] = ended(1, 8, 9);
        let mut object = pod("new", container);
        object["metadata"]["deletionTimestamp"] = json!(time(9));
        scene.apply(object).check("waiting", "LessReady", "");
    }
}

mod dependency {
    use super::*;

    fn needing_postgres() -> Scene {
        let mut scene = Scene::new();
        scene.target = scene.target.clone().depends_on([Key::new(Kind::Deployment, "postgres")]);
        scene
    }

    fn crashed_twice(from: u32) -> Value {
        let mut container = restarted(1, ended(1, from, from + 1));
        container["state"] = ended(1, from + 2, from + 3);
        pod("new", container)
    }

    #[test]
    fn crashes_without_it_prove_nothing() {
        let mut scene = needing_postgres();
        scene.apply(crashed_twice(10));
        scene.check("waiting", "CrashLoopBackOff", "needs deployment/postgres");
        scene.after(900).check("waiting", "CrashLoopBackOff", "");
    }

    #[test]
    fn crashes_from_before_it_was_ready_do_not_count() {
        let mut scene = needing_postgres();
        scene.apply(crashed_twice(10)).apply(available("postgres", 40));
        scene.check("waiting", "CrashLoopBackOff", "exit code 1");
    }

    #[test]
    fn crashes_from_after_it_was_ready_count() {
        let mut scene = needing_postgres();
        scene.apply(available("postgres", 5)).apply(crashed_twice(10));
        scene.check("doomed", "CrashLoopBackOff", "exit code 1");
    }

    #[test]
    fn clock_starts_when_it_is_ready() {
        let mut scene = needing_postgres();
        scene.apply(pod("new", json!({"state": {"running": {}}})));
        scene.after(500).apply(available("postgres", 5)).after(60);
        scene.check("waiting", "NotReady", "is starting");
        scene.after(10).check("late", "NotReady", "is starting");
    }
}

mod budgets {
    use super::*;

    #[test]
    fn startup_is_late_when_its_probe_has_used_all_it_was_granted() {
        let mut scene = Scene::new();
        scene.apply(pod("new", json!({"state": {"running": {}}}))).after(65);
        scene.check("waiting", "NotReady", "is starting");
        scene.after(1).check("late", "NotReady", "is starting");
    }

    #[test]
    fn budget_and_its_use_are_told() {
        let mut scene = Scene::new();
        scene.apply(pod("new", json!({"state": {"running": {}}}))).after(20);
        let Verdict::Waiting { budget, used, .. } = scene.verdict() else { panic!() };
        // 60 probes of 1 s, the last one's time-out of 1 s, 5 s of grace.
        assert_eq!((budget.unwrap().as_secs(), used.as_secs()), (66, 20));
    }

    #[test]
    fn next_stage_has_its_own_clock() {
        let mut scene = Scene::new();
        scene.apply(pod("new", json!({"state": {"running": {}}}))).after(60);
        scene.apply(pod("new", json!({"state": {"running": {}}, "started": true}))).after(11);
        scene.check("waiting", "NotReady", "has started, is not ready");
        scene.after(1).check("late", "NotReady", "has started, is not ready");
    }

    #[test]
    fn newest_warning_words_the_verdict() {
        let mut scene = Scene::new();
        let failing = "Startup probe failed: HTTP probe failed with statuscode: 503";
        scene.apply(pod("new", json!({"state": {"running": {}}})));
        scene.apply(event("pod-new", "Unhealthy", failing)).after(70);
        scene.check("late", "NotReady", "field startupProbe").check("late", "NotReady", "503");
    }

    #[test]
    fn warning_about_a_stage_that_is_passed_is_not_told() {
        let mut scene = Scene::new();
        scene.apply(pod("new", json!({"state": {"running": {}}})));
        scene.apply(event("pod-new", "FailedScheduling", "0/1 nodes are available"));
        scene.apply(event("pod-new", "FailedMount", "secret \"x\" not found"));
        let verdict = scene.verdict();
        assert_eq!(verdict.cause().unwrap().message, "is starting");
    }

    #[test]
    fn kill_by_the_probe_does_not_buy_time() {
        let mut scene = Scene::new();
        scene.apply(pod("new", json!({"state": {"running": {}}}))).after(64);
        scene.apply(pod("new", restarted(1, ended(137, 0, 60)))).after(3);
        assert_eq!(scene.verdict().word(), "late");
    }

    #[test]
    fn own_exit_starts_the_probes_anew() {
        let mut scene = Scene::new();
        scene.apply(pod("new", json!({"state": {"running": {}}}))).after(50);
        scene.apply(pod("new", restarted(1, ended(1, 0, 50)))).after(50);
        assert!(scene.verdict().is_waiting());
    }

    #[test]
    fn clocks_start_anew_after_a_time_without_sight() {
        let mut scene = Scene::new();
        scene.apply(pod("new", json!({"state": {"running": {}}}))).after(300);
        scene.seen.restart_clocks(scene.now);
        scene.check("waiting", "NotReady", "");
    }
}

mod scheduling {
    use super::*;

    fn refused(message: &str) -> Scene {
        let mut scene = Scene::new();
        let mut object = pod("new", json!({}));
        object["status"]["containerStatuses"] = json!([]);
        object["status"]["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message,
        }]);
        scene.apply(object);
        scene
    }

    const NO_ROOM: &str = "0/1 nodes are available: 1 Insufficient memory.";

    #[test]
    fn without_room_and_autoscaler_is_impossible() {
        refused(NO_ROOM).check("impossible", "Unschedulable", "field resources.requests");
    }

    #[test]
    fn without_room_is_waited_for_while_an_autoscaler_may_help() {
        let mut scene = refused(NO_ROOM);
        scene.rules.autoscaler = true;
        scene.check("waiting", "Unschedulable", "Insufficient memory");
    }

    #[test]
    fn autoscaler_that_cannot_help_dooms_it() {
        let mut scene = refused(NO_ROOM);
        scene.rules.autoscaler = true;
        scene.apply(event("pod-new", "NotTriggerScaleUp", "pod didn't trigger scale-up"));
        scene.check("doomed", "Unschedulable", "didn't trigger scale-up");
    }

    #[test]
    fn node_that_is_not_ready_yet_is_waited_for() {
        let taint = "0/1 nodes are available: 1 node(s) had untolerated taint \
            {node.kubernetes.io/not-ready: }.";
        let mut scene = refused(taint);
        scene.check("waiting", "Unschedulable", "not-ready");
        scene.after(30).check("late", "Unschedulable", "not-ready");
    }

    #[test]
    fn room_that_an_old_pod_still_holds_is_waited_for() {
        let mut scene = refused(NO_ROOM);
        let mut old = pod("old", json!({"started": true}));
        old["metadata"]["deletionTimestamp"] = json!(time(9));
        scene.apply(replica_set("old", 1)).apply(old).check("waiting", "Unschedulable", "");
    }

    #[test]
    fn claim_without_a_storage_class_is_impossible_and_named() {
        let mut scene = Scene::new();
        let mut object = pod("new", json!({}));
        object["status"]["conditions"] = json!([]);
        object["spec"]["volumes"] = json!([{"persistentVolumeClaim": {"claimName": "data"}}]);
        scene.apply(object).apply(json!({
            "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "uid": "claim-data"},
            "status": {"phase": "Pending"},
        }));
        let missing = "storageclass.storage.k8s.io \"fast\" not found";
        scene.apply(event("claim-data", "ProvisioningFailed", missing));
        scene.check("impossible", "ProvisioningFailed", "persistentvolumeclaim/data");
    }
}

mod volume {
    use super::*;

    fn unmounted(message: &str) -> Scene {
        let mut scene = Scene::new();
        scene.apply(pod("new", waiting("ContainerCreating", "")));
        scene.apply(event("pod-new", "FailedMount", message));
        scene
    }

    #[test]
    fn of_a_missing_secret_is_impossible() {
        let message = "MountVolume.SetUp failed for volume \"p\" : secret \"typo\" not found";
        unmounted(message).check("impossible", "FailedMount", "typo");
    }

    #[test]
    fn that_times_out_is_waited_for() {
        unmounted("Unable to attach or mount volumes: timed out").check(
            "waiting",
            "FailedMount",
            "",
        );
    }

    #[test]
    fn of_a_secret_being_made_is_waited_for() {
        let mut scene = unmounted("MountVolume.SetUp failed : secret \"made\" not found");
        scene.rules.produced.insert("Secret/made".to_owned());
        scene.check("waiting", "FailedMount", "");
    }

    #[test]
    fn of_a_namespace_made_a_moment_ago_is_waited_for() {
        let message = "MountVolume.SetUp failed for volume \"kube-api-access-ztwcb\" : \
                       configmap \"kube-root-ca.crt\" not found";
        unmounted(message).check("waiting", "FailedMount", "kube-root-ca.crt");
        unmounted(message).after(181).check("late", "FailedMount", "kube-root-ca.crt");
    }

    #[test]
    fn old_event_of_a_running_pod_is_history() {
        let mut scene = unmounted("secret \"late\" not found");
        scene.apply(pod("new", json!({"state": {"running": {}}})));
        assert!(scene.verdict().is_waiting());
    }
}

mod creation {
    use super::*;

    fn refused(message: &str) -> Scene {
        let mut scene = Scene::new();
        let mut set = replica_set("new", 2);
        set["status"]["conditions"] =
            json!([{"type": "ReplicaFailure", "status": "True", "message": message}]);
        scene.apply(set);
        scene
    }

    #[test]
    fn refused_by_pod_security_is_impossible() {
        let message = "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\"";
        refused(message).check("impossible", "FailedCreate", "field securityContext");
    }

    #[test]
    fn without_its_service_account_is_impossible() {
        let message = "pods \"x\" is forbidden: error looking up service account mlflow/mlflow: \
            serviceaccount \"mlflow\" not found";
        refused(message).check("impossible", "FailedCreate", "serviceAccountName");
    }

    #[test]
    fn beyond_the_quota_is_impossible() {
        let message = "pods \"x\" is forbidden: exceeded quota: q";
        refused(message).check("impossible", "FailedCreate", "field resources");
    }

    #[test]
    fn beyond_the_quota_is_waited_for_while_old_pods_go() {
        let mut scene = refused("pods \"x\" is forbidden: exceeded quota: q");
        scene.apply(replica_set("old", 1)).apply(pod("old", json!({"started": true})));
        scene.check("waiting", "FailedCreate", "exceeded quota");
    }

    #[test]
    fn webhook_that_does_not_answer_is_waited_for() {
        refused("failed calling webhook: connection refused").check("waiting", "FailedCreate", "");
    }
}

mod mended {
    //! The same pod, seen before the write and not tried again since.
    use super::*;

    /// A pod as it was found, and a write after that.
    fn found(object: Value) -> Scene {
        let mut scene = Scene::new();
        scene.apply(object).after(1);
        scene.rules.since = scene.now;
        scene
    }

    #[test]
    fn missing_secret_is_waited_for_until_the_kubelet_misses_it_again() {
        let message = "secret \"typo\" not found";
        let mut scene = found(pod("new", waiting("CreateContainerConfigError", message)));
        scene.check("waiting", "CreateContainerConfigError", "typo");
        scene.after(10).apply(event("pod-new", "Failed", &format!("Error: {message}")));
        scene.check("impossible", "CreateContainerConfigError", "typo");
    }

    #[test]
    fn missing_image_is_waited_for_until_it_is_pulled_again() {
        let mut scene = found(pod("new", waiting("ErrImagePull", "x: not found")));
        scene.apply(pod("new", waiting("ImagePullBackOff", "Back-off pulling image")));
        scene.apply(event("pod-new", "BackOff", "Back-off pulling image"));
        scene.check("waiting", "ImagePullBackOff", "not found");
        scene.apply(pod("new", waiting("ErrImagePull", "x: not found")));
        scene.check("impossible", "ErrImagePull", "not found");
    }

    #[test]
    fn old_crashes_are_waited_out_and_two_new_ones_doom() {
        let mut container = waiting("CrashLoopBackOff", "");
        container["restartCount"] = json!(9);
        container["lastState"] = ended(1, 8, 9);
        let mut scene = found(pod("new", container));
        scene.check("waiting", "CrashLoopBackOff", "exit code 1");
        let mut next = restarted(10, ended(1, 8, 9));
        next["state"] = ended(1, 60, 61);
        scene.after(5).apply(pod("new", next)).check("waiting", "CrashLoopBackOff", "");
        let mut last = restarted(11, ended(1, 60, 61));
        last["state"] = ended(1, 90, 91);
        scene.apply(pod("new", last)).check("doomed", "CrashLoopBackOff", "exit code 1");
    }

    #[test]
    fn refused_pods_are_waited_for_until_they_are_refused_again() {
        let message = "pods \"x\" is forbidden: error looking up service account";
        let mut set = replica_set("new", 2);
        set["status"]["conditions"] =
            json!([{"type": "ReplicaFailure", "status": "True", "message": message}]);
        let mut scene = found(set);
        scene.check("waiting", "FailedCreate", "forbidden");
        scene.apply(event("set-new", "FailedCreate", "pods \"y\" is forbidden"));
        scene.check("impossible", "FailedCreate", "forbidden");
    }

    #[test]
    fn deadline_of_before_does_not_outweigh_a_pod_within_its_budget() {
        let mut scene = found(pod("new", json!({"state": {"running": {}}})));
        let mut object = deployment();
        object["status"]["conditions"] = json!([
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
        ]);
        scene.apply(object).check("waiting", "NotReady", "is starting");
        scene.after(66).check("late", "NotReady", "is starting");
    }
}

mod stale {
    use super::*;

    #[test]
    fn missing_object_is_waited_for() {
        let mut scene = Scene::new();
        scene.target = Target::new(Kind::Deployment, "other");
        scene.check("waiting", "NotFound", "");
    }

    #[test]
    fn older_generation_than_the_one_written_is_not_believed() {
        let mut scene = Scene::new();
        scene.apply(available("mlflow", 5));
        assert!(scene.verdict().is_healthy());
        scene.target.generation = Some(3);
        scene.check("waiting", "StaleGeneration", "");
    }

    #[test]
    fn job_of_the_same_name_from_before_is_not_believed() {
        let mut scene = Scene::new();
        let job = |uid: &str, conditions: Value| {
            json!({
                "kind": "Job", "metadata": {"name": "migrate", "uid": uid, "generation": 1},
                "status": {"conditions": conditions},
            })
        };
        let complete = json!([{"type": "Complete", "status": "True"}]);
        scene.target = Target::written(&job("second", json!([]))).unwrap();
        scene.apply(job("first", complete.clone())).check("waiting", "Replaced", "");
        scene.apply(job("second", complete));
        assert!(scene.verdict().is_healthy());
    }

    #[test]
    fn deployment_seen_before_its_new_replica_set_has_no_pods() {
        let mut scene = Scene::new();
        let mut newer = deployment();
        newer["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("3");
        let mut container = waiting("CrashLoopBackOff", "");
        container["restartCount"] = json!(9);
        container["lastState"] = ended(1, 8, 9);
        scene.apply(newer).apply(pod("new", container)).check("waiting", "LessReady", "");
    }

    #[test]
    fn event_and_kinds_that_need_no_wait_are_no_targets() {
        assert_eq!(Target::written(&json!({"kind": "ConfigMap"})), None);
        assert_eq!(Target::written(&json!({"kind": "Event"})), None);
    }
}

mod refused_by_postgresql {
    use super::*;
    use std::time::Duration;

    const REFUSAL: &str = "2026-11-22T10:00:05Z mlflow-server: error: database `mlflow` at postgres:5432: \
        FATAL:  password authentication failed for user \"mlflow\"";

    /// An end of a run that took from one second to another, with the log's end that the kubelet
    /// adds (`terminationMessagePolicy: FallbackToLogsOnError`).
    fn refused(from: u32, to: u32) -> Value {
        let mut end = ended(1, from, to);
        end["terminated"]["message"] =
            json!(format!("{REFUSAL}\n2026-11-22T10:00:05Z mlflow-server: hint: compare\n"));
        end
    }

    /// The back-off after that run.
    fn back_off(last: Value) -> Value {
        let mut container = waiting("CrashLoopBackOff", "back-off 40s restarting failed container");
        container["restartCount"] = json!(3);
        container["lastState"] = last;
        container
    }

    #[test]
    fn once_is_doomed_in_its_own_words_with_the_fix() {
        let mut scene = Scene::new();
        scene.apply(pod("new", json!({"state": refused(0, 5)})));
        scene.check("doomed", "CrashLoopBackOff", "password authentication failed for user");
        let hint = scene.verdict().cause().unwrap().hint.clone();
        assert!(hint.contains("kubectl rollout restart deployment/mlflow"), "{hint}");
    }

    #[test]
    fn before_the_deploy_is_told_at_once_and_doomed_at_the_next_refusal() {
        let mut scene = Scene::new();
        scene.apply(pod("new", back_off(refused(0, 5)))).after(2);
        scene.rules.since = Duration::from_secs(1);
        scene.check("waiting", "CrashLoopBackOff", "password authentication failed for user");
        scene.after(30).apply(pod("new", back_off(refused(50, 52))));
        scene.check("doomed", "CrashLoopBackOff", "password authentication failed for user");
    }

    #[test]
    fn before_the_deploy_is_forgotten_when_the_next_run_goes_well() {
        let mut scene = Scene::new();
        scene.apply(pod("new", back_off(refused(0, 5)))).after(2);
        scene.rules.since = Duration::from_secs(1);
        scene.after(30).apply(pod("new", restarted(4, refused(0, 5))));
        scene.check("waiting", "NotReady", "is starting");
    }

    #[test]
    fn while_the_database_is_not_current_proves_nothing() {
        let mut scene = Scene::new();
        scene.target = scene.target.clone().depends_on([Key::new(Kind::Deployment, "postgres")]);
        scene.apply(pod("new", json!({"state": refused(0, 5)})));
        scene.check("waiting", "CrashLoopBackOff", "password authentication failed for user");
    }

    #[test]
    fn a_database_that_does_not_answer_yet_is_waited_for() {
        let mut scene = Scene::new();
        let mut end = ended(1, 0, 5);
        end["terminated"]["message"] = json!("error: connection refused\nhint: get pods\n");
        scene.apply(pod("new", json!({"state": end})));
        scene.check("waiting", "CrashLoopBackOff", "exit code 1: error: connection refused");
    }

    #[test]
    fn dooms_a_job_that_would_try_for_minutes() {
        let mut scene = super::job::scene(json!([]), json!({"state": refused(0, 5)}));
        scene.check("doomed", "Error", "password authentication failed for user");
        // Its pods that failed stay; so does what they said.
        let mut failed = scene.seen.get(&Key::new(Kind::Pod, "mlflow-x-1")).unwrap().clone();
        failed["status"]["phase"] = json!("Failed");
        scene.apply(failed).check("doomed", "Error", "password authentication failed for user");
        scene.after(2).rules.since = Duration::from_secs(1);
        scene.check("waiting", "Error", "password authentication failed for user");
    }
}

mod job {
    use super::*;

    pub(super) fn scene(conditions: Value, pod_state: Value) -> Scene {
        let mut scene = Scene::new();
        scene.target = Target::new(Kind::Job, "migrate");
        scene.apply(json!({
            "kind": "Job", "metadata": {"name": "migrate", "uid": "job-1"},
            "spec": {"backoffLimit": 3}, "status": {"failed": 1, "conditions": conditions},
        }));
        let mut object = pod("x", pod_state);
        object["metadata"]["ownerReferences"] = json!([{"uid": "job-1"}]);
        object["spec"]["restartPolicy"] = json!("Never");
        scene.apply(object);
        scene
    }

    #[test]
    fn that_has_given_up_is_doomed_and_names_the_exit() {
        let failed = json!([{
            "type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded",
        }]);
        let scene = scene(failed, json!({"state": ended(7, 0, 3)}));
        scene.check("doomed", "Error", "exit code 7").check(
            "doomed",
            "Error",
            "BackoffLimitExceeded",
        );
        let verdict = scene.verdict();
        assert_eq!(verdict.cause().unwrap().pod(), Some("mlflow-x-1"));
        assert_eq!(verdict.cause().unwrap().hint, "kubectl logs mlflow-x-1 --container mlflow");
    }

    #[test]
    fn that_tries_again_is_waited_for() {
        let scene = scene(json!([]), json!({"state": ended(7, 0, 3), "restartCount": 3}));
        assert!(scene.verdict().is_waiting());
    }

    #[test]
    fn whose_image_is_missing_is_impossible() {
        let scene = scene(json!([]), waiting("ErrImageNeverPull", "not present"));
        scene.check("impossible", "ErrImageNeverPull", "pod/mlflow-x-1");
    }

    #[test]
    fn whose_pod_is_refused_is_impossible() {
        let mut scene = Scene::new();
        scene.target = Target::new(Kind::Job, "migrate");
        scene.apply(json!({"kind": "Job", "metadata": {"name": "migrate", "uid": "job-1"}}));
        let message = "pods \"migrate-x\" is forbidden: violates PodSecurity";
        scene.apply(event("job-1", "FailedCreate", message));
        scene.check("impossible", "FailedCreate", "job/migrate");
    }
}

mod claim {
    use super::*;

    #[test]
    fn that_waits_for_its_first_consumer_is_healthy() {
        let mut scene = Scene::new();
        scene.target = Target::new(Kind::PersistentVolumeClaim, "data");
        scene.apply(json!({
            "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "uid": "claim-data"},
            "status": {"phase": "Pending"},
        }));
        scene.check("waiting", "Pending", "");
        scene.apply(event("claim-data", "WaitForFirstConsumer", "waiting for first consumer"));
        assert!(scene.verdict().is_healthy());
    }
}

mod stateful_set {
    use super::*;

    #[test]
    fn pods_of_its_update_revision_count() {
        let mut scene = Scene::new();
        scene.target = Target::new(Kind::StatefulSet, "postgres");
        scene.apply(json!({
            "kind": "StatefulSet",
            "metadata": {"name": "postgres", "uid": "set-s", "generation": 1},
            "spec": {"replicas": 1},
            "status": {"observedGeneration": 1, "replicas": 1, "updateRevision": "postgres-2"},
        }));
        let mut container = waiting("CrashLoopBackOff", "");
        container["restartCount"] = json!(1);
        container["lastState"] = ended(1, 8, 9);
        let mut object = pod("s", container);
        object["metadata"]["labels"] = json!({"controller-revision-hash": "postgres-1"});
        scene.apply(object.clone()).check("waiting", "LessReady", "");
        object["metadata"]["labels"] = json!({"controller-revision-hash": "postgres-2"});
        scene.apply(object).check("doomed", "CrashLoopBackOff", "");
    }
}

mod count {
    use super::*;

    /// After a stop of the node the Deployment's status is older than its pods'.
    #[test]
    fn that_the_pods_deny_is_not_believed() {
        let mut scene = Scene::new();
        scene.apply(available("mlflow", 10));
        assert!(scene.verdict().is_healthy(), "no pod has been seen, the count stands");
        scene.apply(pod("new", json!({"state": {"running": {"startedAt": time(50)}}})));
        assert!(scene.verdict().is_waiting(), "{:?}", scene.verdict());
    }
}
