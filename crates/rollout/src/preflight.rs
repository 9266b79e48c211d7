//! Asks admission about every pod that the plan leads to, without writing one.
//!
//! A Deployment is admitted even when none of its pods can be: Pod Security, quotas and missing
//! service accounts show only when a controller creates the pod. A dry-run of the pod tells in
//! milliseconds what would otherwise be seen as a rollout that never ends.

use kube::core::Status;
use manifests::ObjectId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Action, Change, Code, Error, Plan, Refusal, Server, refuse, server::together};

/// What preflight found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Preflight {
    /// Pods that admission refuses.
    pub refusals: Vec<Refusal>,
    /// Workloads whose pods could not be tried, with the reason.
    pub untried: Vec<(ObjectId, String)>,
    /// How many pods were tried.
    pub tried: usize,
}

enum Outcome {
    Admitted,
    Refused(Vec<Refusal>),
    Untried(String),
}

/// Dry-runs one pod for each workload that the plan creates or changes.
pub async fn preflight(server: &Server, plan: &Plan) -> Result<Preflight, Error> {
    let mut preflight = Preflight::default();
    let mut pods: Vec<(&Change, Value)> = Vec::new();
    for change in plan.changes.iter().filter(|it| it.writes()) {
        let Some(pod) = pod(&change.wanted) else { continue };
        let homeless = plan.changes.iter().any(|it| {
            it.id.kind == "Namespace"
                && it.action == Action::Create
                && Some(&it.id.name) == change.id.namespace.as_ref()
        });
        if homeless {
            preflight.untried.push((change.id.clone(), "its namespace does not exist yet".into()));
        } else {
            pods.push((change, pod));
        }
    }
    preflight.tried = pods.len();
    let outcomes = together(pods.iter().map(|(change, pod)| attempt(server, plan, change, pod)));
    for ((change, _), outcome) in pods.iter().zip(outcomes.await) {
        match outcome? {
            Outcome::Admitted => {}
            Outcome::Refused(refusals) => preflight.refusals.extend(refusals),
            Outcome::Untried(why) => {
                preflight.tried -= 1;
                preflight.untried.push((change.id.clone(), why));
            }
        }
    }
    Ok(preflight)
}

async fn attempt(
    server: &Server,
    plan: &Plan,
    change: &Change,
    pod: &Value,
) -> Result<Outcome, Error> {
    let mut pod = pod.clone();
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default").to_owned();
    // The account may be part of this very plan. Admission would stop there and tell nothing else,
    // so another account stands in for it.
    let coming = plan.changes.iter().any(|it| {
        it.id.kind == "ServiceAccount"
            && it.id.name == account
            && it.id.namespace == change.id.namespace
            && it.action == Action::Create
    });
    if coming {
        let Some(other) = any_account(server, change).await? else {
            return Ok(Outcome::Untried(format!(
                "service account {account} does not exist yet, and no other one can stand in"
            )));
        };
        pod["spec"]["serviceAccountName"] = json!(other);
    }
    match server.create(&pod, true).await {
        Ok(_) => Ok(Outcome::Admitted),
        Err(error) => match error.status() {
            Some(status) if status.code == 403 || status.code == 422 => {
                Ok(Outcome::Refused(refusals(&change.id, status, &pod)))
            }
            _ => Err(error),
        },
    }
}

async fn any_account(server: &Server, change: &Change) -> Result<Option<String>, Error> {
    let kind = server.kind("v1", "ServiceAccount").await?;
    let accounts = server.list(&kind, change.id.namespace.as_deref(), "").await?;
    Ok(accounts.iter().find_map(|it| it["metadata"]["name"].as_str()).map(str::to_owned))
}

/// The pod that a workload's controller would create.
fn pod(workload: &Value) -> Option<Value> {
    let template = match workload["kind"].as_str()? {
        "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => &workload["spec"]["template"],
        "CronJob" => &workload["spec"]["jobTemplate"]["spec"]["template"],
        _ => return None,
    };
    let name: String = workload["metadata"]["name"].as_str()?.chars().take(50).collect();
    let mut metadata = json!({
        "name": format!("{name}-preflight"),
        "namespace": workload["metadata"]["namespace"],
    });
    for part in ["labels", "annotations"] {
        if template["metadata"][part].is_object() {
            metadata[part] = template["metadata"][part].clone();
        }
    }
    Some(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template["spec"],
    }))
}

