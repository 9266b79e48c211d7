//! What can be said of one pod before any of its containers runs.

use super::{Case, Cause, Verdict, message, workload::name_of};
use crate::{
    budget::{Stage, stage},
    fields::{condition, list, text},
    observed::{Key, Kind, event_time},
    status::{State, assess},
};
use serde_json::Value;

impl Case<'_> {
    /// The verdict on one pod of the newest revision.
    pub(super) fn pod(&self, pod: &Value) -> Verdict {
        if assess(pod).state == State::Current {
            return Verdict::Healthy;
        }
        let verdict = match stage(pod) {
            Stage::Scheduling => self.unscheduled(pod),
            _ => self.containers(pod).or_else(|| self.unmounted(pod)),
        };
        verdict.unwrap_or_else(|| {
            let cause = self.pod_cause(pod, self.waited_for(pod), stage(pod).to_string());
            self.by_budget(pod, self.with_newest_warning(pod, cause))
        })
    }

    fn waited_for(&self, pod: &Value) -> String {
        let status = assess(pod);
        if status.reason.is_empty() { "Pending".to_owned() } else { status.reason }
    }

    /// A cause about a pod, with the command that shows more of it.
    pub(super) fn pod_cause(
        &self,
        pod: &Value,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Cause {
        let object = format!("pod/{}", name_of(pod));
        let hint = self.hint(&format!("describe {object}"));
        Cause::new(object, reason, message).hint(hint)
    }

    fn unscheduled(&self, pod: &Value) -> Option<Verdict> {
        if let Some(verdict) = self.unbound_claim(pod) {
            return Some(verdict);
        }
        let refusal = condition(pod, "PodScheduled", "False")?;
        let (reason, text) = (text(refusal, "/reason"), text(refusal, "/message"));
        let cause = self.pod_cause(pod, reason, text).field("resources.requests");
        if reason != "Unschedulable" {
            return Some(self.by_budget(pod, cause));
        }
        if self.rules.autoscaler {
            return Some(match self.autoscaler_refuses(pod) {
                Some(why) => Verdict::Doomed(Cause { message: format!("{text}; {why}"), ..cause }),
                None => self.by_budget(pod, cause),
            });
        }
        // Pods on their way out still hold their room.
        let is_decided = message::is_no_room(text) && self.is_proof(pod, "", text);
        match is_decided && !self.has_leaving_pods() {
            true => Some(Verdict::Impossible(cause)),
            false => Some(self.by_budget(pod, cause)),
        }
    }

    /// The autoscaler itself says that no node it could add would help.
    fn autoscaler_refuses(&self, pod: &Value) -> Option<String> {
        let events = self.seen.events(text(pod, "/metadata/uid"));
        let newest = events
            .iter()
            .find(|it| matches!(text(it, "/reason"), "NotTriggerScaleUp" | "TriggeredScaleUp"))?;
        let is_refusal = text(newest, "/reason") == "NotTriggerScaleUp" && self.is_new(newest);
        is_refusal.then(|| text(newest, "/message").to_owned())
    }

    /// A claim of the pod that will never be bound.
    fn unbound_claim(&self, pod: &Value) -> Option<Verdict> {
        list(pod, "/spec/volumes").iter().find_map(|volume| {
            let name = text(volume, "/persistentVolumeClaim/claimName");
            let claim = self.seen.get(&Key::new(Kind::PersistentVolumeClaim, name))?;
            if text(claim, "/status/phase") != "Pending" {
                return None;
            }
            let events = self.seen.events(text(claim, "/metadata/uid"));
            let event = events.iter().find(|it| {
                matches!(text(it, "/reason"), "ProvisioningFailed" | "FailedBinding")
                    && message::is_provisioning_final(text(it, "/message"))
                    && self.is_new(it)
            })?;
            let object = format!("persistentvolumeclaim/{name}");
            let cause = Cause::new(object, text(event, "/reason"), text(event, "/message"))
                .field("spec.storageClassName")
                .hint(self.hint("get storageclass"));
            Some(Verdict::Impossible(cause))
        })
    }

    /// Volumes that cannot be mounted. The pod itself only says `ContainerCreating`, so the event
    /// is all there is; it counts while the pod is still there.
    fn unmounted(&self, pod: &Value) -> Option<Verdict> {
        if stage(pod) != Stage::Creating {
            return None;
        }
        let events = self.seen.events(text(pod, "/metadata/uid"));
        let event = events.iter().find(|it| text(it, "/reason") == "FailedMount")?;
        let reason = text(event, "/message");
        let cause = self.pod_cause(pod, "FailedMount", reason).field("volumes");
        let is_missing = reason.contains("not found") || reason.contains("non-existent");
        let may_pass = message::is_cache_delay(reason)
            || message::is_namespace_new(reason)
            || message::misses_one_of(reason, &self.products).is_some();
        match is_missing && !may_pass && self.is_new(event) {
            true => Some(Verdict::Impossible(cause)),
            false => Some(self.by_budget(pod, cause)),
        }
    }

    /// Adds the newest warning about the pod: why its probe fails, what its sandbox lacks. Events
    /// are merged and rate-limited, so they word a verdict and never make it.
    fn with_newest_warning(&self, pod: &Value, mut cause: Cause) -> Cause {
        let events = self.seen.events(text(pod, "/metadata/uid"));
        let begun = text(pod, "/status/startTime");
        let warning = events.iter().find(|it| {
            text(it, "/type") == "Warning" && event_time(it) >= begun && is_about(stage(pod), it)
        });
        if let Some(event) = warning {
            let message = text(event, "/message").trim();
            cause.message = format!("{}; {}: {message}", cause.message, text(event, "/reason"));
            cause.field = probe_field(message).map(str::to_owned);
            let container = text(event, "/involvedObject/fieldPath");
            cause.container = container
                .split_once('{')
                .map(|(_, it)| it.trim_end_matches('}').to_owned())
                .or(cause.container);
        }
        if stage(pod) >= Stage::Initialising {
            let container = cause.container.iter().map(|it| format!(" --container {it}"));
            let container: String = container.collect();
            cause.hint = self.hint(&format!("logs {}{container}", name_of(pod)));
        }
        cause
    }
}

/// Whether a warning can be about a pod at this stage, rather than about one that it has passed.
fn is_about(stage: Stage, event: &Value) -> bool {
    match text(event, "/reason") {
        "FailedScheduling" => stage == Stage::Scheduling,
        "FailedMount" | "FailedAttachVolume" | "FailedCreatePodSandBox" => stage == Stage::Creating,
        "Failed" => matches!(stage, Stage::Creating | Stage::Initialising),
        "Unhealthy" if text(event, "/message").starts_with("Startup") => {
            matches!(stage, Stage::Initialising | Stage::Starting)
        }
        "Unhealthy" => stage >= Stage::Initialising,
        _ => stage > Stage::Scheduling,
    }
}

fn probe_field(message: &str) -> Option<&'static str> {
    [
        ("Startup probe", "startupProbe"),
        ("Readiness probe", "readinessProbe"),
        ("Liveness probe", "livenessProbe"),
    ]
    .into_iter()
    .find_map(|(word, field)| message.starts_with(word).then_some(field))
}
