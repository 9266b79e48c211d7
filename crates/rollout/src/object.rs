//! Rendered objects, what they are called, and how we mark the ones that are ours.

use manifests::ObjectId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Error;

/// The field manager of every write, and the value of the label `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "mlflow-xtask";
/// The label that says which tool manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The label that says which environment an object belongs to.
pub const ENVIRONMENT: &str = "mlflow-gke.dev/environment";

/// What a live object, or one that we made, is called.
pub(crate) fn id_of(object: &Value) -> Result<ObjectId, Error> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let (Some(api_version), Some(kind), Some(name)) =
        (text("/apiVersion"), text("/kind"), text("/metadata/name"))
    else {
        return Err(Error::NotAnObject { start: object.to_string().chars().take(80).collect() });
    };
    Ok(ObjectId {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: text("/metadata/namespace").map(str::to_owned),
        name: name.to_owned(),
    })
}

/// The API group, empty for the core group.
pub(crate) fn group(id: &ObjectId) -> &str {
    id.api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

/// Equality across API versions: apps/v1 and apps/v2 of a Deployment are one object.
pub(crate) fn same(one: &ObjectId, other: &ObjectId) -> bool {
    (group(one), &one.kind, &one.namespace, &one.name)
        == (group(other), &other.kind, &other.namespace, &other.name)
}

/// Whose objects a rollout works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// The environment, such as `kind`.
    pub environment: String,
    /// The namespace that holds the inventory and the lease.
    pub namespace: String,
}

impl Owner {
    /// Puts our labels on an object that is about to be applied.
    pub(crate) fn stamp(&self, object: &mut Value) {
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            return;
        };
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if !labels.is_object() {
            *labels = json!({});
        }
        labels[MANAGED_BY] = json!(MANAGER);
        labels[ENVIRONMENT] = json!(self.environment);
    }

    /// The label selector that finds what `stamp` marked.
    pub(crate) fn selector(&self) -> String {
        format!("{MANAGED_BY}={MANAGER},{ENVIRONMENT}={}", self.environment)
    }

    /// Why a live object is not ours, or `None` when it is.
    ///
    /// Labels alone prove nothing: people copy manifests with their labels. The field manager is
    /// written by the server and names who applied the object.
    pub(crate) fn foreign(&self, live: &Value) -> Option<String> {
        if label(live, MANAGED_BY) != Some(MANAGER) {
            return Some(format!("it has no label {MANAGED_BY}={MANAGER}"));
        }
        if label(live, ENVIRONMENT) != Some(&self.environment) {
            return Some(format!("it has no label {ENVIRONMENT}={}", self.environment));
        }
        if applied_fields(live).is_none() {
            return Some(format!("the field manager {MANAGER} never applied it"));
        }
        None
    }
}

/// A label of an object.
pub(crate) fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(name)?.as_str()
}

/// The entries of `metadata.managedFields`.
pub(crate) fn managers(live: &Value) -> impl Iterator<Item = &Value> {
    live.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten()
}

/// The set of fields that our manager applied, as the server keeps it.
pub(crate) fn applied_fields(live: &Value) -> Option<&Value> {
    managers(live)
        .find(|it| {
            it["manager"] == MANAGER && it["operation"] == "Apply" && it["subresource"].is_null()
        })
        .map(|it| &it["fieldsV1"])
}

/// A text field of `metadata`.
pub(crate) fn meta<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get(name)?.as_str()
}

/// `metadata.generation`, 0 for kinds that have none.
pub(crate) fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0)
}