/// Translates the server's answer about a pod into words about its workload.
fn refusals(id: &ObjectId, status: &Status, pod: &Value) -> Vec<Refusal> {
    if status.code == 422 {
        let mut refusals = refuse::refusals(id, status).unwrap_or_default();
        for field in refusals.iter_mut().filter_map(|it| it.field.as_mut()) {
            *field = format!("spec.template.{field}");
        }
        return refusals;
    }
    let message = &status.message;
    let reason = message.split_once(" is forbidden: ").map_or(message.as_str(), |(_, it)| it);
    let refusal = |field: Option<&str>, code, message: &str, hint: String| {
        vec![Refusal {
            object: id.clone(),
            field: field.map(str::to_owned),
            code,
            message: message.to_owned(),
            hint,
        }]
    };
    if let Some((level, what)) =
        reason.strip_prefix("violates PodSecurity ").and_then(|it| it.split_once(": "))
    {
        return violations(what)
            .into_iter()
            .flat_map(|what| {
                let message =
                    format!("Pod Security {} forbids it: {what}", level.trim_matches('"'));
                let hint = "set what the message asks for in the pod's securityContext".to_owned();
                refusal(Some("spec.template.spec"), Code::PodSecurity, &message, hint)
            })
            .collect();
    }
    if reason.contains("exceeded quota")
        || reason.contains("failed quota")
        || reason.contains("per Container")
        || reason.contains("per Pod")
    {
        let hint = "lower the requests, or raise the limit: kubectl describe resourcequota,limitrange --namespace ";
        let hint = format!("{hint}{}", id.namespace.as_deref().unwrap_or_default());
        return refusal(Some("spec.template.spec.containers"), Code::Quota, reason, hint);
    }
    if reason.contains("serviceaccount") && reason.contains("not found") {
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        return refusal(
            Some("spec.template.spec.serviceAccountName"),
            Code::ServiceAccount,
            &format!("service account `{account}` does not exist"),
            "add it to the overlay, or correct the name".to_owned(),
        );
    }
    for (word, field) in
        [("PriorityClass", "priorityClassName"), ("RuntimeClass", "runtimeClassName")]
    {
        if reason.contains(word) {
            let hint = format!("create the {word}, or correct the name");
            let field = format!("spec.template.spec.{field}");
            return refusal(Some(&field), Code::Class, reason, hint);
        }
    }
    refusal(
        None,
        Code::Denied,
        message,
        "an admission rule of the cluster forbids the pod".to_owned(),
    )
}

/// The violations in Pod Security's sentence: `a (x must set b), c (y must not set d)`.
fn violations(sentence: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, letter) in sentence.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                found.push(sentence[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(sentence[start..].trim());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_split_outside_of_brackets() {
        let sentence = "allowPrivilegeEscalation != false (containers \"a\", \"b\" must set x), \
                        runAsNonRoot != true (pod must set y)";
        assert_eq!(
            violations(sentence),
            [
                "allowPrivilegeEscalation != false (containers \"a\", \"b\" must set x)",
                "runAsNonRoot != true (pod must set y)",
            ]
        );
    }

    #[test]
    fn the_pod_is_the_template_under_a_name_of_its_own() {
        let job = json!({
            "kind": "Job",
            "metadata": { "name": "mlflow-migrate", "namespace": "mlflow", "labels": { "no": "1" } },
            "spec": { "template": { "metadata": { "labels": { "app": "a" } }, "spec": { "x": 1 } } },
        });
        let pod = pod(&job).unwrap();
        assert_eq!(pod["metadata"]["name"], "mlflow-migrate-preflight");
        assert_eq!(pod["metadata"]["labels"], json!({ "app": "a" }));
        assert_eq!(pod["spec"], json!({ "x": 1 }));
    }
}
