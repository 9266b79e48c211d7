//! Which object needs which, and what nobody provides.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    Bundle, Object,
    pods::{self, Container, PodTemplate, items, text},
};

/// The annotation on a Job with the objects it makes when it runs, such as `Secret/mlflow-database`.
pub const PRODUCES: &str = "mlflow-gke.dev/produces";

/// One object's need for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Who needs it.
    pub from: &'a Object,
    /// The field that says so.
    pub field: String,
    /// The kind of what is needed.
    pub kind: &'static str,
    /// Its name.
    pub name: &'a str,
    /// The key in it, for a ConfigMap or a Secret.
    pub key: Option<&'a str>,
    /// Whether the pod starts without it.
    pub optional: bool,
}

/// Every need that a bundle's objects name.
pub fn references(bundle: &Bundle) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    for template in pods::templates(bundle) {
        found.extend(of_template(&template));
    }
    for binding in bundle.of_kind("RoleBinding").chain(bundle.of_kind("ClusterRoleBinding")) {
        found.extend(of_binding(binding));
    }
    found
}

/// The needs that neither a rendered object nor a Job of the bundle meets.
pub fn dangling(bundle: &Bundle) -> Vec<Reference<'_>> {
    let produced = produced(bundle);
    let mut dangling = references(bundle);
    dangling.retain(|it| !it.optional && !is_met(bundle, &produced, it));
    dangling
}

/// What the Jobs of a bundle make: kind and name.
pub fn produced(bundle: &Bundle) -> BTreeSet<(&str, &str)> {
    bundle
        .objects
        .iter()
        .filter_map(|it| it.annotation(PRODUCES))
        .flat_map(|it| it.split(','))
        .filter_map(|it| it.trim().split_once('/'))
        .collect()
}

/// The wave from which a reference's object exists, none where it does not.
pub fn wave_of(bundle: &Bundle, reference: &Reference<'_>) -> Option<u32> {
    let rendered = bundle.find(reference.kind, reference.name).map(|it| it.wave);
    rendered.or_else(|| {
        let job = bundle.objects.iter().find(|it| {
            it.annotation(PRODUCES).is_some_and(|it| {
                it.split(',')
                    .any(|it| it.trim().split_once('/') == Some((reference.kind, reference.name)))
            })
        });
        job.map(|it| it.wave)
    })
}

fn is_met(bundle: &Bundle, produced: &BTreeSet<(&str, &str)>, it: &Reference<'_>) -> bool {
    // Every namespace has it, and every cluster has its own roles.
    if it.kind == "ServiceAccount" && it.name == "default" || it.kind == "ClusterRole" {
        return true;
    }
    if produced.contains(&(it.kind, it.name)) {
        return true;
    }
    let found = bundle
        .of_kind(it.kind)
        .find(|object| object.id.name == it.name && object.namespace() == it.from.namespace());
    match (found, it.key) {
        (Some(object), Some(key)) => ["data", "stringData", "binaryData"]
            .iter()
            .any(|field| object.value.get(field).and_then(|it| it.get(key)).is_some()),
        (found, _) => found.is_some(),
    }
}

fn of_template<'a>(template: &PodTemplate<'a>) -> Vec<Reference<'a>> {
    let mut needs = Needs { from: template.object, found: Vec::new() };
    let account = format!("{}.serviceAccountName", template.path);
    needs.push("ServiceAccount", template.service_account(), account, None, false);
    for (index, it) in items(template.spec, "imagePullSecrets").enumerate() {
        let field = format!("{}.imagePullSecrets[{index}]", template.path);
        needs.add("Secret", Some(it), "name", field, &[]);
    }
    for volume in items(template.spec, "volumes") {
        let name = text(volume, "name").unwrap_or("?");
        needs.of_volume(volume, &format!("{}.volumes[name={name}]", template.path));
    }
    for container in template.containers() {
        needs.of_container(&container);
    }
    needs.found
}

/// The needs of one object as they are collected.
struct Needs<'a> {
    from: &'a Object,
    found: Vec<Reference<'a>>,
}

impl<'a> Needs<'a> {
    fn of_volume(&mut self, volume: &'a Value, path: &str) {
        let claim = volume.get("persistentVolumeClaim");
        let field = format!("{path}.persistentVolumeClaim");
        self.add("PersistentVolumeClaim", claim, "claimName", field, &[]);
        self.of_source(volume, "secretName", path);
        let projected = volume.get("projected").into_iter();
        for (index, source) in projected.flat_map(|it| items(it, "sources")).enumerate() {
            self.of_source(source, "name", &format!("{path}.projected.sources[{index}]"));
        }
    }

    /// A Secret's name has another field in a volume than in a projected source.
    fn of_source(&mut self, source: &'a Value, secret_name: &str, path: &str) {
        for (kind, field, name) in
            [("Secret", "secret", secret_name), ("ConfigMap", "configMap", "name")]
        {
            let inner = source.get(field);
            self.add(kind, inner, name, format!("{path}.{field}"), &keys(inner));
        }
    }

