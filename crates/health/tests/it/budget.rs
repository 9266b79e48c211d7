//! What a pod's own manifest grants.

use health::budget::{Allowances, Stage, budget, probe_time, stage};
use serde_json::{Value, json};
use std::time::Duration;

const NONE: Allowances = Allowances {
    schedule: Duration::ZERO,
    image_pull: Duration::ZERO,
    init: Duration::ZERO,
    unprobed: Duration::ZERO,
    grace: Duration::ZERO,
};

mod probe {
    use super::*;

    #[track_caller]
    fn check(probe: Value, seconds: u64) {
        assert_eq!(probe_time(&probe), Duration::from_secs(seconds));
    }

    #[test]
    fn grants_delay_and_attempts_and_the_last_time_out() {
        let probe = json!({
            "initialDelaySeconds": 5, "periodSeconds": 2, "failureThreshold": 30, "timeoutSeconds": 3,
        });
        check(probe, 5 + 2 * 30 + 3);
    }

    #[test]
    fn without_numbers_has_kubernetes_defaults() {
        check(json!({"httpGet": {"port": 5000}}), 10 * 3 + 1);
    }

    #[test]
    fn with_absurd_numbers_does_not_overflow() {
        let most = i64::MAX;
        let probe =
            json!({"initialDelaySeconds": most, "periodSeconds": most, "failureThreshold": most});
        check(probe, 100 * 365 * 24 * 3600);
        check(json!({"periodSeconds": -5, "failureThreshold": -1, "initialDelaySeconds": -9}), 2);
    }
}

mod pod {
    use super::*;

    #[test]
    fn longest_container_counts() {
        let probe = |threshold: i64| json!({"startupProbe": {"periodSeconds": 1, "failureThreshold": threshold}});
        let pod = json!({"spec": {"containers": [probe(10), probe(60), probe(20)]}});
        assert_eq!(budget(&pod, &NONE).startup, Duration::from_secs(61));
    }

    #[test]
    fn init_containers_run_one_after_the_other() {
        let allow = Allowances { init: Duration::from_secs(7), ..NONE };
        let sidecar = json!({"startupProbe": {"periodSeconds": 1, "failureThreshold": 10}});
        let pod = json!({"spec": {"initContainers": [{}, {}, sidecar], "containers": [{}]}});
        assert_eq!(budget(&pod, &allow).init, Duration::from_secs(7 + 7 + 11));
    }

    #[test]
    fn readiness_probe_alone_waits_as_long_as_the_liveness_probe() {
        let container = json!({
            "readinessProbe": {"periodSeconds": 1, "failureThreshold": 3},
            "livenessProbe": {"initialDelaySeconds": 30, "periodSeconds": 10, "failureThreshold": 6},
        });
        let pod = json!({"spec": {"containers": [container]}});
        assert_eq!(budget(&pod, &NONE).readiness, Duration::from_secs(30 + 60 + 1));
    }

    #[test]
    fn readiness_after_a_startup_probe_is_its_own() {
        let container = json!({
            "startupProbe": {"periodSeconds": 1, "failureThreshold": 100},
            "readinessProbe": {"periodSeconds": 2, "failureThreshold": 3},
        });
        let pod = json!({"spec": {"containers": [container]}});
        assert_eq!(budget(&pod, &NONE).readiness, Duration::from_secs(7));
    }

    #[test]
    fn total_is_the_sum_of_the_stages() {
        let allow = Allowances {
            schedule: Duration::from_secs(1),
            image_pull: Duration::from_secs(20),
            ..NONE
        };
        let container = json!({
            "startupProbe": {"periodSeconds": 1, "failureThreshold": 300},
            "readinessProbe": {"periodSeconds": 1, "failureThreshold": 3},
        });
        let pod = json!({"spec": {"containers": [container]}});
        assert_eq!(budget(&pod, &allow).total(), Duration::from_secs(1 + 20 + 301 + 4));
    }
}

mod stages {
    use super::*;

    #[track_caller]
    fn check(status: Value, expected: Stage) {
        let pod = json!({
            "spec": {
                "initContainers": [{"name": "wait"}, {"name": "proxy", "restartPolicy": "Always"}],
                "containers": [{"name": "main"}],
            },
            "status": status,
        });
        assert_eq!(stage(&pod), expected);
    }

    fn status(init: Value, containers: Value) -> Value {
        let scheduled = json!({"type": "PodScheduled", "status": "True"});
        json!({
            "phase": "Pending", "conditions": [scheduled],
            "initContainerStatuses": init, "containerStatuses": containers,
        })
    }

    fn done() -> Value {
        json!([
            {"name": "wait", "state": {"terminated": {"exitCode": 0}}},
            {"name": "proxy", "started": true, "state": {"running": {}}},
        ])
    }

    #[test]
    fn pod_without_a_node_is_scheduling() {
        check(json!({"phase": "Pending"}), Stage::Scheduling);
    }

    #[test]
    fn pod_with_a_node_and_no_container_is_creating() {
        check(status(json!([]), json!([])), Stage::Creating);
    }

    #[test]
    fn running_init_container_is_initialising() {
        let init = json!([{"name": "wait", "state": {"running": {}}}]);
        check(status(init, json!([])), Stage::Initialising);
    }

    #[test]
    fn sidecar_only_has_to_start() {
        let waiting =
            json!([{"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}]);
        check(status(done(), waiting), Stage::Creating);
    }

    #[test]
    fn container_in_its_back_off_is_starting() {
        let waiting =
            json!([{"name": "main", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]);
        check(status(done(), waiting), Stage::Starting);
    }

    #[test]
    fn started_container_is_readying() {
        let running = json!([{"name": "main", "started": true, "state": {"running": {}}}]);
        check(status(done(), running), Stage::Readying);
    }

    #[test]
    fn ended_pod_is_done() {
        check(json!({"phase": "Failed"}), Stage::Done);
    }
}
