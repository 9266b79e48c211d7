//! Who can reach what: Services, databases, Google, and kinds that the API server does not serve.

use serde_json::Value;

use crate::{
    Bundle, Code, Finding, Object,
    pods::{self, Container, PodTemplate, items, text},
};

const GOOGLE_IDENTITY: &str = "iam.gke.io/gcp-service-account";
const DATABASE_IMAGES: &[&str] = &["postgres", "cloud-sql-proxy", "gce-proxy", "mysql"];

/// What Kubernetes gave up, and the version that took its place.
const UNSERVED: &[(&str, &str, &str)] = &[
    ("extensions/v1beta1", "", "apps/v1, or networking.k8s.io/v1 for an Ingress"),
    ("apps/v1beta1", "", "apps/v1"),
    ("apps/v1beta2", "", "apps/v1"),
    ("batch/v1beta1", "", "batch/v1"),
    ("policy/v1beta1", "", "policy/v1"),
    ("networking.k8s.io/v1beta1", "", "networking.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1beta1", "", "rbac.authorization.k8s.io/v1"),
    ("autoscaling/v2beta1", "", "autoscaling/v2"),
    ("autoscaling/v2beta2", "", "autoscaling/v2"),
];

pub(super) fn check(bundle: &Bundle) -> Vec<Finding> {
    let mut findings: Vec<Finding> = bundle.of_kind("Service").filter_map(exposed).collect();
    findings.extend(bundle.of_kind("Ingress").map(ingress));
    findings.extend(bundle.objects.iter().filter_map(|it| unserved(bundle, it)));
    for template in pods::templates(bundle) {
        findings.extend(open_database(bundle, &template));
        findings.extend(identity(bundle, &template));
    }
    findings
}

fn exposed(service: &Object) -> Option<Finding> {
    let kind = service.value.pointer("/spec/type").and_then(Value::as_str)?;
    matches!(kind, "NodePort" | "LoadBalancer" | "ExternalName").then(|| {
        let message = format!("is a {kind}: reachable from outside, without authentication");
        let hint = "use ClusterIP, and kubectl port-forward for people";
        Finding::of(Code::Exposure, service, "spec.type", message, hint)
    })
}

fn ingress(ingress: &Object) -> Finding {
    let message = "is reachable from outside, without authentication".to_owned();
    let hint = "remove it, and use kubectl port-forward for people";
    Finding::of(Code::Exposure, ingress, "spec", message, hint)
}

fn unserved(bundle: &Bundle, object: &Object) -> Option<Finding> {
    let version = object.id.api_version.as_str();
    let find = |message: String, hint: &str| {
        Some(Finding::of(Code::UnservedKind, object, "apiVersion", message, hint))
    };
    if let Some((.., instead)) = UNSERVED.iter().find(|it| it.0 == version) {
        return find(format!("`{version}` is no longer served"), &format!("use {instead}"));
    }
    let group = version.split_once('/').map_or("", |it| it.0);
    let built_in = !group.contains('.') || group.ends_with(".k8s.io") || group == "k8s.io";
    let defined = || {
        bundle.of_kind("CustomResourceDefinition").any(|it| {
            it.value.pointer("/spec/group").and_then(Value::as_str) == Some(group)
                && it.value.pointer("/spec/names/kind").and_then(Value::as_str)
                    == Some(&object.id.kind)
        })
    };
    if built_in || defined() {
        return None;
    }
    let message = format!("`{}` of `{group}` is not part of Kubernetes", object.id.kind);
    find(message, "put it into a component that only clusters with its definition use")
}

/// A database's pod that some NetworkPolicy does not narrow to chosen pods.
fn open_database(bundle: &Bundle, template: &PodTemplate<'_>) -> Option<Finding> {
    template
        .containers()
        .iter()
        .find(|it| it.image().is_some_and(|it| DATABASE_IMAGES.contains(&it.name)))?;
    let mut policies = bundle
        .of_kind("NetworkPolicy")
        .filter(|it| it.id.namespace == template.object.id.namespace)
        .filter(|it| it.value.pointer("/spec/podSelector").is_some_and(|it| template.matches(it)))
        .filter(|it| restricts_ingress(it))
        .peekable();
    let message = match policies.peek() {
        None => "is reachable by every pod of the cluster: no NetworkPolicy chooses it".to_owned(),
        Some(_) => {
            let open = policies.find(|it| admits_everyone(it))?;
            format!("is reachable by every pod: {} admits all", open.id)
        }
    };
    let hint = "add a NetworkPolicy that admits the database's clients by their labels";
    Some(Finding::of(Code::OpenDatabase, template.object, "spec", message, hint))
}

