//! A bundle of the size and shape of the real ones.

use manifests::{Bundle, Object};
use serde_json::{Value, json};

/// One object's wave and its text.
pub(crate) fn object(value: Value) -> Object {
    Object::new(value).expect("a test object")
}

/// Puts objects in the order in which `Bundle::parse` would.
pub(crate) fn bundle(values: impl IntoIterator<Item = Value>) -> Bundle {
    let mut objects: Vec<Object> = values.into_iter().map(object).collect();
    objects.sort_by(|a, b| (a.wave, &a.id).cmp(&(b.wave, &b.id)));
    Bundle { objects }
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": name, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
    })
}

pub(crate) fn plain(api_version: &str, kind: &str, name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": { "name": name, "namespace": namespace },
    })
}

pub(crate) fn config_map(name: &str, namespace: &str, value: &str) -> Value {
    let mut object = plain("v1", "ConfigMap", name, namespace);
    object["data"] = json!({ "KEY": value });
    object
}

pub(crate) fn service(name: &str, namespace: &str, port: u16) -> Value {
    let mut object = plain("v1", "Service", name, namespace);
    object["spec"] = json!({
        "selector": { "app": name },
        "ports": [{ "name": "http", "port": port, "targetPort": "http" }],
    });
    object
}

/// A pod template that Pod Security `restricted` admits.
fn template(name: &str, image: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": name } },
        "spec": {
            "serviceAccountName": name,
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 10001,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": name,
                "image": image,
                "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
                "ports": [{ "name": "http", "containerPort": 5000 }],
                "resources": {
                    "requests": { "cpu": "100m", "memory": "256Mi" },
                    "limits": { "cpu": "1000m", "memory": "1024Mi" },
                },
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
                "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }],
            }],
            "volumes": [{ "name": "tmp", "emptyDir": {} }],
        },
    })
}

fn in_wave(mut object: Value, wave: u32) -> Value {
    object["metadata"]["annotations"] = json!({ manifests::bundle::WAVE: wave.to_string() });
    object
}

pub(crate) fn deployment(name: &str, namespace: &str, image: &str, wave: u32) -> Value {
    let mut object = plain("apps/v1", "Deployment", name, namespace);
    object["spec"] = json!({
        "replicas": 1,
        "selector": { "matchLabels": { "app": name } },
        "template": template(name, image),
    });
    in_wave(object, wave)
}

pub(crate) fn job(name: &str, namespace: &str, image: &str, wave: u32) -> Value {
    let mut object = plain("batch/v1", "Job", name, namespace);
    let mut template = template(name, image);
    template["spec"]["restartPolicy"] = json!("Never");
    object["spec"] = json!({ "backoffLimit": 3, "template": template });
    in_wave(object, wave)
}

pub(crate) fn claim(name: &str, namespace: &str, size: &str) -> Value {
    let mut object = plain("v1", "PersistentVolumeClaim", name, namespace);
    object["spec"] = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": size } },
    });
    object
}

fn policy(name: &str, ns: &str) -> Value {
    let mut object = plain("networking.k8s.io/v1", "NetworkPolicy", name, ns);
    object["spec"] = json!({
        "podSelector": { "matchLabels": { "app": name } },
        "policyTypes": ["Ingress", "Egress"],
        "egress": [{ "ports": [{ "port": 53, "protocol": "UDP" }] }],
    });
    object
}

/// Twenty-five objects: MLflow with its database, two Jobs and everything around them.
pub(crate) fn environment(ns: &str) -> Vec<Value> {
    let mut objects = vec![namespace(ns)];
    for name in ["mlflow", "postgres", "mlflow-migrate", "mlflow-secrets"] {
        objects.push(plain("v1", "ServiceAccount", name, ns));
        objects.push(policy(name, ns));
    }
    objects.push(policy("default-deny", ns));
    objects.push(policy("dns", ns));
    let mut role = plain("rbac.authorization.k8s.io/v1", "Role", "mlflow-secrets", ns);
    role["rules"] =
        json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "get"] }]);
    let mut binding = plain("rbac.authorization.k8s.io/v1", "RoleBinding", "mlflow-secrets", ns);
    binding["roleRef"] = json!({
        "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "mlflow-secrets",
    });
    binding["subjects"] =
        json!([{ "kind": "ServiceAccount", "name": "mlflow-secrets", "namespace": ns }]);
    let mut secret = plain("v1", "Secret", "extra", ns);
    secret["stringData"] = json!({ "password": "hunter2" });
    let mut budget = plain("policy/v1", "PodDisruptionBudget", "mlflow", ns);
    budget["spec"] = json!({
        "maxUnavailable": 1,
        "selector": { "matchLabels": { "app": "mlflow" } },
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    });
    objects.extend([role, binding, secret, budget]);
    objects.extend([
        config_map("mlflow-config-5hg9kmt2b4", ns, "1"),
        config_map("postgres-config", ns, "1"),
        config_map("postgres-scripts", ns, "1"),
        claim("postgres", ns, "1Gi"),
        service("mlflow", ns, 5000),
        service("postgres", ns, 5432),
        job("mlflow-secrets", ns, "mlflow:1", 1),
        deployment("postgres", ns, "postgres:1", 2),
        job("mlflow-migrate", ns, "mlflow:1", 3),
        deployment("mlflow", ns, "mlflow:1", 4),
    ]);
    objects
}
