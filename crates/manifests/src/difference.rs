//! What differs between two objects or two bundles, field by field, with secrets masked.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{Bundle, Object, ObjectId};

/// What stands in place of a secret value.
const MASK: &str = "(secret)";

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Leaf {
    /// Such as `spec.template.spec.containers[name=mlflow].image`.
    pub path: String,
    /// Absent where the field is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Absent where the field is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What happens to one object between two bundles.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// Only the later bundle has it.
    Added {
        /// Its name.
        id: ObjectId,
    },
    /// Only the earlier bundle has it.
    Removed {
        /// Its name.
        id: ObjectId,
    },
    /// Both have it, not alike.
    Changed {
        /// Its name in the later bundle.
        id: ObjectId,
        /// The fields that differ.
        leaves: Vec<Leaf>,
    },
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{}: {before} → {after}", self.path),
            (None, Some(after)) => write!(f, "{}: + {after}", self.path),
            (Some(before), None) => write!(f, "{}: - {before}", self.path),
            (None, None) => write!(f, "{}", self.path),
        }
    }
}

/// The fields that differ between two versions of an object; none exactly when they are equal.
///
/// The items of a list go by their `name` where all have one, as Kubernetes merges them, so that
/// a new variable is one leaf and not a shift of all that follow. The values of a Secret are masked.
pub fn objects(before: &Value, after: &Value) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    compare("", Some(before), Some(after), &mut leaves);
    if [before, after].iter().any(|it| it["kind"] == "Secret") {
        leaves.iter_mut().filter(|it| is_secret(&it.path)).for_each(mask);
    }
    leaves
}

/// What differs between two bundles, in the order in which the later one is applied.
///
/// An object whose name ends in a hash or a tag has a new name when its content changes. Such a
/// pair, alike up to the last `-` or a Job with the same label `app`, and without a rival, is
/// reported as one changed object.
pub fn bundles(before: &Bundle, after: &Bundle) -> Vec<Change> {
    let find = |bundle: &Bundle, id: &ObjectId| bundle.objects.iter().any(|it| it.id == *id);
    let gone: Vec<&Object> = before.objects.iter().filter(|it| !find(after, &it.id)).collect();
    let new: Vec<&Object> = after.objects.iter().filter(|it| !find(before, &it.id)).collect();
    let mut renamed = Vec::new();
    let mut changes = Vec::new();
    for object in &after.objects {
        let earlier = before.objects.iter().find(|it| it.id == object.id).or_else(|| {
            let earlier = only(&gone, object)?;
            only(&new, earlier)?;
            renamed.push(&earlier.id);
            Some(earlier)
        });
        let id = object.id.clone();
        match earlier {
            None => changes.push(Change::Added { id }),
            Some(earlier) => {
                let leaves = objects(&earlier.value, &object.value);
                if !leaves.is_empty() {
                    changes.push(Change::Changed { id, leaves });
                }
            }
        }
    }
    let removed = gone.iter().filter(|it| !renamed.contains(&&it.id));
    changes.extend(removed.map(|it| Change::Removed { id: it.id.clone() }));
    changes
}

/// The only one of the candidates that is the object under another name.
fn only<'a>(candidates: &[&'a Object], object: &Object) -> Option<&'a Object> {
    let mut found = candidates.iter().filter(|it| is_renamed(it, object));
    found.next().filter(|_| found.next().is_none()).copied()
}

