//! `getIamPolicy`, `setIamPolicy` and `testIamPermissions`, the same for every kind of resource.

use hyper::StatusCode;
use iam::{Member, Policy, PolicyError, Resource};
use serde::Deserialize;
use serde_json::{Value, json};

use super::parameter;
use crate::authorize::Context;
use crate::body;
use crate::body::Body;
use crate::cloud::Cloud;
use crate::error::Error;
use crate::state::etag;

/// More permissions than this cannot be asked about at once.
const MOST_PERMISSIONS: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Set {
    policy: Policy,
}

#[derive(Deserialize)]
struct Test {
    #[serde(default)]
    permissions: Vec<String>,
}

#[derive(Deserialize, Default)]
struct Get {
    #[serde(default)]
    options: Options,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    requested_policy_version: i32,
}

/// The policy version that a request asks for: in its query or in its body.
///
/// # Errors
/// 400 when it is no number.
pub async fn requested_version(query: Option<&str>, body: Body) -> Result<i32, Error> {
    let text = parameter(query, "options.requestedPolicyVersion")
        .or_else(|| parameter(query, "optionsRequestedPolicyVersion"));
    match text.filter(|it| !it.is_empty()) {
        None => Ok(body::request::<Get>(body).await?.options.requested_policy_version),
        Some(text) => text
            .parse()
            .map_err(|_| Error::invalid_argument(format!("Invalid policy version: \"{text}\""))),
    }
}

/// The policy of a resource in the version that was asked for. The caller was checked before.
///
/// # Errors
/// 400 for a version that does not exist.
pub fn get(cloud: &Cloud, resource: &Resource, version: i32) -> Result<Policy, Error> {
    let policy = cloud.state().policy_of(resource).for_version(version).map_err(refused)?;
    if !policy.etag().is_empty() {
        return Ok(policy);
    }
    // A resource that never had a policy: Google's etag for that is always this one.
    Ok(Policy::new("ACAB", Vec::new()))
}

/// Reads the body of a `setIamPolicy` and replaces the policy.
///
/// # Errors
/// 409 for an etag that is not the current one, 400 for a policy that cannot stand.
pub async fn set(context: &Context, resource: &Resource, body: Body) -> Result<Policy, Error> {
    let proposed = body::request::<Set>(body).await?.policy;
    replace(&context.cloud, resource, proposed)
}

/// Replaces the policy of a resource. The caller was checked before.
///
/// # Errors
/// As [`set`].
pub fn replace(cloud: &Cloud, resource: &Resource, proposed: Policy) -> Result<Policy, Error> {
    let proposed = if proposed.etag() == "ACAB" { unmarked(&proposed)? } else { proposed };
    cloud.state.change(|state| {
        let current = state.policy_of(resource);
        members_exist(cloud, state, &proposed)?;
        let next = etag(state.next_number());
        let policy = current.replaced_by(&proposed, next, resource.kind()).map_err(refused)?;
        state.policies.insert(resource.name(), policy.clone());
        Ok(policy)
    })
}

/// Which of the permissions in the body the caller has.
///
/// # Errors
/// 400 for a permission that does not exist.
pub async fn test(context: &Context, resource: &Resource, body: Body) -> Result<Value, Error> {
    let asked = body::request::<Test>(body).await?.permissions;
    if asked.len() > MOST_PERMISSIONS {
        return Err(Error::invalid_argument("Request contains an invalid argument."));
    }
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let granted = context.granted(&asked, resource);
    Ok(if granted.is_empty() { json!({}) } else { json!({ "permissions": granted }) })
}

/// A refusal of the access model, in its words.
#[must_use]
pub fn refused(error: PolicyError) -> Error {
    let status = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::BAD_REQUEST);
    Error::new(status, error.to_string()).status_name(error.status())
}

/// A policy that was read before there was one is written over nothing only.
fn unmarked(proposed: &Policy) -> Result<Policy, Error> {
    let mut value =
        serde_json::to_value(proposed).map_err(|error| Error::internal(&error.to_string()))?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("etag");
    }
    serde_json::from_value(value).map_err(|error| Error::internal(&error.to_string()))
}

/// Google refuses members that it does not know: service accounts and pools of projects.
/// The words were seen in public threads about `gcloud … add-iam-policy-binding`.
fn members_exist(
    cloud: &Cloud,
    state: &crate::state::State,
    proposed: &Policy,
) -> Result<(), Error> {
    let ours = format!("@{}.iam.gserviceaccount.com", cloud.world.project.id);
    for member in proposed.bindings().iter().flat_map(|it| &it.members) {
        match member.parse::<Member>() {
            Ok(Member::ServiceAccount(email))
                if email.ends_with(&ours) && !state.accounts.contains(&email) =>
            {
                let message = format!("Service account {email} does not exist.");
                return Err(Error::invalid_argument(message));
            }
            Ok(Member::Workload { project_id, .. }) if project_id != cloud.world.project.id => {
                let message = format!("Identity Pool does not exist ({project_id}.svc.id.goog).");
                return Err(Error::invalid_argument(message));
            }
            // What cannot be read is refused by the access model, with its reason.
            _ => {}
        }
    }
    Ok(())
}
