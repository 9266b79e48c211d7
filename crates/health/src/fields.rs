//! Reads fields of objects that may have any shape: what is missing or of another type is absent.

use serde_json::Value;

/// The text at a JSON pointer, empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer.
pub(crate) fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// The flag at a JSON pointer.
pub(crate) fn flag(value: &Value, pointer: &str) -> Option<bool> {
    value.pointer(pointer).and_then(Value::as_bool)
}

/// The list at a JSON pointer, empty when there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The member of a list of named things (containers, container statuses) with that name.
pub(crate) fn named<'a>(items: &'a [Value], name: &str) -> Option<&'a Value> {
    items.iter().find(|it| text(it, "/name") == name)
}

/// A label of an object.
pub(crate) fn label<'a>(object: &'a Value, name: &str) -> &'a str {
    entry(object, "/metadata/labels", name)
}

/// An annotation of an object.
pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    entry(object, "/metadata/annotations", name)
}

/// An entry of a map whose names may hold what a pointer would split at.
fn entry<'a>(object: &'a Value, map: &str, name: &str) -> &'a str {
    object.pointer(map).and_then(|it| it.get(name)).and_then(Value::as_str).unwrap_or_default()
}

/// The condition of that type, when its status is the one asked for.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str, status: &str) -> Option<&'a Value> {
    list(object, "/status/conditions")
        .iter()
        .find(|it| text(it, "/type") == kind && text(it, "/status") == status)
}

/// Whether the object says that the owner with this uid made it.
pub(crate) fn owned_by(object: &Value, uid: &str) -> bool {
    !uid.is_empty()
        && list(object, "/metadata/ownerReferences").iter().any(|it| text(it, "/uid") == uid)
}
