//! What becomes of objects that we applied once and that the bundle no longer has.

use serde_json::Value;

use crate::{
    Action, Change, Owner,
    inventory::{Entry, is_hashed},
};

/// Kinds that hold what nobody can render again.
const DATA: &[&str] = &["PersistentVolumeClaim", "PersistentVolume", "Namespace", "Secret"];

/// Judges an object of the inventory that is not in the bundle. `None` when it is already gone.
///
/// `revision` is the revision that the plan leads to. Generated ConfigMaps of the one before stay,
/// because its pods may still run and a rollback needs them.
pub(crate) fn judge(
    entry: &Entry,
    live: Option<Value>,
    owner: &Owner,
    revision: u64,
) -> Option<Change> {
    let live = live?;
    let keep = |why: String| Action::Keep { why };
    let action = if let Some(why) = owner.foreign(&live) {
        keep(format!("not ours any more: {why}"))
    } else if DATA.contains(&entry.id.kind.as_str()) {
        keep("it holds data; delete it yourself if it is not needed".to_owned())
    } else if entry.id.kind == "ConfigMap"
        && is_hashed(&entry.id.name)
        && entry.revision + 1 >= revision
    {
        keep("the previous revision's settings stay for a rollback".to_owned())
    } else {
        Action::Prune
    };
    Some(Change {
        id: entry.id.clone(),
        wave: 0,
        action,
        adopted_from: Vec::new(),
        force: false,
        wanted: Value::Null,
        live: Some(live),
    })
}

#[cfg(test)]
mod tests {
    use manifests::ObjectId;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{ENVIRONMENT, MANAGED_BY, MANAGER};

    /// What a live object has of the three things that make it ours.
    #[derive(Debug, Clone)]
    struct Marks {
        label: bool,
        environment: bool,
        manager: bool,
    }

    fn live(marks: &Marks) -> Value {
        let manager = if marks.manager { MANAGER } else { "kubectl" };
        json!({ "metadata": {
            "labels": {
                MANAGED_BY: if marks.label { MANAGER } else { "Helm" },
                ENVIRONMENT: if marks.environment { "kind" } else { "gcp" },
            },
            "managedFields": [{ "manager": manager, "operation": "Apply", "fieldsV1": {} }],
        } })
    }

    fn marks() -> impl Strategy<Value = Marks> {
        any::<(bool, bool, bool)>().prop_map(|(label, environment, manager)| Marks {
            label,
            environment,
            manager,
        })
    }

    fn kind() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "ConfigMap",
            "Service",
            "Job",
            "Secret",
            "Namespace",
            "PersistentVolumeClaim",
        ])
    }

    proptest! {
        #[test]
        fn only_what_is_ours_holds_no_data_and_is_not_needed_goes(
            marks in marks(),
            kind in kind(),
            hashed in any::<bool>(),
            last in 0u64..4,
            next in 4u64..6,
        ) {
            let name = if hashed { "settings-bbbbbbbbbb" } else { "settings" };
            let id = ObjectId {
                namespace: Some("mlflow".into()),
                api_version: "v1".into(),
                kind: kind.into(),
                name: name.into(),
            };
            let entry = Entry { id, revision: last, seen: None };
            let owner = Owner { environment: "kind".into(), namespace: "mlflow".into() };
            let action = judge(&entry, Some(live(&marks)), &owner, next).unwrap().action;
            let ours = marks.label && marks.environment && marks.manager;
            let data = DATA.contains(&kind);
            let rollback = hashed && kind == "ConfigMap" && last + 1 == next;
            prop_assert_eq!(action == Action::Prune, ours && !data && !rollback, "{:?}", action);
            prop_assert!(judge(&entry, None, &owner, next).is_none());
        }
    }
}
