//! Needs that nobody meets, and selectors that choose nothing.

use serde_json::Value;

use crate::{
    Bundle, Code, Finding, Object, graph,
    pods::{self, PodTemplate, items, text},
};

pub(super) fn check(bundle: &Bundle) -> Vec<Finding> {
    let mut findings = dangling(bundle);
    let templates: Vec<_> = pods::templates(bundle).collect();
    for service in bundle.of_kind("Service") {
        findings.extend(of_service(service, &templates));
    }
    for kind in ["NetworkPolicy", "PodDisruptionBudget"] {
        for object in bundle.of_kind(kind) {
            findings.extend(of_selector(object, &templates));
        }
    }
    findings.extend(bundle.objects.iter().filter_map(own_selector));
    findings
}

fn dangling(bundle: &Bundle) -> Vec<Finding> {
    graph::dangling(bundle)
        .iter()
        .map(|it| {
            let exists = bundle.find(it.kind, it.name).is_some();
            let message = match it.key.filter(|_| exists) {
                Some(key) => {
                    format!("needs key `{key}` of {} `{}`, which has none", it.kind, it.name)
                }
                None => format!("needs {} `{}`, which nothing provides", it.kind, it.name),
            };
            let hint = format!(
                "add it to the overlay, or name the Job that makes it: annotation {}: {}/{}",
                graph::PRODUCES,
                it.kind,
                it.name
            );
            Finding::new(Code::DanglingReference, &it.from.id, it.field.clone(), message, hint)
        })
        .collect()
}

fn of_service(service: &Object, templates: &[PodTemplate<'_>]) -> Vec<Finding> {
    let Some(selector) = service.value.pointer("/spec/selector") else { return Vec::new() };
    let chosen: Vec<_> = templates
        .iter()
        .filter(|it| it.object.id.namespace == service.id.namespace && it.matches_labels(selector))
        .collect();
    if chosen.is_empty() {
        let message = format!("chooses no pod: {selector}");
        let hint = "write the labels of a pod template";
        return vec![Finding::of(Code::EmptySelector, service, "spec.selector", message, hint)];
    }
    let named = |name: &str| {
        chosen.iter().flat_map(|it| it.containers()).any(|container| {
            items(container.value, "ports").any(|port| text(port, "name") == Some(name))
        })
    };
    items(&service.value["spec"], "ports")
        .filter_map(|it| text(it, "targetPort"))
        .filter(|it| !named(it))
        .map(|it| {
            let message = format!("no chosen pod has a port named `{it}`");
            let hint = "name the port in the pod template";
            Finding::of(Code::DanglingReference, service, "spec.ports", message, hint)
        })
        .collect()
}

fn of_selector(object: &Object, templates: &[PodTemplate<'_>]) -> Option<Finding> {
    let field = if object.id.kind == "NetworkPolicy" { "podSelector" } else { "selector" };
    let selector = object.value.get("spec")?.get(field)?;
    let chosen = templates
        .iter()
        .any(|it| it.object.id.namespace == object.id.namespace && it.matches(selector));
    (!chosen).then(|| {
        let message = format!("chooses no pod: {selector}");
        let hint = "write the labels of a pod template";
        Finding::of(Code::EmptySelector, object, &format!("spec.{field}"), message, hint)
    })
}

/// The API server refuses a workload whose selector does not choose its own pods.
fn own_selector(object: &Object) -> Option<Finding> {
    let selector = object.value.pointer("/spec/selector").filter(|it| it.is_object())?;
    let template = PodTemplate::of(object)?;
    (selector != &Value::Null && !template.matches(selector)).then(|| {
        let message = "does not choose the pods of its own template".to_owned();
        let hint = "write the same labels in spec.selector and spec.template.metadata.labels";
        Finding::of(Code::EmptySelector, object, "spec.selector", message, hint)
    })
}