fn restricts_ingress(policy: &Object) -> bool {
    let types: Vec<_> = items(&policy.value["spec"], "policyTypes").collect();
    types.is_empty() || types.iter().any(|it| *it == "Ingress")
}

fn admits_everyone(policy: &Object) -> bool {
    items(&policy.value["spec"], "ingress").any(|rule| {
        let from: Vec<_> = items(rule, "from").collect();
        let is_empty = |it: Option<&Value>| {
            it.and_then(Value::as_object).is_some_and(serde_json::Map::is_empty)
        };
        from.is_empty()
            || from.iter().any(|it| {
                let any_namespace = is_empty(it.get("namespaceSelector"));
                let any_pod = it.get("podSelector").is_none() || is_empty(it.get("podSelector"));
                let any_address =
                    it.pointer("/ipBlock/cidr").and_then(Value::as_str) == Some("0.0.0.0/0");
                any_namespace && any_pod
                    || any_address
                    || it.get("namespaceSelector").is_none() && is_empty(it.get("podSelector"))
            })
    })
}

/// A pod that uses Google signs in as what its service account names.
fn identity(bundle: &Bundle, template: &PodTemplate<'_>) -> Option<Finding> {
    let containers = template.containers();
    let container = containers.iter().find(|it| uses_google(bundle, template, it))?;
    let name = template.service_account();
    let account = bundle.find("ServiceAccount", name);
    let identity = account.and_then(|it| it.annotation(GOOGLE_IDENTITY));
    let (object, message) = match (account, identity) {
        (_, Some(address)) if is_address(address) => return None,
        (Some(account), Some(address)) => {
            (account, format!("`{address}` is not the address of a Google service account"))
        }
        (Some(account), None) => {
            (account, format!("has no Google identity, which {} needs", container.path))
        }
        (None, _) => (template.object, format!("runs as `{name}`, which has no Google identity")),
    };
    let field = format!("metadata.annotations.{GOOGLE_IDENTITY}");
    let hint = "write ID@PROJECT.iam.gserviceaccount.com in the manifest: pods that run already \
                do not notice an annotation made later";
    Some(Finding::of(Code::MissingIdentity, object, &field, message, hint))
}

fn is_address(text: &str) -> bool {
    let Some((id, domain)) = text.split_once('@') else { return false };
    let project = domain.strip_suffix(".iam.gserviceaccount.com");
    !id.is_empty() && project.is_some_and(|it| !it.is_empty())
}

fn uses_google(bundle: &Bundle, template: &PodTemplate<'_>, container: &Container<'_>) -> bool {
    let proxy = |it: pods::Image<'_>| ["cloud-sql-proxy", "gce-proxy"].contains(&it.name);
    let is_bucket = |it: &str| it.contains("gs://");
    if container.image().is_some_and(proxy)
        || container.words().any(is_bucket)
        || container.literals().values().any(|it| is_bucket(it))
    {
        return true;
    }
    let config = |name: Option<&str>, key: Option<&str>| {
        let data = name.and_then(|it| {
            bundle
                .of_kind("ConfigMap")
                .find(|object| {
                    object.id.name == it && object.id.namespace == template.object.id.namespace
                })?
                .value
                .get("data")?
                .as_object()
        });
        data.into_iter()
            .flatten()
            .filter(|it| key.is_none_or(|key| key == it.0))
            .any(|it| it.1.as_str().is_some_and(is_bucket))
    };
    let mut from_all = items(container.value, "envFrom").filter_map(|it| it.get("configMapRef"));
    let mut from_key =
        items(container.value, "env").filter_map(|it| it.pointer("/valueFrom/configMapKeyRef"));
    from_all.any(|it| config(text(it, "name"), None))
        || from_key.any(|it| config(text(it, "name"), text(it, "key")))
}
