//! What differs between two versions of an object, leaf by leaf.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;
use serde_json::{Map, Value};

/// One changed field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Leaf {
    /// Such as `spec.template.spec.containers[mlflow].image`.
    pub path: String,
    /// Absent when the field is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Absent when the field goes away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What the server keeps for itself, or sets anew on every write.
const NOISE: &[&str] =
    &["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"];

/// Fields that name the items of a list, in order of preference.
const KEYS: &[&str] = &["name", "mountPath", "containerPort", "port", "key", "topologyKey", "type"];

/// kubectl's copy of a whole object, the values of a Secret included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The changed leaves from `before` to `after`. Values of Secrets are hidden.
pub(crate) fn leaves(before: &Value, after: &Value) -> Vec<Leaf> {
    let mut found = Vec::new();
    object(&strip(before), &strip(after), "", &mut found);
    if after["kind"] == "Secret" {
        for leaf in &mut found {
            hide(leaf);
        }
    }
    found
}

/// The object without status and without the server's bookkeeping.
fn strip(object: &Value) -> Map<String, Value> {
    let mut object = object.as_object().cloned().unwrap_or_default();
    object.remove("status");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| !NOISE.contains(&key.as_str()));
    }
    object
}

fn value(before: Option<&Value>, after: Option<&Value>, path: &str, found: &mut Vec<Leaf>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            object(before, after, path, found);
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            array(before, after, path, found);
        }
        (before, after) => found.push(Leaf {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

fn object(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    path: &str,
    found: &mut Vec<Leaf>,
) {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        // A dot inside of a key would read like two keys.
        let below = match (key.contains(['.', '/']), path.is_empty()) {
            (true, _) => format!("{path}[{key}]"),
            (false, true) => key.clone(),
            (false, false) => format!("{path}.{key}"),
        };
        value(before.get(key), after.get(key), &below, found);
    }
}

fn array(before: &[Value], after: &[Value], path: &str, found: &mut Vec<Leaf>) {
    let named = KEYS.iter().find_map(|key| Some((names(before, key)?, names(after, key)?)));
    let Some((old, new)) = named else {
        for index in 0..before.len().max(after.len()) {
            value(before.get(index), after.get(index), &format!("{path}[{index}]"), found);
        }
        return;
    };
    let start = found.len();
    for (name, item) in old.iter().zip(before) {
        let other = new.iter().position(|it| it == name).and_then(|it| after.get(it));
        value(Some(item), other, &format!("{path}[{name}]"), found);
    }
    for (name, item) in new.iter().zip(after) {
        if !old.contains(name) {
            value(None, Some(item), &format!("{path}[{name}]"), found);
        }
    }
    // The same items in another order are a change too, and would otherwise go unseen.
    if found.len() == start {
        found.push(Leaf {
            path: path.to_owned(),
            before: Some(old.into()),
            after: Some(new.into()),
        });
    }
}

/// The items' names by a key, when every item has one and no two are alike.
fn names(items: &[Value], key: &str) -> Option<Vec<String>> {
    let names: Vec<String> = items
        .iter()
        .map(|it| match it.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let distinct: BTreeSet<&String> = names.iter().collect();
    (distinct.len() == names.len()).then_some(names)
}

/// Hides what a Secret holds: values below `data` and `stringData`, and kubectl's copy of them.
fn hide(leaf: &mut Leaf) {
    let top = leaf.path.split(['.', '[']).next().unwrap_or_default();
    let secret = matches!(top, "data" | "stringData") || leaf.path.contains(LAST_APPLIED);
    for side in [&mut leaf.before, &mut leaf.after].into_iter().flatten() {
        hide_value(side, secret);
    }
}

fn hide_value(value: &mut Value, secret: bool) {
    match value {
        Value::Object(map) => {
            for (key, below) in map {
                hide_value(below, secret || key == LAST_APPLIED);
            }
        }
        Value::Null => {}
        _ if secret => *value = Value::from("(hidden)"),
        _ => {}
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.path, short(&self.before), short(&self.after))
    }
}

fn short(side: &Option<Value>) -> String {
    let text = match side {
        None => return "(none)".to_owned(),
        Some(Value::String(text)) if !text.is_empty() => text.escape_debug().to_string(),
        Some(other) => other.to_string(),
    };
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(before: Value, after: Value, want: Expect) {
        let lines: Vec<String> = leaves(&before, &after).iter().map(Leaf::to_string).collect();
        want.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn a_changed_limit_is_one_line() {
        let with = |memory| {
            json!({ "spec": { "template": { "spec": { "containers": [
                { "name": "proxy" },
                { "name": "mlflow", "resources": { "limits": { "memory": memory, "cpu": "1" } } },
            ] } } } })
        };
        check(
            with("1Gi"),
            with("2Gi"),
            expect!["spec.template.spec.containers[mlflow].resources.limits.memory: 1Gi → 2Gi"],
        );
    }

    #[test]
    fn bookkeeping_and_status_are_no_change() {
        check(
            json!({ "metadata": { "name": "a", "uid": "1", "generation": 1 }, "status": { "x": 1 } }),
            json!({ "metadata": { "name": "a", "uid": "2", "generation": 2 } }),
            expect![""],
        );
    }

    #[test]
    fn order_of_named_items_is_a_change() {
        check(
            json!({ "env": [{ "name": "A" }, { "name": "B" }] }),
            json!({ "env": [{ "name": "B" }, { "name": "A" }] }),
            expect![[r#"env: ["A","B"] → ["B","A"]"#]],
        );
    }

    #[test]
    fn items_come_and_go_by_name() {
        check(
            json!({ "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "" }] }),
            json!({ "env": [{ "name": "B", "value": "2" }, { "name": "C", "value": "3" }] }),
            expect![[r#"
                env[A]: {"name":"A","value":"1"} → (none)
                env[B].value: "" → 2
                env[C]: (none) → {"name":"C","value":"3"}"#]],
        );
    }

    #[test]
    fn unnamed_items_go_by_position() {
        check(
            json!({ "args": ["a", "b"] }),
            json!({ "args": ["a", "c", "d"] }),
            expect![[r#"
                args[1]: b → c
                args[2]: (none) → d"#]],
        );
    }

    #[test]
    fn secret_values_are_never_shown() {
        let secret = |password: &str| {
            let copy = format!("{{\"data\":\"{password}\"}}");
            json!({
                "kind": "Secret",
                "metadata": { "annotations": { LAST_APPLIED: copy }, "labels": { "a": password.len() } },
                "data": { "password": password },
            })
        };
        let found = leaves(&secret("aHVudGVyMg=="), &secret("c2VjcmV0"));
        assert_eq!(found.len(), 3, "{found:?}");
        let text = serde_json::to_string(&found).unwrap();
        assert!(!text.contains("aHVudGVyMg") && !text.contains("c2VjcmV0"), "{text}");
        let bare = json!({ "kind": "Secret", "metadata": {} });
        let text = serde_json::to_string(&leaves(&bare, &secret("c2VjcmV0"))).unwrap();
        assert!(text.contains("password") && !text.contains("c2VjcmV0"), "{text}");
    }
}
