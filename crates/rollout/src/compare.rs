//! What differs between a live object and the same object after a dry-run.

use manifests::difference::{self, Leaf};
use serde_json::Value;

/// What the server keeps for itself, or sets anew on every write.
const NOISE: &[&str] =
    &["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"];

/// kubectl's copy of a whole object. A Secret's values are in it, and we never change it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The changed fields, without status and the server's bookkeeping. Values of Secrets are masked.
pub(crate) fn leaves(before: &Value, after: &Value) -> Vec<Leaf> {
    difference::objects(&strip(before), &strip(after))
}

fn strip(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| !NOISE.contains(&key.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(before: &Value, after: &Value) -> Vec<String> {
        leaves(before, after).iter().map(Leaf::to_string).collect()
    }

    #[test]
    fn a_changed_limit_is_one_line() {
        let with = |memory: &str, generation: u32| {
            json!({
                "metadata": { "generation": generation, "uid": generation.to_string() },
                "spec": { "template": { "spec": { "containers": [
                    { "name": "proxy" },
                    { "name": "mlflow", "resources": { "limits": { "memory": memory, "cpu": "1" } } },
                ] } } },
                "status": { "observedGeneration": generation },
            })
        };
        assert_eq!(lines(&with("1Gi", 1), &with("1Gi", 2)), [""; 0]);
        assert_eq!(
            lines(&with("1Gi", 1), &with("2Gi", 2)),
            [
                r#"spec.template.spec.containers[name=mlflow].resources.limits.memory: "1Gi" → "2Gi""#
            ],
        );
    }

    #[test]
    fn secret_values_are_never_shown() {
        let secret = |password: &str| {
            let copy = format!("{{\"data\":\"{password}\"}}");
            json!({
                "kind": "Secret",
                "metadata": { "annotations": { LAST_APPLIED: copy } },
                "data": { "password": password },
            })
        };
        let bare = json!({ "kind": "Secret", "metadata": {} });
        for before in [&secret("aHVudGVyMg=="), &bare] {
            let text = serde_json::to_string(&leaves(before, &secret("c2VjcmV0"))).unwrap();
            assert!(text.contains("data"), "{text}");
            assert!(!text.contains("aHVudGVyMg") && !text.contains("c2VjcmV0"), "{text}");
        }
    }
}
