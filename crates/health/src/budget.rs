//! How long a pod may take, by what its own manifest grants.
//!
//! Each stage has its own budget, and its clock starts when the pod enters the stage. So a slow
//! pull does not eat the time of a slow start, and a pod that gets further is never called late.

use crate::fields::{condition, flag, list, named, number, text};
use serde_json::Value;
use std::{fmt, time::Duration};

/// Where a pod is on its way to being ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// No node has been chosen.
    Scheduling,
    /// Volumes are mounted, images pulled, containers created.
    Creating,
    /// An init container runs.
    Initialising,
    /// A container runs and its startup probe has not succeeded.
    Starting,
    /// All containers have started, and a readiness probe has not succeeded.
    Readying,
    /// Ready, or ended.
    Done,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Scheduling => "waits for a node",
            Stage::Creating => "waits for its volumes and images",
            Stage::Initialising => "runs its init containers",
            Stage::Starting => "is starting",
            Stage::Readying => "has started, is not ready",
            Stage::Done => "is done",
        })
    }
}

/// What no manifest says, and somebody has to grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowances {
    /// For a node to be chosen; minutes where an autoscaler has to bring one.
    pub schedule: Duration,
    /// For volumes and images.
    pub image_pull: Duration,
    /// For each init container that has no startup probe.
    pub init: Duration,
    /// For a container whose manifest has neither a startup nor a liveness probe.
    pub unprobed: Duration,
    /// Between the moment a budget ends and the moment the kubelet's last word has arrived.
    pub grace: Duration,
}

impl Default for Allowances {
    fn default() -> Self {
        Allowances {
            schedule: Duration::from_secs(30),
            image_pull: Duration::from_secs(180),
            init: Duration::from_secs(120),
            unprobed: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

/// What one pod is granted, stage by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// For [`Stage::Scheduling`].
    pub schedule: Duration,
    /// For [`Stage::Creating`].
    pub image_pull: Duration,
    /// For [`Stage::Initialising`], all init containers together.
    pub init: Duration,
    /// For [`Stage::Starting`]: the longest startup probe.
    pub startup: Duration,
    /// For [`Stage::Readying`]: the longest readiness probe.
    pub readiness: Duration,
}

impl Budget {
    /// Everything together: the longest that a pod which is well may take.
    pub fn total(&self) -> Duration {
        self.schedule + self.image_pull + self.init + self.startup + self.readiness
    }

    /// The part for one stage; none for a pod that is done.
    pub fn of(&self, stage: Stage) -> Option<Duration> {
        match stage {
            Stage::Scheduling => Some(self.schedule),
            Stage::Creating => Some(self.image_pull),
            Stage::Initialising => Some(self.init),
            Stage::Starting => Some(self.startup),
            Stage::Readying => Some(self.readiness),
            Stage::Done => None,
        }
    }
}

/// What this pod (or pod template) is granted.
pub fn budget(pod: &Value, allow: &Allowances) -> Budget {
    let containers = list(pod, "/spec/containers");
    let longest = |grant: &dyn Fn(&Value) -> Duration| {
        containers.iter().map(grant).max().unwrap_or_default() + allow.grace
    };
    let init = list(pod, "/spec/initContainers")
        .iter()
        .map(|it| it.get("startupProbe").map_or(allow.init, probe_time))
        .sum::<Duration>();
    Budget {
        schedule: allow.schedule,
        image_pull: allow.image_pull,
        init: init + allow.grace,
        startup: longest(&|it| it.get("startupProbe").map_or(allow.unprobed, probe_time)),
        readiness: longest(&|it| readiness_time(it, allow)),
    }
}

/// A readiness probe alone never gives up: what ends the wait is the liveness probe, which kills.
/// After a startup probe the readiness probe's own thresholds are all that is left to wait for.
fn readiness_time(container: &Value, allow: &Allowances) -> Duration {
    let readiness = container.get("readinessProbe").map(probe_time).unwrap_or_default();
    if container.get("startupProbe").is_some() {
        return readiness;
    }
    let liveness = container.get("livenessProbe").map_or(allow.unprobed, probe_time);
    readiness.max(liveness)
}

/// How long a probe may fail before the kubelet acts, with Kubernetes' defaults.
pub fn probe_time(probe: &Value) -> Duration {
    let seconds = |field: &str, default: i64| {
        let seconds = number(probe, field).unwrap_or(default);
        u64::try_from(seconds).unwrap_or(0)
    };
    let attempts = seconds("/failureThreshold", 3).max(seconds("/successThreshold", 1)).max(1);
    let seconds = seconds("/periodSeconds", 10)
        .max(1)
        .saturating_mul(attempts)
        .saturating_add(seconds("/initialDelaySeconds", 0))
        .saturating_add(seconds("/timeoutSeconds", 1).max(1));
    // A century is longer than any deadline, and leaves room for sums.
    Duration::from_secs(seconds.min(100 * 365 * 24 * 3600))
}

/// Where this pod is.
pub fn stage(pod: &Value) -> Stage {
    if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
        || condition(pod, "Ready", "True").is_some()
    {
        return Stage::Done;
    }
    if condition(pod, "PodScheduled", "True").is_none() && text(pod, "/spec/nodeName").is_empty() {
        return Stage::Scheduling;
    }
    let statuses = list(pod, "/status/initContainerStatuses");
    for container in list(pod, "/spec/initContainers") {
        match named(statuses, text(container, "/name")) {
            None => return Stage::Creating,
            Some(status) if init_is_over(container, status) => {}
            Some(status) if is_being_created(status) => return Stage::Creating,
            Some(_) => return Stage::Initialising,
        }
    }
    let statuses = list(pod, "/status/containerStatuses");
    if statuses.is_empty() || statuses.iter().any(is_being_created) {
        return Stage::Creating;
    }
    match statuses.iter().all(|it| flag(it, "/started") == Some(true)) {
        true => Stage::Readying,
        false => Stage::Starting,
    }
}

/// Init containers end; sidecars (those that restart always) only have to start.
fn init_is_over(container: &Value, status: &Value) -> bool {
    match text(container, "/restartPolicy") {
        "Always" => flag(status, "/started") == Some(true),
        _ => number(status, "/state/terminated/exitCode") == Some(0),
    }
}

/// Waiting for anything but its own restart.
fn is_being_created(status: &Value) -> bool {
    let reason = text(status, "/state/waiting/reason");
    status.pointer("/state/waiting").is_some() && reason != "CrashLoopBackOff"
}
