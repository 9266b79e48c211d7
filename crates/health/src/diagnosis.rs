//! Says of a workload whether it is well, may still become well, or cannot.
//!
//! Three verdicts end a wait. *Impossible*: something already decided by the server or the kubelet,
//! which time does not change. *Doomed*: proved by repetition. *Late*: not decidable, so the pod is
//! given exactly the time that its own probes grant. A false alarm is worse than a slow one, so
//! whatever may pass by itself is waited for.

mod cause;
mod container;
mod message;
mod pod;
mod workload;

pub use cause::Cause;

use crate::{
    budget::{Allowances, budget, stage},
    fields::{number, text},
    history::complaint,
    observed::{Key, Kind, Observed},
    status::{State, Status, assess},
};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

/// One object to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which one.
    pub key: Key,
    /// The object must be this one, not one of the same name that it replaces.
    pub uid: Option<String>,
    /// Its spec must be at least this new.
    pub generation: Option<i64>,
    /// What it cannot do without. While one of these is not current, its crashes prove nothing and
    /// its clock stands still.
    pub depends_on: Vec<Key>,
}

impl Target {
    /// Any version of the object with this name.
    pub fn new(kind: Kind, name: impl Into<String>) -> Target {
        Target { key: Key::new(kind, name), uid: None, generation: None, depends_on: Vec::new() }
    }

    /// The object that the API server answered to a write, at that generation or later. None for
    /// kinds that are well as soon as they exist.
    pub fn written(object: &Value) -> Option<Target> {
        let kind = Kind::parse(text(object, "/kind")).filter(|it| *it != Kind::Event)?;
        let uid = text(object, "/metadata/uid");
        Some(Target {
            uid: (!uid.is_empty()).then(|| uid.to_owned()),
            generation: number(object, "/metadata/generation"),
            ..Target::new(kind, text(object, "/metadata/name"))
        })
    }

    /// Adds what it cannot do without.
    pub fn depends_on(mut self, keys: impl IntoIterator<Item = Key>) -> Target {
        self.depends_on.extend(keys);
        self
    }
}

/// What a diagnosis cannot see in the objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether something may add nodes: then a pod without a node is not lost.
    pub autoscaler: bool,
    /// What will exist soon (`Secret/NAME`), besides what Jobs declare
    /// ([`crate::observed::PRODUCES`]).
    pub produced: BTreeSet<String>,
    /// How many exits with the same code prove a crash loop.
    pub exits: usize,
    /// What was seen before this time is no proof. The same pod may have failed for a reason that
    /// has just been mended, and look so until the kubelet tries again.
    pub since: Duration,
    /// Time for what no manifest bounds.
    pub allow: Allowances,
    /// How hints begin, such as `kubectl --context kind-mlflow-gke --namespace mlflow`.
    pub kubectl: String,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            autoscaler: false,
            produced: BTreeSet::new(),
            exits: 2,
            since: Duration::ZERO,
            allow: Allowances::default(),
            kubectl: "kubectl".to_owned(),
        }
    }
}

/// How it stands with one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is what its spec asks for.
    Healthy,
    /// Nothing speaks against it yet.
    Waiting {
        /// What is being waited for, in one word and one line, with the object it is about.
        cause: Cause,
        /// The time granted for the present stage; none where only the caller's deadline counts.
        budget: Option<Duration>,
        /// How much of it is used.
        used: Duration,
    },
    /// Already decided: time will not change it.
    Impossible(Cause),
    /// Proved by repetition.
    Doomed(Cause),
    /// Its own budget, or the caller's deadline, is used up.
    Late(Cause),
}

impl Verdict {
    /// Whether the wait for it goes on.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Verdict::Waiting { .. })
    }

    /// Whether it is healthy.
    pub fn is_healthy(&self) -> bool {
        matches!(self, Verdict::Healthy)
    }

    /// Whether it has failed: impossible, doomed or late.
    pub fn is_failure(&self) -> bool {
        !self.is_waiting() && !self.is_healthy()
    }

    /// What it rests on; none when healthy.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Verdict::Healthy => None,
            Verdict::Waiting { cause, .. } => Some(cause),
            Verdict::Impossible(cause) | Verdict::Doomed(cause) | Verdict::Late(cause) => {
                Some(cause)
            }
        }
    }

    /// For whoever finds more evidence, such as logs.
    pub fn cause_mut(&mut self) -> Option<&mut Cause> {
        match self {
            Verdict::Healthy => None,
            Verdict::Waiting { cause, .. } => Some(cause),
            Verdict::Impossible(cause) | Verdict::Doomed(cause) | Verdict::Late(cause) => {
                Some(cause)
            }
        }
    }

    /// One word: `healthy`, `waiting`, `impossible`, `doomed`, `late`.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Healthy => "healthy",
            Verdict::Waiting { .. } => "waiting",
            Verdict::Impossible(_) => "impossible",
            Verdict::Doomed(_) => "doomed",
            Verdict::Late(_) => "late",
        }
    }

    fn waiting(cause: Cause) -> Verdict {
        Verdict::Waiting { cause, budget: None, used: Duration::ZERO }
    }
}

