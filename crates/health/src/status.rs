//! Decides whether a Kubernetes object has settled, from the object alone.
//!
//! The generation comes before anything else: a status that was written for an older spec says
//! nothing about this one, however green it looks.

use crate::fields::{condition, flag, list, number, text};
use serde_json::Value;
use std::fmt;

/// How far an object has come on the way to what its spec asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A controller is still at work.
    InProgress,
    /// The object is what its spec asks for.
    Current,
    /// A controller has given up, or says that it fails again and again.
    Failed,
    /// The object is being deleted.
    Terminating,
    /// There is no such object.
    NotFound,
    /// The object does not say enough.
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::InProgress => "in progress",
            State::Current => "current",
            State::Failed => "failed",
            State::Terminating => "terminating",
            State::NotFound => "not found",
            State::Unknown => "unknown",
        })
    }
}

/// What one object says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// How far it has come.
    pub state: State,
    /// One word for why, such as `LessReady`, `CrashLoopBackOff`; empty when all is well.
    pub reason: String,
    /// One line for people, such as `ready 0/1`.
    pub message: String,
}

impl Status {
    fn new(state: State, reason: &str, message: impl Into<String>) -> Status {
        Status { state, reason: reason.to_owned(), message: message.into() }
    }

    fn current(message: impl Into<String>) -> Status {
        Status::new(State::Current, "", message)
    }

    fn in_progress(reason: &str, message: impl Into<String>) -> Status {
        Status::new(State::InProgress, reason, message)
    }

    fn failed(reason: &str, message: impl Into<String>) -> Status {
        Status::new(State::Failed, reason, message)
    }
}

/// Reads an object as the API server returned it; `Value::Null` stands for an object that is not
/// there.
///
/// A claim that waits for its first consumer looks like any pending claim from here: only
/// [`crate::diagnose`], which sees its events, calls it healthy.
pub fn assess(object: &Value) -> Status {
    if object.is_null() {
        return Status::new(State::NotFound, "NotFound", "no such object");
    }
    let kind = text(object, "/kind");
    if kind.is_empty() {
        return Status::new(State::Unknown, "NoKind", "an object without a kind");
    }
    if !text(object, "/metadata/deletionTimestamp").is_empty() {
        return Status::new(State::Terminating, "Terminating", "being deleted");
    }
    if let Some(stale) = stale(object, kind) {
        return stale;
    }
    match kind {
        "Deployment" => deployment(object),
        "StatefulSet" => stateful_set(object),
        "DaemonSet" => daemon_set(object),
        "ReplicaSet" => replica_set(object),
        "Pod" => pod(object),
        "Job" => job(object),
        "PersistentVolumeClaim" => claim(object),
        "Service" => service(object),
        "Namespace" => namespace(object),
        "CustomResourceDefinition" => definition(object),
        _ => Status::current("exists"),
    }
}

/// A status that was not written for this generation of the spec.
fn stale(object: &Value, kind: &str) -> Option<Status> {
    let observes = matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet");
    let observed = number(object, "/status/observedGeneration");
    let generation = number(object, "/metadata/generation");
    let is_stale = match (generation, observed) {
        (Some(generation), Some(observed)) => observed < generation,
        (_, None) => observes,
        (None, Some(_)) => false,
    };
    is_stale.then(|| {
        let (generation, observed) = (generation.unwrap_or(0), observed.unwrap_or(0));
        let message = format!("generation {generation}, the controller has seen {observed}");
        Status::in_progress("StaleGeneration", message)
    })
}

/// The first of `counts` that has not arrived: reason, word, have, want.
fn lagging(counts: &[(&str, &str, i64, i64)]) -> Option<Status> {
    let (reason, word, have, want) = counts.iter().find(|(_, _, have, want)| have < want)?;
    Some(Status::in_progress(reason, format!("{word} {have}/{want}")))
}

fn count(object: &Value, field: &str) -> i64 {
    number(object, &format!("/status/{field}")).unwrap_or(0)
}

fn wanted_replicas(object: &Value) -> i64 {
    number(object, "/spec/replicas").unwrap_or(1)
}

fn deployment(object: &Value) -> Status {
    let want = wanted_replicas(object);
    if let Some(it) = condition(object, "Progressing", "False")
        && text(it, "/reason") == "ProgressDeadlineExceeded"
    {
        return Status::failed("ProgressDeadlineExceeded", text(it, "/message"));
    }
    if let Some(it) = condition(object, "ReplicaFailure", "True") {
        return Status::in_progress(text(it, "/reason"), text(it, "/message"));
    }
    let total = count(object, "replicas");
    let updated = count(object, "updatedReplicas");
    let available = count(object, "availableReplicas");
    if let Some(status) = lagging(&[
        ("LessUpdated", "updated", updated, want),
        ("ExtraPods", "old pods gone: wanted of total", want.min(updated), total),
        ("LessReady", "ready", count(object, "readyReplicas"), want),
        ("LessAvailable", "available", available, want),
    ]) {
        return status;
    }
    if let Some(it) = condition(object, "Available", "False") {
        return Status::in_progress("Unavailable", text(it, "/message"));
    }
    Status::current(format!("available {available}/{want}"))
}

