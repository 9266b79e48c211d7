//! What has been seen of one namespace: the newest version of each object, and the little history
//! that the newest version forgets.
//!
//! Kubernetes overwrites its own evidence: the text of a failed pull is gone when `ErrImagePull`
//! turns into `ImagePullBackOff`, and the code of the first exit when the second one comes. Whoever
//! watches has seen both, and this is where they are kept.

use crate::{
    fields::{annotation, owned_by, text},
    history::History,
    status::{State, assess},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

/// The annotation by which a Job says what it makes: `Secret/NAME` or `ConfigMap/NAME`, separated by
/// commas.
pub const PRODUCES: &str = "mlflow-gke.dev/produces";

/// Where an object says which version of itself it is.
const VERSION: &str = "/metadata/resourceVersion";

/// The kinds that a diagnosis reads, and a watcher therefore watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `apps/v1` Deployment
    Deployment,
    /// `v1` Event
    Event,
    /// `batch/v1` Job
    Job,
    /// `v1` PersistentVolumeClaim
    PersistentVolumeClaim,
    /// `v1` Pod
    Pod,
    /// `apps/v1` ReplicaSet
    ReplicaSet,
    /// `apps/v1` StatefulSet
    StatefulSet,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::Deployment,
        Kind::Event,
        Kind::Job,
        Kind::PersistentVolumeClaim,
        Kind::Pod,
        Kind::ReplicaSet,
        Kind::StatefulSet,
    ];

    /// As it is written in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Deployment => "Deployment",
            Kind::Event => "Event",
            Kind::Job => "Job",
            Kind::PersistentVolumeClaim => "PersistentVolumeClaim",
            Kind::Pod => "Pod",
            Kind::ReplicaSet => "ReplicaSet",
            Kind::StatefulSet => "StatefulSet",
        }
    }

    /// The kind that a manifest names so, when it is one of these.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Where the API server lists them: the part before `/namespaces/` and the plural.
    pub fn resource(self) -> (&'static str, &'static str) {
        match self {
            Kind::Deployment => ("/apis/apps/v1", "deployments"),
            Kind::Event => ("/api/v1", "events"),
            Kind::Job => ("/apis/batch/v1", "jobs"),
            Kind::PersistentVolumeClaim => ("/api/v1", "persistentvolumeclaims"),
            Kind::Pod => ("/api/v1", "pods"),
            Kind::ReplicaSet => ("/apis/apps/v1", "replicasets"),
            Kind::StatefulSet => ("/apis/apps/v1", "statefulsets"),
        }
    }

    /// The `apiVersion` of its objects.
    pub fn api_version(self) -> &'static str {
        self.resource().0.trim_start_matches("/apis/").trim_start_matches("/api/")
    }
}

/// The name of one object within its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
}

impl Key {
    /// Names an object.
    pub fn new(kind: Kind, name: impl Into<String>) -> Key {
        Key { kind, name: name.into() }
    }
}

impl fmt::Display for Key {
    /// As kubectl takes it: `deployment/mlflow`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name().to_lowercase(), self.name)
    }
}

/// The newest versions of all watched objects of one namespace.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    objects: BTreeMap<Key, Value>,
    histories: BTreeMap<String, History>,
    applied_at: BTreeMap<Key, Duration>,
    current_since: BTreeMap<Key, Duration>,
}

impl Observed {
    /// Takes the newest version of an object; `at` is the time since the watcher was opened.
    pub fn apply(&mut self, kind: Kind, mut object: Value, at: Duration) {
        // Members of a list come without their kind.
        if let Some(map) = object.as_object_mut() {
            map.entry("kind").or_insert_with(|| kind.name().into());
            map.entry("apiVersion").or_insert_with(|| kind.api_version().into());
        }
        let key = Key::new(kind, text(&object, "/metadata/name"));
        if matches!(kind, Kind::Pod | Kind::ReplicaSet) {
            let uid = text(&object, "/metadata/uid").to_owned();
            self.histories.entry(uid).or_default().record(&object, at);
        }
        if self.objects.get(&key).is_none_or(|it| text(it, VERSION) != text(&object, VERSION)) {
            self.applied_at.insert(key.clone(), at);
        }
        if assess(&object).state == State::Current {
            self.current_since.entry(key.clone()).or_insert(at);
        } else {
            self.current_since.remove(&key);
        }
        self.objects.insert(key, object);
    }