/// Everything a rule may look at.
struct Case<'a> {
    target: &'a Target,
    object: &'a Value,
    seen: &'a Observed,
    rules: &'a Rules,
    now: Duration,
    /// What will exist soon.
    products: BTreeSet<String>,
    /// A dependency that is not current.
    missing: Option<&'a Key>,
}

/// Judges one target by everything that has been seen; `now` is the time since the watcher was
/// opened, on the same clock as [`Observed::apply`].
pub fn diagnose(target: &Target, seen: &Observed, rules: &Rules, now: Duration) -> Verdict {
    let waiting = |reason: &str, message: String| {
        Verdict::waiting(Cause::new(target.key.to_string(), reason, message))
    };
    let Some(object) = seen.get(&target.key) else {
        return waiting("NotFound", "does not exist yet".to_owned());
    };
    if target.uid.as_deref().is_some_and(|it| it != text(object, "/metadata/uid")) {
        return waiting("Replaced", "the object of this name is still the old one".to_owned());
    }
    if number(object, "/metadata/generation") < target.generation {
        return waiting("StaleGeneration", "the new spec has not been seen yet".to_owned());
    }
    let status = assess(object);
    match status.state {
        State::Terminating => return waiting(&status.reason, status.message),
        _ if status.reason == "StaleGeneration" => return waiting(&status.reason, status.message),
        _ => {}
    }
    let mut products = seen.products();
    products.extend(rules.produced.iter().cloned());
    let is_current =
        |key: &&Key| seen.get(key).is_some_and(|it| assess(it).state == State::Current);
    let missing = target.depends_on.iter().find(|it| !is_current(it));
    let case = Case { target, object, seen, rules, now, products, missing };
    match status.state {
        State::Current if !case.claims_more_than_its_pods() => Verdict::Healthy,
        _ => case.verdict(status),
    }
}

impl Case<'_> {
    fn verdict(&self, status: Status) -> Verdict {
        if self.target.key.kind == Kind::PersistentVolumeClaim {
            return self.claim(status);
        }
        if let Some(verdict) = self.creation_failure() {
            return verdict;
        }
        let pods = self.newest_pods();
        let verdicts: Vec<Verdict> = pods.iter().map(|it| self.pod(it)).collect();
        if let Some(verdict) = verdicts.iter().find(|it| matches!(it, Verdict::Impossible(_))) {
            return verdict.clone();
        }
        let is_job = self.target.key.kind == Kind::Job;
        if is_job && status.state == State::Failed {
            return Verdict::Doomed(self.failed_job(&status));
        }
        if is_job && let Some(doomed @ Verdict::Doomed(_)) = self.last_attempt() {
            return doomed;
        }
        // One pod that is well shows that the template can work: the other may still come up.
        let is_one_ready = verdicts.iter().any(Verdict::is_healthy);
        if !is_one_ready
            && let Some(it) = verdicts.iter().find(|it| matches!(it, Verdict::Doomed(_)))
        {
            return it.clone();
        }
        if let Some(late) = verdicts.iter().find(|it| matches!(it, Verdict::Late(_))) {
            return late.clone();
        }
        // A pod within its own budget outweighs a deadline of the whole workload that passed before
        // what was wrong was mended.
        if let Some(waiting) = verdicts.into_iter().find(Verdict::is_waiting) {
            return waiting;
        }
        let cause = match is_job {
            true => self.failed_job(&status),
            false => Cause::new(self.target.key.to_string(), &status.reason, status.message),
        };
        match status.state {
            State::Failed => Verdict::Late(cause),
            _ => Verdict::waiting(cause),
        }
    }

    /// Whether a complaint of an object or its container proves anything: it began since
    /// [`Rules::since`], or an event has repeated it.
    fn is_proof(&self, object: &Value, container: &str, message: &str) -> bool {
        let history = self.seen.history(object);
        let begun = history.and_then(|it| it.complains_since(&complaint(container, message)));
        let repeats = |event: &&Value| {
            let is_about_it = text(event, "/reason") == "FailedCreate"
                || text(event, "/message").contains(message);
            is_about_it && self.is_new(event)
        };
        begun.is_none_or(|it| it >= self.rules.since)
            || self.seen.events(text(object, "/metadata/uid")).iter().any(repeats)
    }

    /// Whether this event has come, or come again, since [`Rules::since`].
    fn is_new(&self, event: &Value) -> bool {
        self.seen.applied_at(Kind::Event, event) >= self.rules.since
    }

    /// The verdict for a pod that no rule condemns: wait for what its own manifest grants.
    fn by_budget(&self, pod: &Value, cause: Cause) -> Verdict {
        if let Some(key) = self.missing {
            let message = format!("{} (needs {key}, which is not current)", cause.message);
            return Verdict::waiting(Cause { message, ..cause });
        }
        let ready_at = self.target.depends_on.iter().filter_map(|it| self.seen.current_since(it));
        let since = self.seen.history(pod).map_or(self.now, |it| it.since);
        let since = ready_at.fold(since, Duration::max);
        let used = self.now.saturating_sub(since);
        match budget(pod, &self.rules.allow).of(stage(pod)) {
            Some(budget) if used >= budget => Verdict::Late(cause),
            budget => Verdict::Waiting { cause, budget, used },
        }
    }

    fn hint(&self, command: &str) -> String {
        format!("{} {command}", self.rules.kubectl)
    }
}
