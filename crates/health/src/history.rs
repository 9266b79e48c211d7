//! The little that is remembered of an object besides its newest version.

use crate::{
    budget::{Stage, stage},
    fields::{condition, list, number, text},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// One end of a container's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// When the run began, as the API server writes it (RFC 3339, UTC: sorts as text).
    pub started_at: String,
    /// When it ended.
    pub finished_at: String,
    /// The exit code.
    pub code: i64,
    /// `Error`, `OOMKilled`, `Completed`, `StartError`, …
    pub reason: String,
    /// The termination message, often empty.
    pub message: String,
    /// When it was first seen.
    pub seen_at: Duration,
}

/// What is remembered of one pod, or of one ReplicaSet.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Ends of runs by container, oldest first.
    pub(crate) exits: BTreeMap<String, Vec<Exit>>,
    /// When each restart was first seen, by container.
    pub(crate) restarts: BTreeMap<String, Vec<Duration>>,
    /// The last text with which a pull failed, by container.
    pub(crate) pull_errors: BTreeMap<String, String>,
    /// When each failed pull was first seen, by container.
    pub(crate) pull_failures: BTreeMap<String, Vec<Duration>>,
    /// When the pod last got further.
    pub(crate) since: Duration,
    /// What the object complains about, and since when without a change.
    complaints: BTreeMap<String, Duration>,
    pulls_failing: BTreeSet<String>,
    progress: Option<(Stage, usize, usize)>,
}

impl History {
    pub(crate) fn record(&mut self, object: &Value, at: Duration) {
        for field in ["/status/initContainerStatuses", "/status/containerStatuses"] {
            for container in list(object, field) {
                self.record_exits(container, at);
                self.record_pull(container, at);
            }
        }
        let known = std::mem::take(&mut self.complaints);
        let since = |it: String| (known.get(&it).copied().unwrap_or(at), it);
        self.complaints = complaints(object).map(since).map(|(at, it)| (it, at)).collect();
        let progress = Some((stage(object), parts_done(object), self.own_exits()));
        if progress != self.progress {
            self.progress = progress;
            self.since = at;
        }
    }

    /// Since when the object has complained about this.
    pub(crate) fn complains_since(&self, complaint: &str) -> Option<Duration> {
        self.complaints.get(complaint).copied()
    }

    fn record_exits(&mut self, container: &Value, at: Duration) {
        let name = text(container, "/name");
        let restarts = self.restarts.entry(name.to_owned()).or_default();
        // A count from a broken object must not make a list of that length.
        let count = number(container, "/restartCount").unwrap_or(0).clamp(0, 1000);
        restarts.resize(usize::try_from(count).unwrap_or(0).max(restarts.len()), at);
        let exits = self.exits.entry(name.to_owned()).or_default();
        for field in ["/lastState/terminated", "/state/terminated"] {
            let Some(ended) = container.pointer(field) else { continue };
            let exit = Exit {
                started_at: text(ended, "/startedAt").to_owned(),
                finished_at: text(ended, "/finishedAt").to_owned(),
                code: number(ended, "/exitCode").unwrap_or(0),
                reason: text(ended, "/reason").to_owned(),
                message: text(ended, "/message").trim().to_owned(),
                seen_at: at,
            };
            let is_same = |it: &Exit| {
                (&it.started_at, &it.finished_at) == (&exit.started_at, &exit.finished_at)
            };
            if !exits.iter().any(is_same) {
                exits.push(exit);
            }
        }
    }

    fn record_pull(&mut self, container: &Value, at: Duration) {
        let name = text(container, "/name").to_owned();
        if text(container, "/state/waiting/reason") != "ErrImagePull" {
            self.pulls_failing.remove(&name);
            return;
        }
        let message = text(container, "/state/waiting/message").to_owned();
        self.pull_errors.insert(name.clone(), message);
        // The same attempt is seen again whenever anything else about the pod changes.
        if self.pulls_failing.insert(name.clone()) {
            self.pull_failures.entry(name).or_default().push(at);
        }
    }

    /// Exits that the program made itself. What the kubelet killed for a failing probe is no
    /// progress: the time that the probes grant must not begin anew with each kill.
    fn own_exits(&self) -> usize {
        let is_own = |it: &&Exit| !matches!(it.code, 137 | 143) || it.reason == "OOMKilled";
        self.exits.values().flatten().filter(is_own).count()
    }
}

/// How many containers have come up or ended well.
fn parts_done(pod: &Value) -> usize {
    let done = |it: &&Value| {
        it.pointer("/started") == Some(&Value::Bool(true))
            || number(it, "/state/terminated/exitCode") == Some(0)
    };
    let ready = |it: &&Value| it.pointer("/ready") == Some(&Value::Bool(true));
    let all = || {
        ["/status/initContainerStatuses", "/status/containerStatuses"]
            .into_iter()
            .flat_map(|field| list(pod, field))
    };
    all().filter(done).count() + all().filter(ready).count()
}

/// What an object says is wrong with it, in the words that [`complaint`] makes.
fn complaints(object: &Value) -> impl Iterator<Item = String> {
    let containers = ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .flat_map(|field| list(object, field))
        .filter(|it| it.pointer("/state/waiting").is_some())
        .map(|it| complaint(text(it, "/name"), text(it, "/state/waiting/message")));
    let conditions = [("PodScheduled", "False"), ("ReplicaFailure", "True")]
        .into_iter()
        .filter_map(|(kind, status)| condition(object, kind, status))
        .map(|it| complaint("", text(it, "/message")));
    containers.chain(conditions)
}

/// A complaint of a container, or of the object itself when the name is empty.
pub(crate) fn complaint(container: &str, message: &str) -> String {
    format!("{container} {message}")
}