    fn of_container(&mut self, container: &Container<'a>) {
        for (index, it) in items(container.value, "envFrom").enumerate() {
            let field = format!("{}.envFrom[{index}]", container.path);
            self.add("ConfigMap", it.get("configMapRef"), "name", field.clone(), &[]);
            self.add("Secret", it.get("secretRef"), "name", field, &[]);
        }
        for it in items(container.value, "env") {
            let field = format!("{}.env[name={}]", container.path, text(it, "name").unwrap_or("?"));
            let Some(from) = it.get("valueFrom") else { continue };
            for (kind, source) in [("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")] {
                let source = from.get(source);
                let key = source.and_then(|it| text(it, "key"));
                self.add(kind, source, "name", field.clone(), key.as_slice());
            }
        }
    }

    /// What `source` names in its field `name`, as a whole or key by key.
    fn add(
        &mut self,
        kind: &'static str,
        source: Option<&'a Value>,
        name: &str,
        field: String,
        keys: &[&'a str],
    ) {
        let Some(source) = source else { return };
        let Some(name) = text(source, name) else { return };
        let optional = source.get("optional") == Some(&Value::Bool(true));
        if keys.is_empty() {
            self.push(kind, name, field, None, optional);
            return;
        }
        for key in keys {
            self.push(kind, name, field.clone(), Some(key), optional);
        }
    }

    fn push(
        &mut self,
        kind: &'static str,
        name: &'a str,
        field: String,
        key: Option<&'a str>,
        optional: bool,
    ) {
        self.found.push(Reference { from: self.from, field, kind, name, key, optional });
    }
}

/// The keys that a volume takes out of its source, none when it takes all.
fn keys(source: Option<&Value>) -> Vec<&str> {
    source.into_iter().flat_map(|it| items(it, "items")).filter_map(|it| text(it, "key")).collect()
}

fn of_binding(binding: &Object) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    let reference = |field: String, kind, name| Reference {
        from: binding,
        field,
        kind,
        name,
        key: None,
        optional: false,
    };
    if let Some(role) = binding.value.get("roleRef") {
        let kind = if text(role, "kind") == Some("ClusterRole") { "ClusterRole" } else { "Role" };
        found.extend(text(role, "name").map(|it| reference("roleRef".to_owned(), kind, it)));
    }
    for (index, subject) in items(&binding.value, "subjects").enumerate() {
        // An account of another namespace is that namespace's matter.
        let here = text(subject, "namespace").is_none_or(|it| it == binding.namespace());
        if text(subject, "kind") == Some("ServiceAccount") && here {
            let name = text(subject, "name");
            found.extend(
                name.map(|it| reference(format!("subjects[{index}]"), "ServiceAccount", it)),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: n}
spec:
  serviceAccountName: account
  volumes:
    - {name: a, secret: {secretName: s, items: [{key: password, path: p}]}}
    - {name: b, configMap: {name: c, optional: true}}
    - {name: c, persistentVolumeClaim: {claimName: claim}}
    - {name: d, projected: {sources: [{configMap: {name: ca}}]}}
  containers:
    - name: x
      envFrom: [{configMapRef: {name: e}}]
      env:
        - {name: A, valueFrom: {secretKeyRef: {name: s, key: user}}}
        - {name: B, value: literal}
";

    fn dangling_names(text: &str) -> Vec<String> {
        let bundle = Bundle::parse(text).unwrap();
        dangling(&bundle)
            .iter()
            .map(|it| {
                let key = it.key.map(|it| format!(".{it}")).unwrap_or_default();
                format!("{}/{}{key}", it.kind, it.name)
            })
            .collect()
    }

    #[test]
    fn everything_a_pod_needs_is_found_and_the_optional_left_out() {
        assert_eq!(
            dangling_names(POD),
            [
                "ServiceAccount/account",
                "Secret/s.password",
                "PersistentVolumeClaim/claim",
                "ConfigMap/ca",
                "ConfigMap/e",
                "Secret/s.user",
            ]
        );
    }

    #[test]
    fn a_job_may_produce_what_no_document_holds() {
        let job = "---\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: j\n  namespace: n\n  \
                   annotations: {mlflow-gke.dev/produces: \"Secret/s, ConfigMap/e\"}\n";
        let found = dangling_names(&format!("{POD}{job}"));
        assert_eq!(
            found,
            ["ServiceAccount/account", "PersistentVolumeClaim/claim", "ConfigMap/ca"]
        );
    }

    #[test]
    fn a_secret_without_the_key_or_in_another_namespace_does_not_help() {
        let secret = |namespace: &str, key: &str| {
            format!(
                "{POD}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: \
                 {namespace}}}\ndata: {{{key}: eA==}}\n"
            )
        };
        assert!(!dangling_names(&secret("n", "user")).contains(&"Secret/s.user".to_owned()));
        assert!(dangling_names(&secret("n", "user")).contains(&"Secret/s.password".to_owned()));
        assert!(dangling_names(&secret("m", "user")).contains(&"Secret/s.user".to_owned()));
    }

    #[test]
    fn a_binding_needs_its_role_and_its_accounts() {
        let binding = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
            metadata: {name: b, namespace: n}\nroleRef: {kind: Role, name: r}\n\
            subjects: [{kind: ServiceAccount, name: a}, {kind: ServiceAccount, name: o, namespace: m}]\n";
        assert_eq!(dangling_names(binding), ["Role/r", "ServiceAccount/a"]);
    }
}
