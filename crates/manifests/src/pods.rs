//! The pods that objects ask for, and what is in them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Bundle, Object};

/// A pod template, or a pod, and the object it is in.
#[derive(Debug, Clone, Copy)]
pub struct PodTemplate<'a> {
    /// The object.
    pub object: &'a Object,
    /// The template's labels.
    metadata: Option<&'a Value>,
    /// The pod's `spec`.
    pub spec: &'a Value,
    /// Where `spec` is in the object.
    pub path: &'static str,
}

/// A container of a pod, and where it is in the object.
#[derive(Debug, Clone)]
pub struct Container<'a> {
    /// All of it.
    pub value: &'a Value,
    /// Such as `spec.template.spec.containers[name=mlflow]`.
    pub path: String,
}

/// Every pod template of a bundle.
pub fn templates(bundle: &Bundle) -> impl Iterator<Item = PodTemplate<'_>> {
    bundle.objects.iter().filter_map(PodTemplate::of)
}

impl<'a> PodTemplate<'a> {
    /// The pod template of an object, if it has one.
    pub fn of(object: &'a Object) -> Option<PodTemplate<'a>> {
        let (pod, path) = match object.id.kind.as_str() {
            "Pod" => (&object.value, "spec"),
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
                (object.value.pointer("/spec/template")?, "spec.template.spec")
            }
            "CronJob" => (
                object.value.pointer("/spec/jobTemplate/spec/template")?,
                "spec.jobTemplate.spec.template.spec",
            ),
            _ => return None,
        };
        Some(PodTemplate { object, metadata: pod.get("metadata"), spec: pod.get("spec")?, path })
    }

    /// The pod's containers, the initial ones first.
    pub fn containers(&self) -> Vec<Container<'a>> {
        let of = |field: &'static str| {
            let path = self.path;
            items(self.spec, field).map(move |value| Container {
                value,
                path: format!("{path}.{field}[name={}]", text(value, "name").unwrap_or("?")),
            })
        };
        of("initContainers").chain(of("containers")).collect()
    }

    /// A label of the pod.
    pub fn label(&self, name: &str) -> Option<&'a str> {
        self.metadata?.get("labels")?.get(name)?.as_str()
    }

    /// The Kubernetes service account it runs as.
    pub fn service_account(&self) -> &'a str {
        text(self.spec, "serviceAccountName").unwrap_or("default")
    }

    /// Whether a label selector (`matchLabels`, `matchExpressions`) chooses it; an empty one does.
    pub fn matches(&self, selector: &Value) -> bool {
        let label = |name: &str| self.label(name);
        selects(selector, label)
    }

    /// Whether a plain map of labels, as in a Service, chooses it; an empty one does not.
    pub fn matches_labels(&self, labels: &Value) -> bool {
        labels.as_object().is_some_and(|it| {
            !it.is_empty() && it.iter().all(|(name, value)| self.label(name) == value.as_str())
        })
    }
}

impl<'a> Container<'a> {
    /// The variables with a literal value.
    pub fn literals(&self) -> BTreeMap<&'a str, &'a str> {
        items(self.value, "env")
            .filter_map(|it| Some((text(it, "name")?, text(it, "value")?)))
            .collect()
    }

    /// The words of `command` and `args`.
    pub fn words(&self) -> impl Iterator<Item = &'a str> {
        let value = self.value;
        ["command", "args"]
            .into_iter()
            .flat_map(move |it| items(value, it))
            .filter_map(Value::as_str)
    }

    /// The image's name without registry and tag, and its tag.
    pub fn image(&self) -> Option<Image<'a>> {
        text(self.value, "image").map(Image::of)
    }
}

/// The parts of an image's reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image<'a> {
    /// The last part of the path: `mlflow` of `localhost/mlflow-gke/mlflow:dev`.
    pub name: &'a str,
    /// After the colon.
    pub tag: Option<&'a str>,
    /// After the `@`.
    pub digest: Option<&'a str>,
}

impl<'a> Image<'a> {
    /// Takes a reference apart.
    pub fn of(reference: &'a str) -> Image<'a> {
        let (rest, digest) =
            reference.split_once('@').map_or((reference, None), |it| (it.0, Some(it.1)));
        let last = rest.rsplit('/').next().unwrap_or(rest);
        let (name, tag) = last.split_once(':').map_or((last, None), |it| (it.0, Some(it.1)));
        Image { name, tag, digest }
    }
}

/// The items of a list, none where there is no list.
pub(crate) fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// A field that is a text.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

fn selects<'a>(selector: &Value, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let all_labels =
        labels.into_iter().flatten().all(|(name, value)| label(name) == value.as_str());
    let all_expressions = items(selector, "matchExpressions").all(|it| {
        let found = text(it, "key").and_then(&label);
        let among = || found.is_some_and(|found| items(it, "values").any(|value| value == found));
        match text(it, "operator") {
            Some("In") => among(),
            Some("NotIn") => !among(),
            Some("Exists") => found.is_some(),
            Some("DoesNotExist") => found.is_none(),
            _ => false,
        }
    });
    all_labels && all_expressions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_image_is_taken_apart() {
        let parts = |it| (Image::of(it).name, Image::of(it).tag, Image::of(it).digest);
        assert_eq!(parts("localhost:5000/a/mlflow:dev"), ("mlflow", Some("dev"), None));
        assert_eq!(parts("mlflow"), ("mlflow", None, None));
        assert_eq!(parts("g/x:1@sha256:0"), ("x", Some("1"), Some("sha256:0")));
    }

    #[test]
    fn selectors_choose_by_labels_and_expressions() {
        let label = |name: &str| (name == "app").then_some("mlflow");
        assert!(selects(&json!({}), label));
        assert!(selects(&json!({"matchLabels": {"app": "mlflow"}}), label));
        assert!(!selects(&json!({"matchLabels": {"app": "x"}}), label));
        let expression = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        assert!(selects(&expression("In", json!(["x", "mlflow"])), label));
        assert!(!selects(&expression("NotIn", json!(["mlflow"])), label));
        assert!(selects(&expression("Exists", json!([])), label));
        assert!(!selects(&expression("DoesNotExist", json!([])), label));
    }
}
