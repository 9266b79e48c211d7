//! A plan as text for people.

use std::{collections::BTreeSet, fmt::Write};

use manifests::difference::{self, Leaf};
use serde_json::Value;

use crate::{Action, Change, Plan, inventory::is_hashed};

/// Renders what a plan changes, one line for each field, and what it leaves alone as a count.
///
/// Empty for a plan that changes nothing and has nothing to note.
pub fn diff(plan: &Plan) -> String {
    let mut text = String::new();
    let mut unchanged = 0;
    for change in &plan.changes {
        let id = &change.id;
        match &change.action {
            Action::Create => line(&mut text, format_args!("+ {id}: create")),
            Action::Update { leaves } => {
                for leaf in leaves {
                    line(&mut text, format_args!("~ {id} {leaf}"));
                }
            }
            Action::Recreate { why, leaves } => {
                line(&mut text, format_args!("± {id}: delete and create again ({why})"));
                for leaf in leaves {
                    line(&mut text, format_args!("± {id} {leaf}"));
                }
            }
            Action::Prune => {
                line(&mut text, format_args!("- {id}: delete once the rollout is proven"));
            }
            Action::Keep { why } => {
                line(&mut text, format_args!("  {id}: no longer wanted but stays, {why}"));
            }
            Action::Unchanged => unchanged += 1,
        }
    }
    for (before, after) in renamed(plan) {
        for leaf in settings(plan, before, after) {
            line(&mut text, format_args!("~ configmap/{after} {leaf}"));
        }
    }
    for note in &plan.notes {
        line(&mut text, format_args!("! {note}"));
    }
    if !text.is_empty() && unchanged > 0 {
        line(&mut text, format_args!("= {unchanged} unchanged"));
    }
    text
}

/// The pairs of generated ConfigMaps of which the second takes the place of the first.
///
/// Their names end in a hash of their content, so a changed setting shows as a changed name in
/// whatever uses it, and the setting itself would not show at all.
fn renamed(plan: &Plan) -> BTreeSet<(&str, &str)> {
    let leaves = plan.changes.iter().flat_map(|it| match &it.action {
        Action::Update { leaves } | Action::Recreate { leaves, .. } => leaves.as_slice(),
        _ => &[],
    });
    leaves.filter_map(pair).collect()
}

/// Two generated names with the same start, as the value of a field before and after.
fn pair(leaf: &Leaf) -> Option<(&str, &str)> {
    let before = leaf.before.as_ref()?.as_str().filter(|it| is_hashed(it))?;
    let after = leaf.after.as_ref()?.as_str().filter(|it| is_hashed(it))?;
    (before.rsplit_once('-')?.0 == after.rsplit_once('-')?.0).then_some((before, after))
}

/// What differs between the settings in two ConfigMaps of the plan.
fn settings(plan: &Plan, before: &str, after: &str) -> Vec<Leaf> {
    let find =
        |name: &str| plan.changes.iter().find(|it| it.id.kind == "ConfigMap" && it.id.name == name);
    let (Some(before), Some(after)) = (find(before), find(after)) else { return Vec::new() };
    let leaves = difference::objects(content(before), content(after));
    leaves.into_iter().filter(|it| it.path.starts_with("data")).collect()
}

/// The object as it is wanted, or as it is when it is not wanted any more.
fn content(change: &Change) -> &Value {
    match &change.live {
        Some(live) if change.wanted.is_null() => live,
        _ => &change.wanted,
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use manifests::ObjectId;
    use serde_json::json;

    use super::*;
    use crate::{Owner, inventory::Inventory};

    fn config_map(name: &str, action: Action, value: &str) -> Change {
        let object = json!({ "kind": "ConfigMap", "data": { "WORKERS": value, "PORT": "5000" } });
        let is_wanted = !matches!(action, Action::Keep { .. });
        let (wanted, live) = if is_wanted { (object, None) } else { (Value::Null, Some(object)) };
        Change { wanted, live, ..change("ConfigMap", name, action) }
    }

    fn change(kind: &str, name: &str, action: Action) -> Change {
        Change {
            id: ObjectId {
                namespace: Some("mlflow".into()),
                api_version: "v1".into(),
                kind: kind.into(),
                name: name.into(),
            },
            wave: 0,
            action,
            adopted_from: Vec::new(),
            force: false,
            wanted: Value::Null,
            live: None,
        }
    }

    #[test]
    fn a_changed_setting_is_named_though_its_config_map_is_a_new_one() {
        let (old, new) = ("mlflow-config-5hg9kmt2b4", "mlflow-config-6hg9kmt2b4");
        let leaf =
            Leaf { path: "spec.name".into(), before: Some(json!(old)), after: Some(json!(new)) };
        let plan = Plan {
            owner: Owner { environment: "kind".into(), namespace: "mlflow".into() },
            revision: 2,
            changes: vec![
                config_map(new, Action::Create, "2"),
                change("Deployment", "mlflow", Action::Update { leaves: vec![leaf] }),
                config_map(old, Action::Keep { why: "for a rollback".into() }, "1"),
            ],
            notes: Vec::new(),
            inventory: Inventory::default(),
            inventory_version: None,
        };
        let text = diff(&plan);
        let expected = format!("~ configmap/{new} data.WORKERS: \"1\" → \"2\"\n");
        assert!(text.contains(&expected), "{text}");
        assert!(!text.contains("PORT"), "{text}");
    }
}
