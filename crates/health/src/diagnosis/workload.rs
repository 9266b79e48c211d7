//! Which pods a target stands or falls with, and why it may have none.

use super::{Case, Cause, Verdict, message};
use crate::{
    fields::{annotation, condition, label, list, number, text},
    observed::Kind,
    status::{State, Status, assess},
};
use serde_json::Value;

/// The annotation by which a Deployment and its ReplicaSets number their revisions.
const REVISION: &str = "deployment.kubernetes.io/revision";

impl<'a> Case<'a> {
    /// The pods of the newest revision. Pods on their way out, and those that were evicted and
    /// replaced, say nothing about it.
    pub(super) fn newest_pods(&self) -> Vec<&'a Value> {
        let uid = text(self.object, "/metadata/uid");
        let revision = text(self.object, "/status/updateRevision");
        let is_alive = |it: &&Value| {
            text(it, "/metadata/deletionTimestamp").is_empty()
                && text(it, "/status/phase") != "Failed"
        };
        match self.target.key.kind {
            Kind::Pod => vec![self.object],
            Kind::Deployment => self
                .newest_replica_set()
                .map(|set| text(set, "/metadata/uid"))
                .map(|uid| self.seen.owned(Kind::Pod, uid).filter(is_alive).collect())
                .unwrap_or_default(),
            Kind::StatefulSet => self
                .seen
                .owned(Kind::Pod, uid)
                .filter(is_alive)
                .filter(|it| label(it, "controller-revision-hash") == revision)
                .collect(),
            Kind::Job | Kind::ReplicaSet => {
                self.seen.owned(Kind::Pod, uid).filter(is_alive).collect()
            }
            Kind::Event | Kind::PersistentVolumeClaim => Vec::new(),
        }
    }

    /// The ReplicaSet of the revision that the Deployment says is its own. Each kind has its own
    /// watch, so the Deployment may be seen before its new ReplicaSet: then there is none, rather
    /// than the old one with its old crashes.
    pub(super) fn newest_replica_set(&self) -> Option<&'a Value> {
        let revision = annotation(self.object, REVISION);
        self.seen
            .owned(Kind::ReplicaSet, text(self.object, "/metadata/uid"))
            .find(|it| !revision.is_empty() && annotation(it, REVISION) == revision)
    }

    /// Pods that the API server refused to create.
    pub(super) fn creation_failure(&self) -> Option<Verdict> {
        let owner = match self.target.key.kind {
            Kind::Deployment => self.newest_replica_set()?,
            Kind::Pod | Kind::Event | Kind::PersistentVolumeClaim => return None,
            _ => self.object,
        };
        let (failure, is_proof) = match condition(owner, "ReplicaFailure", "True") {
            Some(it) => {
                let message = text(it, "/message");
                (message.to_owned(), self.is_proof(owner, "", message))
            }
            // Only ReplicaSets have that condition; of the others the events are all there is, and
            // they are evidence only as long as there is no pod.
            None if self.newest_pods().is_empty() => self.refused_by_event(owner)?,
            None => return None,
        };
        let object = format!("{}/{}", text(owner, "/kind").to_lowercase(), name_of(owner));
        let cause = Cause::new(object, "FailedCreate", &failure)
            .field(refused_field(&failure))
            .hint(self.hint(&format!("describe {}", self.target.key)));
        // A quota frees itself when the pods of the old revision go.
        let may_pass = message::is_quota(&failure) && self.has_leaving_pods();
        match is_proof && message::is_admission_final(&failure) && !may_pass {
            true => Some(Verdict::Impossible(cause)),
            false => Some(Verdict::waiting(cause)),
        }
    }

    fn refused_by_event(&self, owner: &Value) -> Option<(String, bool)> {
        let events = self.seen.events(text(owner, "/metadata/uid"));
        let newest = events.iter().find(|it| text(it, "/reason") == "FailedCreate")?;
        Some((text(newest, "/message").to_owned(), self.is_new(newest)))
    }

    /// Whether a Deployment or StatefulSet counts as ready what its pods deny. Its status is written by
    /// a controller, theirs by the kubelet: after a stop of the node the controller's is the older one.
    pub(super) fn claims_more_than_its_pods(&self) -> bool {
        if !matches!(self.target.key.kind, Kind::Deployment | Kind::StatefulSet) {
            return false;
        }
        let pods = self.newest_pods();
        let n_ready = pods.iter().filter(|it| assess(it).state == State::Current).count();
        let wanted = number(self.object, "/spec/replicas").unwrap_or(1);
        !pods.is_empty() && i64::try_from(n_ready).is_ok_and(|it| it < wanted)
    }

    /// Whether pods are going away, or will: those being deleted, and those of an older revision.
    pub(super) fn has_leaving_pods(&self) -> bool {
        let newest = self.newest_pods();
        self.seen.list(Kind::Pod).any(|pod| {
            let is_ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
            let is_newest = newest.iter().any(|it| name_of(it) == name_of(pod));
            let is_leaving = !text(pod, "/metadata/deletionTimestamp").is_empty();
            is_leaving || (!is_newest && !is_ended && self.is_of_target(pod))
        })
    }

    fn is_of_target(&self, pod: &Value) -> bool {
        let owner = text(self.object, "/metadata/uid");
        let mut owners = list(pod, "/metadata/ownerReferences").iter().map(|it| text(it, "/uid"));
        owners.any(|uid| {
            uid == owner
                || self
                    .seen
                    .owned(Kind::ReplicaSet, owner)
                    .any(|set| text(set, "/metadata/uid") == uid)
        })
    }

    /// How the last attempt of a Job ended.
    pub(super) fn last_attempt(&self) -> Option<Verdict> {
        let uid = text(self.object, "/metadata/uid");
        let mut pods: Vec<&Value> = self.seen.owned(Kind::Pod, uid).collect();
        pods.sort_by_key(|it| text(it, "/metadata/creationTimestamp"));
        pods.iter().rev().find_map(|it| self.last_failure(it))
    }

    /// A Job that has given up, or is about to try again, with the end of its last pod.
    pub(super) fn failed_job(&self, status: &Status) -> Cause {
        let object = self.target.key.to_string();
        let Some(ended) = self.last_attempt().as_ref().and_then(Verdict::cause).cloned() else {
            return Cause::new(object, &status.reason, &status.message)
                .hint(self.hint(&format!("describe {}", self.target.key)));
        };
        let message = format!("{} ({}: {})", ended.message, status.reason, status.message);
        Cause { message, ..ended }
    }

    /// A claim is well when bound, and as well when it waits for the pod that will use it.
    pub(super) fn claim(&self, status: Status) -> Verdict {
        let object = self.target.key.to_string();
        let events = self.seen.events(text(self.object, "/metadata/uid"));
        let Some(event) = events.first() else {
            return Verdict::waiting(Cause::new(object, &status.reason, status.message));
        };
        if text(event, "/reason") == "WaitForFirstConsumer" {
            return Verdict::Healthy;
        }
        let cause = Cause::new(object, text(event, "/reason"), text(event, "/message"))
            .field("spec.storageClassName")
            .hint(self.hint("get storageclass"));
        match message::is_provisioning_final(text(event, "/message")) && self.is_new(event) {
            true => Verdict::Impossible(cause),
            false => Verdict::waiting(cause),
        }
    }
}

/// The name of an object.
pub(super) fn name_of(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// Which part of the template the API server minds.
fn refused_field(message: &str) -> &'static str {
    if message.contains("PodSecurity") {
        "securityContext"
    } else if message.contains("serviceaccount") {
        "spec.template.spec.serviceAccountName"
    } else if message::is_quota(message) {
        "resources"
    } else {
        "spec.template"
    }
}

/// How many pods of a Job have failed, for its line while it goes on.
pub(super) fn failed_attempts(job: &Value) -> i64 {
    number(job, "/status/failed").unwrap_or(0)
}
