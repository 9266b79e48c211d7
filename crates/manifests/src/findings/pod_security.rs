//! Kubernetes' Pod Security standard `restricted`, as far as it can be told without a server.

use serde_json::Value;

use crate::{
    Bundle, Code, Finding, Object,
    pods::{self, Container, PodTemplate, items, text},
};

const LEVEL: &str = "pod-security.kubernetes.io/enforce";
const VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

pub(super) fn check(bundle: &Bundle) -> Vec<Finding> {
    let mut findings: Vec<Finding> = bundle.of_kind("Namespace").filter_map(of_namespace).collect();
    for template in pods::templates(bundle) {
        findings.extend(of_pod(&template));
        for container in template.containers() {
            findings.extend(of_container(&template, &container));
        }
    }
    findings
}

fn of_namespace(namespace: &Object) -> Option<Finding> {
    let labels = namespace.value.pointer("/metadata/labels");
    let label = |name: &str| labels.and_then(|it| text(it, name));
    let (field, message, hint) = if label(LEVEL) != Some("restricted") {
        (LEVEL, "does not enforce Pod Security `restricted`", "add the label")
    } else if label("pod-security.kubernetes.io/enforce-version").is_none_or(|it| it == "latest") {
        let hint =
            "write the version it was tested with: an upgrade of the cluster may refuse more";
        ("pod-security.kubernetes.io/enforce-version", "is not pinned to a version", hint)
    } else {
        return None;
    };
    let field = format!("metadata.labels.{field}");
    Some(Finding::of(Code::PodSecurity, namespace, &field, message.to_owned(), hint))
}

fn of_pod(template: &PodTemplate<'_>) -> Vec<Finding> {
    let spec = template.spec;
    let mut findings = Vec::new();
    let mut find = |field: &str, message: String, hint: &str| {
        let field = format!("{}.{field}", template.path);
        findings.push(Finding::of(Code::PodSecurity, template.object, &field, message, hint));
    };
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec.get(field) == Some(&Value::Bool(true)) {
            find(field, "shares the node's".to_owned(), "remove it");
        }
    }
    for volume in items(spec, "volumes") {
        let kinds = volume.as_object().into_iter().flat_map(|it| it.keys());
        for kind in kinds.filter(|it| *it != "name" && !VOLUMES.contains(&it.as_str())) {
            let name = text(volume, "name").unwrap_or("?");
            let message = format!("is of kind `{kind}`, which the standard forbids");
            find(&format!("volumes[name={name}]"), message, "use a claim or an emptyDir");
        }
    }
    findings
}

fn of_container(template: &PodTemplate<'_>, container: &Container<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own = container.value.get("securityContext");
    let pod = template.spec.get("securityContext");
    let either =
        |field: &str| own.and_then(|it| it.get(field)).or_else(|| pod.and_then(|it| it.get(field)));
    let mut find = |code, field: &str, message: &str, hint: &str| {
        let field = format!("{}.securityContext.{field}", container.path);
        findings.push(Finding::of(code, template.object, &field, message.to_owned(), hint));
    };
    let is =
        |field: &str, value: bool| own.and_then(|it| it.get(field)) == Some(&Value::Bool(value));
    let security = Code::PodSecurity;
    if is("privileged", true) {
        find(security, "privileged", "has all of the node's rights", "remove it");
    }
    if !is("allowPrivilegeEscalation", false) {
        find(security, "allowPrivilegeEscalation", "may gain rights", "set it to false");
    }
    if either("runAsNonRoot") != Some(&Value::Bool(true)) {
        find(security, "runAsNonRoot", "may run as root", "set it to true");
    }
    if either("runAsUser") == Some(&Value::from(0)) {
        find(security, "runAsUser", "runs as root", "name another user");
    }
    let profile = either("seccompProfile").and_then(|it| text(it, "type"));
    if !matches!(profile, Some("RuntimeDefault" | "Localhost")) {
        find(security, "seccompProfile.type", "has no profile", "set it to RuntimeDefault");
    }
    let capabilities = own.and_then(|it| it.get("capabilities")).unwrap_or(&Value::Null);
    if !items(capabilities, "drop").any(|it| it == "ALL") {
        find(security, "capabilities.drop", "keeps capabilities", "drop ALL");
    }
    if items(capabilities, "add").any(|it| it != "NET_BIND_SERVICE") {
        find(security, "capabilities.add", "adds capabilities", "remove them");
    }
    if items(container.value, "ports").any(|it| it.get("hostPort").is_some()) {
        find(security, "ports", "takes a port of the node", "remove hostPort");
    }
    if !is("readOnlyRootFilesystem", true) {
        let hint = "set it to true, and mount an emptyDir where the program writes";
        find(Code::WritableRoot, "readOnlyRootFilesystem", "may write to its image", hint);
    }
    findings
}
