//! What the containers of a pod say, init containers first.

use super::{
    Case, Cause, Verdict, message,
    workload::{failed_attempts, name_of},
};
use crate::{
    fields::{list, named, text},
    history::Exit,
    observed::Kind,
};
use serde_json::Value;

impl Case<'_> {
    /// The first container that condemns the pod or has something to say; none if all is as usual.
    pub(super) fn containers(&self, pod: &Value) -> Option<Verdict> {
        let mut verdicts: Vec<Verdict> =
            statuses(pod).filter_map(|it| self.container(pod, it)).collect();
        let worst = verdicts.iter().position(|it| !it.is_waiting()).unwrap_or(0);
        (!verdicts.is_empty()).then(|| verdicts.swap_remove(worst))
    }

    fn container(&self, pod: &Value, status: &Value) -> Option<Verdict> {
        let name = text(status, "/name");
        let message = text(status, "/state/waiting/message");
        match text(status, "/state/waiting/reason") {
            reason @ ("ErrImageNeverPull" | "InvalidImageName") => {
                let cause = self.image_cause(pod, status, reason, message);
                Some(match self.is_proof(pod, name, message) {
                    true => Verdict::Impossible(cause),
                    false => self.by_budget(pod, cause),
                })
            }
            reason @ ("ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable") => {
                Some(self.pull(pod, status, reason))
            }
            "CreateContainerConfigError" => Some(self.config_error(pod, name, message)),
            _ => self.crashes(pod, status),
        }
    }

    fn image_cause(&self, pod: &Value, status: &Value, reason: &str, message: &str) -> Cause {
        let name = text(status, "/name");
        let image = image_of(pod, name);
        let hint = match image.starts_with("localhost/") {
            true => "load the image into the cluster: cargo xtask images load".to_owned(),
            false => self.hint(&format!("describe pod/{}", name_of(pod))),
        };
        let message = if message.contains(image) {
            message.to_owned()
        } else {
            format!("{image}: {message}")
        };
        self.pod_cause(pod, reason, message).container(name).field("image").hint(hint)
    }

    fn pull(&self, pod: &Value, status: &Value, reason: &str) -> Verdict {
        let name = text(status, "/name");
        let history = self.seen.history(pod);
        let shown = text(status, "/state/waiting/message");
        // Back-off says only that it waits; why, the attempt before it said.
        let remembered = history.and_then(|it| it.pull_errors.get(name)).map(String::as_str);
        let error = match reason {
            "ImagePullBackOff" => remembered.unwrap_or(shown),
            _ => shown,
        };
        let cause = self.image_cause(pod, status, reason, error);
        let failures = history.and_then(|it| it.pull_failures.get(name));
        let is_new = match failures {
            Some(failures) => failures.last().is_some_and(|it| *it >= self.rules.since),
            None => self.is_proof(pod, name, shown),
        };
        let failures = failures.into_iter().flatten().filter(|it| **it >= self.rules.since);
        if is_new && message::is_pull_final(image_of(pod, name), error) {
            Verdict::Impossible(cause)
        } else if message::is_pull_denied(error) && failures.count() >= 3 {
            Verdict::Doomed(cause)
        } else {
            self.by_budget(pod, cause)
        }
    }

    fn config_error(&self, pod: &Value, name: &str, message: &str) -> Verdict {
        let cause = self
            .pod_cause(pod, "CreateContainerConfigError", message)
            .container(name)
            .field(config_field(message));
        if let Some(product) = message::misses_one_of(message, &self.products) {
            let message = format!("waits for {product}, which a Job makes");
            return self.by_budget(pod, Cause { message, ..cause });
        }
        match self.is_proof(pod, name, message) && !message::is_cache_delay(message) {
            true => Verdict::Impossible(cause),
            false => self.by_budget(pod, cause),
        }
    }

    /// Runs that ended badly. Two with the same code are a proof, and so is one in which PostgreSQL
    /// refused; but not while something it needs is missing, and not those that began before that
    /// was there.
    fn crashes(&self, pod: &Value, status: &Value) -> Option<Verdict> {
        let name = text(status, "/name");
        let exits = self.seen.history(pod)?.exits.get(name)?;
        let last = exits.last().filter(|it| is_failure(pod, name, it))?;
        let cause = self.exit_cause(pod, name, last);
        if message::is_program_missing(&last.message) && last.seen_at >= self.rules.since {
            return Some(Verdict::Impossible(cause.field("command")));
        }
        if self.is_refused_by_database(last) {
            return Some(Verdict::Doomed(self.refusal(cause)));
        }
        let counted = self.exits_that_count(pod, status, exits, last);
        // A Job says itself how often it wants to try.
        if self.target.key.kind == Kind::Job {
            let attempts = failed_attempts(self.object);
            let message = format!("{} ({attempts} pods failed so far)", cause.message);
            return Some(self.by_budget(pod, Cause { message, ..cause }));
        }
        let is_proved = counted >= self.rules.exits && self.missing.is_none();
        match is_proved {
            true => Some(Verdict::Doomed(cause)),
            // It runs again: what it does now is what counts.
            false if status.pointer("/state/running").is_some() => None,
            false => Some(self.by_budget(pod, cause)),
        }
    }

    /// Whether PostgreSQL said in this run what it will say in the next. A run from before
    /// [`super::Rules::since`] only words the verdict: a password that has been mended shows at the
    /// next start, which the kubelet may put off for minutes.
    fn is_refused_by_database(&self, exit: &Exit) -> bool {
        message::is_database_refusal(&exit.message)
            && self.missing.is_none()
            && exit.seen_at >= self.rules.since
            && exit.started_at.as_str() >= self.dependencies_ready_at()
    }

    /// The same cause with what mends it.
    fn refusal(&self, cause: Cause) -> Cause {
        let mend = "make the password in the Secret the one that the role has";
        let hint = match self.target.key.kind {
            Kind::Deployment | Kind::StatefulSet => {
                let restart = self.hint(&format!("rollout restart {}", self.target.key));
                format!("{mend}, then: {restart} (a pod reads the Secret when it starts)")
            }
            _ => mend.to_owned(),
        };
        cause.field("env").hint(hint)
    }

    fn exits_that_count(&self, pod: &Value, status: &Value, exits: &[Exit], last: &Exit) -> usize {
        let name = text(status, "/name");
        let ready_at = self.dependencies_ready_at();
        let seen = exits
            .iter()
            .filter(|it| is_failure(pod, name, it) && it.seen_at >= self.rules.since)
            .filter(|it| it.code == last.code && it.started_at.as_str() >= ready_at)
            .count();
        // Of restarts that came too fast to be seen, or before anybody watched, only the number is
        // known; that is enough when nothing was missing at the time and no other code was seen.
        let restarts = self.seen.history(pod).and_then(|it| it.restarts.get(name));
        let restarts: Vec<_> = restarts.into_iter().flatten().collect();
        let is_countable = self.target.depends_on.is_empty()
            && exits.iter().all(|it| it.code == last.code && it.seen_at >= self.rules.since)
            && restarts.iter().all(|it| **it >= self.rules.since);
        let has_ended = status.pointer("/state/running").is_none();
        if is_countable { seen.max(restarts.len() + usize::from(has_ended)) } else { seen }
    }

    /// When the last of the dependencies became current, as the API server writes it; empty when
    /// unknown.
    fn dependencies_ready_at(&self) -> &str {
        let times =
            self.target.depends_on.iter().filter_map(|key| self.seen.get(key)).map(ready_time);
        times.max().unwrap_or_default()
    }

    fn exit_cause(&self, pod: &Value, container: &str, exit: &Exit) -> Cause {
        let mut message = format!("exit code {}", exit.code);
        if !exit.message.is_empty() {
            message = format!("{message}: {}", message::telling_line(&exit.message));
        }
        let reason = match exit.reason.as_str() {
            "OOMKilled" => "OOMKilled",
            "Error" | "Completed" | "" => "CrashLoopBackOff",
            other => other,
        };
        let command = format!("logs {} --container {container} --previous", name_of(pod));
        let cause = self.pod_cause(pod, reason, message).container(container);
        let mut cause = match reason {
            "OOMKilled" => cause
                .field("resources.limits.memory")
                .hint("raise resources.limits.memory, or let it use less"),
            _ => cause.hint(self.hint(&command)),
        };
        cause.exit_code = Some(exit.code);
        cause
    }

    /// The last bad end of any container of a pod, and whether it dooms what comes after it.
    pub(super) fn last_failure(&self, pod: &Value) -> Option<Verdict> {
        let exits = &self.seen.history(pod)?.exits;
        let failures = exits.iter().flat_map(|(name, it)| it.iter().map(move |exit| (name, exit)));
        let (name, exit) = failures
            .filter(|(name, exit)| is_failure(pod, name, exit))
            .max_by_key(|(_, exit)| exit.finished_at.as_str())?;
        let cause = self.exit_cause(pod, name, exit);
        // A Job's pods are not restarted, so there is no previous container to ask for.
        let hint = self.hint(&format!("logs {} --container {name}", name_of(pod)));
        let reason =
            if cause.reason == "CrashLoopBackOff" { "Error".to_owned() } else { cause.reason };
        let hint = if reason == "OOMKilled" { cause.hint } else { hint };
        let cause = Cause { hint, reason, ..cause };
        Some(match self.is_refused_by_database(exit) {
            true => Verdict::Doomed(self.refusal(cause)),
            false => Verdict::waiting(cause),
        })
    }
}

