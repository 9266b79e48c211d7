//! What starts before it can work, what is called ready too early, and arguments that do nothing.

use serde_json::Value;

use crate::{
    Bundle, Code, Finding, graph,
    pods::{self, Container, PodTemplate, text},
};

pub(super) fn check(bundle: &Bundle) -> Vec<Finding> {
    let mut findings = Vec::new();
    for template in pods::templates(bundle) {
        findings.extend(before_its_host(bundle, &template));
        for container in template.containers() {
            findings.extend(blind_probe(&template, &container));
            findings.extend(malformed_argument(&template, &container));
        }
    }
    findings.extend(before_its_needs(bundle));
    findings
}

/// A pod that names a Service of the bundle as a host starts in a later wave than the pods behind it.
fn before_its_host(bundle: &Bundle, template: &PodTemplate<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for container in template.containers() {
        for (name, value) in container.literals() {
            let is_host = name.ends_with("HOST") || value.contains(':');
            let mut services = bundle.of_kind("Service");
            let host = services.find(|it| is_host && names_host(value, &it.id.name));
            let Some(host) = host else {
                continue;
            };
            let Some(selector) = host.value.pointer("/spec/selector") else { continue };
            let behind = pods::templates(bundle).filter(|it| it.matches_labels(selector));
            for other in behind.filter(|it| it.object.id != template.object.id) {
                if other.object.wave < template.object.wave {
                    continue;
                }
                let message = format!("starts no later than {}, which it needs", other.object.id);
                let hint = "give it a higher wave: annotation mlflow-gke.dev/wave";
                let field = format!("{}.env[name={name}]", container.path);
                findings.push(Finding::of(Code::Order, template.object, &field, message, hint));
            }
        }
    }
    findings
}

/// Whether a value is a host, or a URI with it, that is this Service.
fn names_host(value: &str, service: &str) -> bool {
    let rest = value.split_once("://").map_or(value, |it| it.1);
    let authority = rest.split(['/', '?', ',']).next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    host.split([':', '.']).next() == Some(service)
        && (value.contains("://") || !value.contains(','))
        && !service.is_empty()
        && (host == service || host.contains([':', '.']))
}

fn before_its_needs(bundle: &Bundle) -> Vec<Finding> {
    graph::references(bundle)
        .iter()
        .filter_map(|it| {
            let wave = graph::wave_of(bundle, it)?;
            (wave > it.from.wave).then(|| {
                let message =
                    format!("is applied before {} `{}`, which it needs", it.kind, it.name);
                let hint = "give it a higher wave: annotation mlflow-gke.dev/wave";
                Finding::of(Code::Order, it.from, &it.field, message, hint)
            })
        })
        .collect()
}

/// MLflow listens, and its /health says OK, while its database is away.
fn blind_probe(template: &PodTemplate<'_>, container: &Container<'_>) -> Option<Finding> {
    // A Job is not asked whether it is ready.
    if ["Job", "CronJob", "Pod"].contains(&template.object.id.kind.as_str()) {
        return None;
    }
    container.value.get("ports")?;
    let probe = container.value.get("readinessProbe");
    let is_mlflow = container.image().is_some_and(|it| it.name == "mlflow");
    let path = probe.and_then(|it| it.pointer("/httpGet/path")).and_then(Value::as_str);
    let message = match probe {
        None => "has no readiness probe: it is called ready when its process runs",
        Some(it) if it.get("tcpSocket").is_some() => {
            "asks only whether a port is open: it is called ready when nothing works"
        }
        Some(_) if is_mlflow && matches!(path, Some("/health" | "/version")) => {
            "asks for a constant: it is called ready while its database is away"
        }
        Some(_) => return None,
    };
    let field = format!("{}.readinessProbe", container.path);
    let hint = "ask for something that takes the whole way, such as a row of the database";
    Some(Finding::of(Code::BlindProbe, template.object, &field, message.to_owned(), hint))
}

/// `term_timeout=10s` for `-term_timeout=10s`: the proxy takes it for the name of an instance.
fn malformed_argument(template: &PodTemplate<'_>, container: &Container<'_>) -> Vec<Finding> {
    let is_proxy =
        container.image().is_some_and(|it| ["gce-proxy", "cloud-sql-proxy"].contains(&it.name));
    let program = text(container.value, "image").unwrap_or_default();
    container
        .words()
        .filter(|it| is_proxy && !it.starts_with('-') && !it.contains([':', '/', '?']))
        .filter(|it| it.contains('='))
        .map(|it| {
            let message = format!("`{it}` is not a flag of {program}: it has no dash");
            let field = format!("{}.args", container.path);
            let hint = format!("write --{}", it.replace('_', "-"));
            Finding::new(Code::MalformedArgument, &template.object.id, field, message, hint)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_in_a_name_and_in_a_uri() {
        for value in
            ["postgres", "postgres:5432", "postgres.mlflow.svc", "postgresql://u@postgres:5432/d"]
        {
            assert!(names_host(value, "postgres"), "{value}");
        }
        for value in
            ["mlflow,mlflow:5000", "postgresql+psycopg2://", "mypostgres", "gs://bucket", ""]
        {
            assert!(!names_host(value, "postgres") && !names_host(value, "mlflow"), "{value}");
        }
    }
}
