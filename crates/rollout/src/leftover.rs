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
