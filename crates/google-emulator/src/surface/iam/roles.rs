//! The predefined roles, as IAM tells them.

use iam::Role;
use serde_json::{Value, json};

use crate::error::Error;
use crate::state::etag;
use crate::surface::paging::Page;
use crate::surface::parameter;

/// `GET /v1/roles`; permissions only with `view=FULL`.
pub(super) fn list(query: Option<&str>) -> Result<Value, Error> {
    let full = parameter(query, "view").is_some_and(|it| it == "FULL");
    let mut roles: Vec<(String, Value)> =
        iam::roles().iter().map(|it| (it.name().to_owned(), json(it, full))).collect();
    roles.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(Page::of(query, 1000, roles.into_iter())?.answer("roles"))
}

/// `GET /v1/roles/NAME`.
pub(super) fn get(name: &str) -> Result<Value, Error> {
    let full = format!("roles/{name}");
    let role = iam::role(&full)
        .ok_or_else(|| Error::not_found(format!("The role named {full} was not found.")))?;
    Ok(json(role, true))
}

fn json(role: &Role, full: bool) -> Value {
    // Predefined roles of this emulator never change, so their etag does not either.
    let mut value =
        json!({ "name": role.name(), "title": role.title(), "stage": "GA", "etag": etag(1) });
    if full {
        value["includedPermissions"] = json!(role.permissions());
    }
    value
}