fn is_renamed(before: &Object, after: &Object) -> bool {
    let stem = |it: &Object| it.id.name.rsplit_once('-').map(|it| it.0.to_owned());
    // A tag may hold a `-` itself; a Job's label does not change with it.
    let app = |it: &Object| it.value.pointer("/metadata/labels/app").cloned();
    before.id.kind == after.id.kind
        && before.id.namespace == after.id.namespace
        && (stem(before).is_some() && stem(before) == stem(after)
            || before.id.kind == "Job" && app(before).is_some() && app(before) == app(after))
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, leaves: &mut Vec<Leaf>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            compare_maps(path, before, after, leaves);
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            compare_lists(path, before, after, leaves);
        }
        (before, after) => leaves.push(Leaf {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

fn compare_maps(
    path: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    leaves: &mut Vec<Leaf>,
) {
    let new = after.keys().filter(|it| !before.contains_key(*it));
    for key in before.keys().chain(new) {
        compare(&field(path, key), before.get(key), after.get(key), leaves);
    }
}

fn compare_lists(path: &str, before: &[Value], after: &[Value], leaves: &mut Vec<Leaf>) {
    let (Some(old), Some(new)) = (names(before), names(after)) else {
        for index in 0..before.len().max(after.len()) {
            let path = format!("{path}[{index}]");
            compare(&path, before.get(index), after.get(index), leaves);
        }
        return;
    };
    let item = |list: &'_ [Value], names: &[&str], name: &str| {
        names.iter().position(|it| *it == name).and_then(|it| list.get(it).cloned())
    };
    for name in old.iter().chain(new.iter().filter(|it| !old.contains(it))) {
        let (before, after) = (item(before, &old, name), item(after, &new, name));
        compare(&format!("{path}[name={name}]"), before.as_ref(), after.as_ref(), leaves);
    }
    // Order means something too: a variable sees only those before it.
    let common = |names: &[&str], others: &[&str]| {
        let kept: Vec<_> = names.iter().filter(|it| others.contains(it)).collect();
        json!(kept)
    };
    let (before, after) = (common(&old, &new), common(&new, &old));
    if before != after {
        leaves.push(Leaf {
            path: format!("{path} (order)"),
            before: Some(before),
            after: Some(after),
        });
    }
}

/// The names of a list's items, when each has one of its own.
fn names(list: &[Value]) -> Option<Vec<&str>> {
    let names: Option<Vec<&str>> =
        list.iter().map(|it| it.get("name").and_then(Value::as_str)).collect();
    let names = names?;
    let repeated = names.iter().enumerate().any(|(index, it)| names[..index].contains(it));
    (!repeated).then_some(names)
}

fn field(path: &str, key: &str) -> String {
    let key = if key.contains(['.', '/']) { format!("[{key}]") } else { key.to_owned() };
    match (path.is_empty(), key.starts_with('[')) {
        (true, _) => key,
        (false, true) => format!("{path}{key}"),
        (false, false) => format!("{path}.{key}"),
    }
}

fn is_secret(path: &str) -> bool {
    let first = path.split(['.', '[']).next().unwrap_or_default();
    // The annotation holds a copy of the whole object.
    matches!(first, "data" | "stringData") || path.contains("last-applied-configuration")
}

fn mask(leaf: &mut Leaf) {
    for value in [&mut leaf.before, &mut leaf.after].into_iter().flatten() {
        *value = json!(MASK);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(before: &Value, after: &Value) -> Vec<String> {
        objects(before, after).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn named_items_are_compared_by_name() {
        let before = json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
        let after = json!({"env": [{"name": "N", "value": "0"}, {"name": "A", "value": "1"},
                                   {"name": "B", "value": "3"}]});
        assert_eq!(
            shown(&before, &after),
            [r#"env[name=B].value: "2" → "3""#, r#"env[name=N]: + {"name":"N","value":"0"}"#,]
        );
    }

    #[test]
    fn a_changed_order_is_a_difference() {
        let before = json!([{"name": "A"}, {"name": "B"}]);
        let after = json!([{"name": "B"}, {"name": "A"}]);
        assert_eq!(shown(&before, &after), [r#" (order): ["A","B"] → ["B","A"]"#]);
    }

    #[test]
    fn plain_items_are_compared_by_place() {
        let leaves = shown(&json!({"args": ["a", "b"]}), &json!({"args": ["a", "c", "d"]}));
        assert_eq!(leaves, [r#"args[1]: "b" → "c""#, r#"args[2]: + "d""#]);
    }

    #[test]
    fn secrets_are_masked_and_still_seen_to_change() {
        let secret = |value: &str| {
            json!({"kind": "Secret", "metadata": {"labels": {"a/b": value}},
                   "data": {"password": value}, "stringData": value})
        };
        let shown = shown(&secret("hunter2"), &secret("hunter3"));
        assert_eq!(
            shown,
            [
                r#"data.password: "(secret)" → "(secret)""#,
                r#"metadata.labels[a/b]: "hunter2" → "hunter3""#,
                r#"stringData: "(secret)" → "(secret)""#,
            ]
        );
    }

    #[test]
    fn a_hashed_name_is_the_same_object_changed() {
        let config = |name: &str, value: &str| {
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: {value}}}\n---\n"
            )
        };
        let before = Bundle::parse(&(config("c-111", "x") + &config("gone", "x"))).unwrap();
        let after = Bundle::parse(&(config("c-222", "y") + &config("new", "y"))).unwrap();
        let changes = bundles(&before, &after);
        let name = |it: &ObjectId| it.name.clone();
        let shown: Vec<_> = changes
            .iter()
            .map(|it| match it {
                Change::Added { id } => format!("+ {}", name(id)),
                Change::Removed { id } => format!("- {}", name(id)),
                Change::Changed { id, leaves } => format!("~ {} {}", name(id), leaves.len()),
            })
            .collect();
        assert_eq!(shown, ["~ c-222 2", "+ new", "- gone"]);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3).prop_map(Value::from),
            "[ab]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map("[abn]|name", inner, 0..3)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn there_is_a_difference_exactly_when_two_values_are_not_equal(
            before in any_value(),
            after in any_value(),
        ) {
            prop_assert_eq!(objects(&before, &after).is_empty(), before == after);
            prop_assert!(objects(&before, &before).is_empty());
            prop_assert_eq!(objects(&before, &after).len(), objects(&after, &before).len());
        }
    }
}
