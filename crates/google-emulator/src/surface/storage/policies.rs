//! Policies of buckets: `getIamPolicy`, `setIamPolicy` and `testIamPermissions` as Cloud Storage
//! has them.

use std::collections::BTreeMap;

use hyper::Response;
use iam::{Binding, Policy, PolicyError, Resource, ResourceKind};
use serde_json::{Value, json};

use super::{
    asked::{Asked, from_error},
    buckets::public_access_is_prevented,
    failure::Failure,
};
use crate::{
    body::{self, Body},
    error::Error,
    state,
};

/// What a new bucket with uniform access grants (the documentation of legacy roles).
pub fn fresh_bindings(project: &str) -> Vec<Binding> {
    let owners = [format!("projectEditor:{project}"), format!("projectOwner:{project}")];
    let viewers = [format!("projectViewer:{project}")];
    let binding = |role: &str, members: &[String]| Binding {
        role: format!("roles/storage.{role}"),
        members: members.to_vec(),
        condition: None,
    };
    vec![
        binding("legacyBucketOwner", &owners),
        binding("legacyBucketReader", &viewers),
        binding("legacyObjectOwner", &owners),
        binding("legacyObjectReader", &viewers),
    ]
}

impl Asked {
    pub(super) fn get_policy(&self) -> Result<Response<Body>, Failure> {
        let requested = match self.call.query.get("optionsRequestedPolicyVersion") {
            None => 0,
            Some(text) => match text.parse() {
                Ok(version @ 1..=3) => version,
                _ => {
                    return Err(Failure::invalid(
                        "Invalid argument: optionsRequestedPolicyVersion.",
                    ));
                }
            },
        };
        let resource = self.bucket_resource();
        let policy = self.cloud.state().policy_of(&resource);
        let policy =
            policy.for_version(requested).map_err(|it| Failure::invalid(it.to_string()))?;
        Ok(body::ok(&shown(&self.call.bucket, &policy)))
    }

    pub(super) async fn set_policy(&mut self) -> Result<Response<Body>, Failure> {
        let mut proposed = self.json().await?;
        proposed.retain(|key, _| matches!(key.as_str(), "bindings" | "etag" | "version"));
        let proposed: Policy = serde_json::from_value(Value::Object(proposed))
            .map_err(|error| Failure::invalid(format!("Invalid policy: {error}")))?;
        let proposed = merged(&proposed);
        let bucket = self.bucket(&self.call.bucket)?;
        let public = proposed
            .bindings()
            .iter()
            .flat_map(|it| &it.members)
            .any(|it| matches!(it.as_str(), "allUsers" | "allAuthenticatedUsers"));
        if public && public_access_is_prevented(&bucket) {
            let text = "The member bindings allUsers and allAuthenticatedUsers are not allowed since public \
                        access prevention is enforced.";
            let xml = ("PreconditionFailed", "Precondition failed.");
            return Err(Failure::new(412, "conditionNotMet", xml, text));
        }
        let resource = self.bucket_resource();
        let mut refused = None;
        let changed = self.cloud.state.change(|state| {
            let next = state::etag(state.next_number());
            let current = state.policy_of(&resource);
            match current.replaced_by(&proposed, next, ResourceKind::Bucket) {
                Ok(policy) => {
                    state.policies.insert(resource.name(), policy.clone());
                    Ok(policy)
                }
                Err(error) => {
                    refused = Some(refusal(&error));
                    Err(Error::invalid_argument(error.to_string()))
                }
            }
        });
        let policy = changed.map_err(|error| refused.unwrap_or_else(|| from_error(&error)))?;
        Ok(body::ok(&shown(&self.call.bucket, &policy)))
    }

    pub(super) fn test_permissions(&self) -> Result<Response<Body>, Failure> {
        let asked: Vec<&str> = self.call.query.all("permissions").collect();
        if asked.is_empty() {
            return Err(Failure::required("permissions"));
        }
        if let Some(other) = asked.iter().find(|it| !it.starts_with("storage.") || it.contains('*'))
        {
            return Err(Failure::invalid(format!(
                "Permission {other} is not valid for this resource."
            )));
        }
        let granted = self.context.granted(&asked, &self.bucket_resource());
        let mut answer = json!({ "kind": "storage#testIamPermissionsResponse" });
        // Google leaves the list out when it is empty.
        if !granted.is_empty() {
            answer["permissions"] = granted.into();
        }
        Ok(body::ok(&answer))
    }

    fn bucket_resource(&self) -> Resource {
        let state = self.cloud.state();
        let bucket = self.call.bucket.as_str();
        let project = state.buckets.get(bucket).map_or("_", |it| it.project.as_str());
        Resource::bucket(project, bucket)
    }
}

/// Cloud Storage tells a race by its precondition, where other APIs say 409.
fn refusal(error: &PolicyError) -> Failure {
    match error {
        PolicyError::StaleEtag => Failure::condition_not_met(),
        other => Failure::invalid(other.to_string()),
    }
}

/// One binding for each role and condition, as Google keeps a policy.
fn merged(policy: &Policy) -> Policy {
    let mut bindings: BTreeMap<(String, String), Binding> = BTreeMap::new();
    for binding in policy.bindings() {
        let condition = serde_json::to_string(&binding.condition).unwrap_or_default();
        let merged = bindings
            .entry((binding.role.clone(), condition))
            .or_insert_with(|| Binding { members: Vec::new(), ..binding.clone() });
        for member in &binding.members {
            if !merged.members.contains(member) {
                merged.members.push(member.clone());
            }
        }
    }
    let bindings: Vec<Value> = bindings
        .into_values()
        .filter(|it| !it.members.is_empty())
        .filter_map(|it| serde_json::to_value(it).ok())
        .collect();
    let value = json!({
        "version": policy.version(), "etag": policy.etag(), "bindings": bindings,
    });
    serde_json::from_value(value).unwrap_or_else(|_| policy.clone())
}

fn shown(bucket: &str, policy: &Policy) -> Value {
    json!({
        "kind": "storage#policy",
        "resourceId": format!("projects/_/buckets/{bucket}"),
        "version": policy.version(),
        "etag": if policy.etag().is_empty() { "CAE=" } else { policy.etag() },
        "bindings": policy.bindings(),
    })
}