/// Init containers and sidecars first, as the kubelet runs them.
fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .flat_map(|field| list(pod, field))
}

fn specs(pod: &Value) -> impl Iterator<Item = &Value> {
    ["/spec/initContainers", "/spec/containers"].into_iter().flat_map(|field| list(pod, field))
}

fn image_of<'a>(pod: &'a Value, container: &str) -> &'a str {
    specs(pod)
        .find(|it| text(it, "/name") == container)
        .map(|it| text(it, "/image"))
        .unwrap_or_default()
}

/// An init container that ended with 0 has done its work; a server that did has not.
fn is_failure(pod: &Value, container: &str, exit: &Exit) -> bool {
    let init = named(list(pod, "/spec/initContainers"), container);
    let is_init = init.is_some_and(|it| text(it, "/restartPolicy") != "Always");
    let may_end = is_init || text(pod, "/spec/restartPolicy") != "Always";
    exit.code != 0 || !may_end
}

/// Which part of the container the kubelet could not resolve.
fn config_field(message: &str) -> &'static str {
    if message.contains("runAsNonRoot") || message.contains("non-numeric user") {
        "securityContext.runAsNonRoot"
    } else {
        "env"
    }
}

/// Since when an object is well, by its own words.
fn ready_time(object: &Value) -> &str {
    let condition = list(object, "/status/conditions").iter().find(|it| {
        matches!(text(it, "/type"), "Available" | "Ready" | "Complete")
            && text(it, "/status") == "True"
    });
    match condition {
        Some(it) => text(it, "/lastTransitionTime"),
        None => "",
    }
}