fn stateful_set(object: &Value) -> Status {
    let want = wanted_replicas(object);
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Status::current("updated when its pods are deleted");
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    let to_update = (want - partition).max(0);
    let ready = count(object, "readyReplicas");
    let extra = count(object, "replicas") - want;
    if let Some(status) = lagging(&[
        ("LessReplicas", "replicas", count(object, "replicas"), want),
        ("LessReady", "ready", ready, want),
        ("LessUpdated", "updated", count(object, "updatedReplicas"), to_update),
        ("ExtraPods", "old pods gone: wanted of total", want, want + extra),
    ]) {
        return status;
    }
    let update = text(object, "/status/updateRevision");
    if partition == 0 && update != text(object, "/status/currentRevision") {
        return Status::in_progress(
            "RevisionPending",
            format!("revision {update} not yet current"),
        );
    }
    Status::current(format!("ready {ready}/{want}"))
}

fn daemon_set(object: &Value) -> Status {
    let Some(want) = number(object, "/status/desiredNumberScheduled") else {
        return Status::in_progress("NoDesiredNumber", "the controller has not counted the nodes");
    };
    let available = count(object, "numberAvailable");
    lagging(&[
        ("LessCurrent", "scheduled", count(object, "currentNumberScheduled"), want),
        ("LessUpdated", "updated", count(object, "updatedNumberScheduled"), want),
        ("LessReady", "ready", count(object, "numberReady"), want),
        ("LessAvailable", "available", available, want),
    ])
    .unwrap_or_else(|| Status::current(format!("available {available}/{want}")))
}

fn replica_set(object: &Value) -> Status {
    let want = wanted_replicas(object);
    if let Some(it) = condition(object, "ReplicaFailure", "True") {
        return Status::in_progress(text(it, "/reason"), text(it, "/message"));
    }
    let available = count(object, "availableReplicas");
    lagging(&[
        ("LessReplicas", "replicas", count(object, "replicas"), want),
        ("LessReady", "ready", count(object, "readyReplicas"), want),
        ("LessAvailable", "available", available, want),
        ("ExtraPods", "old pods gone: wanted of total", want, count(object, "replicas")),
    ])
    .unwrap_or_else(|| Status::current(format!("available {available}/{want}")))
}

fn pod(object: &Value) -> Status {
    match text(object, "/status/phase") {
        "Succeeded" => return Status::current("completed"),
        "Failed" => {
            let reason = text(object, "/status/reason");
            let reason = if reason.is_empty() { "PodFailed" } else { reason };
            return Status::failed(reason, text(object, "/status/message"));
        }
        "Unknown" => return Status::new(State::Unknown, "NodeLost", "the node does not answer"),
        _ => {}
    }
    if condition(object, "Ready", "True").is_some() {
        return Status::current("ready");
    }
    if let Some(it) = condition(object, "PodScheduled", "False") {
        return Status::in_progress(text(it, "/reason"), text(it, "/message"));
    }
    for field in ["/status/initContainerStatuses", "/status/containerStatuses"] {
        for container in list(object, field) {
            if let Some(status) = waiting_container(container) {
                return status;
            }
        }
    }
    let containers = list(object, "/status/containerStatuses");
    let ready = containers.iter().filter(|it| flag(it, "/ready") == Some(true)).count();
    match containers.len() {
        0 => Status::in_progress("Pending", "no container has been created"),
        all => Status::in_progress("NotReady", format!("containers ready {ready}/{all}")),
    }
}

fn waiting_container(container: &Value) -> Option<Status> {
    let name = text(container, "/name");
    let reason = text(container, "/state/waiting/reason");
    let message = text(container, "/state/waiting/message");
    let message =
        format!("container {name}: {}", if message.is_empty() { reason } else { message });
    match reason {
        "" => None,
        "CrashLoopBackOff" | "ErrImageNeverPull" | "InvalidImageName" => {
            Some(Status::failed(reason, message))
        }
        _ => Some(Status::in_progress(reason, message)),
    }
}

fn job(object: &Value) -> Status {
    // `FailureTarget` says the same as `Failed`, before the last pod is gone.
    for kind in ["Failed", "FailureTarget"] {
        if let Some(it) = condition(object, kind, "True") {
            return Status::failed(text(it, "/reason"), text(it, "/message"));
        }
    }
    let succeeded = count(object, "succeeded");
    if condition(object, "Complete", "True").is_some() {
        return Status::current(format!("succeeded {succeeded}"));
    }
    if flag(object, "/spec/suspend") == Some(true) {
        return Status::in_progress("Suspended", "suspended by its spec");
    }
    let (active, failed) = (count(object, "active"), count(object, "failed"));
    Status::in_progress(
        "Running",
        format!("active {active}, succeeded {succeeded}, failed {failed}"),
    )
}

fn claim(object: &Value) -> Status {
    match text(object, "/status/phase") {
        "Bound" => Status::current("bound"),
        "Lost" => Status::failed("Lost", "the volume it was bound to is gone"),
        _ => Status::in_progress("Pending", "not bound"),
    }
}

fn service(object: &Value) -> Status {
    let is_balanced = text(object, "/spec/type") == "LoadBalancer";
    if is_balanced && list(object, "/status/loadBalancer/ingress").is_empty() {
        return Status::in_progress("NoAddress", "the load balancer has no address");
    }
    Status::current("exists")
}

fn namespace(object: &Value) -> Status {
    match text(object, "/status/phase") {
        "Terminating" => Status::new(State::Terminating, "Terminating", "being deleted"),
        _ => Status::current("active"),
    }
}

fn definition(object: &Value) -> Status {
    if let Some(it) = condition(object, "NamesAccepted", "False") {
        return Status::failed(text(it, "/reason"), text(it, "/message"));
    }
    match condition(object, "Established", "True") {
        Some(_) => Status::current("established"),
        None => Status::in_progress("NotEstablished", "not served yet"),
    }
}