    /// Forgets an object that was deleted.
    pub fn remove(&mut self, kind: Kind, object: &Value) {
        let key = Key::new(kind, text(object, "/metadata/name"));
        let uid = text(object, "/metadata/uid");
        // The same name may have come back already, as another object.
        if self.objects.get(&key).is_some_and(|it| text(it, "/metadata/uid") == uid) {
            self.objects.remove(&key);
            self.applied_at.remove(&key);
            self.current_since.remove(&key);
        }
        self.histories.remove(uid);
    }

    /// Takes a complete list of one kind: what is not in it is gone.
    pub fn replace(&mut self, kind: Kind, objects: Vec<Value>, at: Duration) {
        let names: BTreeSet<&str> = objects.iter().map(|it| text(it, "/metadata/name")).collect();
        let gone: Vec<Value> = self
            .list(kind)
            .filter(|it| !names.contains(text(it, "/metadata/name")))
            .cloned()
            .collect();
        gone.iter().for_each(|it| self.remove(kind, it));
        objects.into_iter().for_each(|it| self.apply(kind, it, at));
    }

    /// Starts the clocks of all pods anew, after a time in which nothing could be seen.
    pub fn restart_clocks(&mut self, at: Duration) {
        self.histories.values_mut().for_each(|it| it.since = at);
    }

    /// The newest version of an object.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    /// All objects of one kind, by name.
    pub fn list(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        let first = Key::new(kind, "");
        self.objects.range(first..).take_while(move |(key, _)| key.kind == kind).map(|(_, it)| it)
    }

    /// The objects of one kind that this owner made.
    pub fn owned<'a>(&'a self, kind: Kind, uid: &'a str) -> impl Iterator<Item = &'a Value> {
        self.list(kind).filter(move |it| owned_by(it, uid))
    }

    /// The events about the object with this uid, newest first.
    pub fn events(&self, uid: &str) -> Vec<&Value> {
        let mut events: Vec<&Value> = self
            .list(Kind::Event)
            .filter(|it| !uid.is_empty() && text(it, "/involvedObject/uid") == uid)
            .collect();
        events.sort_by_key(|it| std::cmp::Reverse(event_time(it)));
        events
    }

    /// Since when an object has been current without a break.
    pub fn current_since(&self, key: &Key) -> Option<Duration> {
        self.current_since.get(key).copied()
    }

    /// What some Job declares to make ([`PRODUCES`]), unless that Job has failed.
    pub fn products(&self) -> BTreeSet<String> {
        self.list(Kind::Job)
            .filter(|it| assess(it).state != State::Failed)
            .flat_map(|it| annotation(it, PRODUCES).split(','))
            .map(|it| it.trim().to_owned())
            .filter(|it| !it.is_empty())
            .collect()
    }

    pub(crate) fn history(&self, object: &Value) -> Option<&History> {
        self.histories.get(text(object, "/metadata/uid"))
    }

    /// When this version of an event, or of any other object, came.
    pub(crate) fn applied_at(&self, kind: Kind, object: &Value) -> Duration {
        let key = Key::new(kind, text(object, "/metadata/name"));
        self.applied_at.get(&key).copied().unwrap_or_default()
    }
}

/// When an event happened last, in the form that sorts as text.
pub fn event_time(event: &Value) -> &str {
    ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .iter()
        .map(|it| text(event, it))
        .find(|it| !it.is_empty())
        .unwrap_or_default()
}
