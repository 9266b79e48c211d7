//! The server's refusals in words that name the field, the reason and the fix.

use kube::core::Status;

use crate::{Code, Refusal};
use manifests::ObjectId;

/// A field that another manager owns.
pub(crate) struct Conflict {
    pub(crate) manager: String,
    field: String,
}

/// The conflicts that a 409 of server-side apply lists.
pub(crate) fn conflicts(status: &Status) -> Vec<Conflict> {
    let causes = status.details.iter().flat_map(|it| &it.causes);
    causes
        .filter(|it| it.reason == "FieldManagerConflict")
        .map(|it| Conflict {
            manager: it.message.split('"').nth(1).unwrap_or("somebody").to_owned(),
            field: it.field.trim_start_matches('.').to_owned(),
        })
        .collect()
}

/// A refusal per conflicting field, or one in the server's words.
pub(crate) fn conflict_refusals(id: &ObjectId, status: &Status) -> Vec<Refusal> {
    let refusal = |field: Option<String>, message: String| Refusal {
        object: id.clone(),
        field,
        code: Code::Conflict,
        message,
        hint:
            "if that change was made by hand, put it into the manifests, or pass --force to undo it"
                .to_owned(),
    };
    let conflicts = conflicts(status);
    if conflicts.is_empty() {
        return vec![refusal(None, status.message.clone())];
    }
    conflicts
        .into_iter()
        .map(|it| refusal(Some(it.field), format!("it was set by `{}`", it.manager)))
        .collect()
}

/// The refusals in an answer to a dry-run, or `None` when the answer is another kind of failure.
pub(crate) fn refusals(id: &ObjectId, status: &Status) -> Option<Vec<Refusal>> {
    let one = |code, message: &str, hint: &str| {
        Some(vec![Refusal {
            object: id.clone(),
            field: None,
            code,
            message: message.to_owned(),
            hint: hint.to_owned(),
        }])
    };
    match status.code {
        422 => Some(invalid(id, status)),
        400 => one(
            Code::Invalid,
            &status.message,
            "a field is misspelt or of the wrong type; `kubectl explain KIND --recursive` lists them",
        ),
        500 if status.message.contains("typed patch object") => one(
            Code::Invalid,
            &status.message,
            "a field is misspelt or of the wrong type; `kubectl explain KIND --recursive` lists them",
        ),
        403 => one(
            Code::Denied,
            &status.message,
            "an admission rule or your rights forbid this write; `kubectl auth can-i --list` shows your rights",
        ),
        _ => None,
    }
}

fn invalid(id: &ObjectId, status: &Status) -> Vec<Refusal> {
    let causes: Vec<_> = status.details.iter().flat_map(|it| &it.causes).collect();
    if causes.is_empty() {
        return vec![cause(id, None, &status.message)];
    }
    let mut refusals: Vec<Refusal> = Vec::new();
    for it in causes {
        let refusal = cause(id, Some(it.field.clone()), &it.message);
        if !refusals.contains(&refusal) {
            refusals.push(refusal);
        }
    }
    refusals
}

fn cause(id: &ObjectId, field: Option<String>, message: &str) -> Refusal {
    let code = if is_immutable(message) { Code::Immutable } else { Code::Invalid };
    let hint = match code {
        Code::Immutable => immutable_hint(id),
        _ => "correct the field in the overlay".to_owned(),
    };
    Refusal { object: id.clone(), field, code, message: short(message), hint }
}

fn is_immutable(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    [
        "immutable",
        "may not change once set",
        "can not be less than",
        "updates to",
        "may not be changed",
        "may not be unset",
    ]
    .iter()
    .any(|it| lower.contains(it))
}

fn immutable_hint(id: &ObjectId) -> String {
    match id.kind.as_str() {
        "PersistentVolumeClaim" => {
            "a claim can only grow; to shrink it, back up, delete it and restore".to_owned()
        }
        "StatefulSet" => format!(
            "undo the change, or delete it and keep its pods: kubectl delete {id} --cascade=orphan"
        ),
        _ => format!("undo the change, or delete the object and deploy again: kubectl delete {id}"),
    }
}

/// The reason without the dump of the value that the server puts before it.
fn short(message: &str) -> String {
    if message.len() < 200 {
        return message.to_owned();
    }
    message.rsplit(": ").next().unwrap_or(message).to_owned()
}
