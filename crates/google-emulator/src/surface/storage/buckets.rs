//! Buckets: what they are is in the cloud's state, and the storage server has one of the same name.

use hyper::{Method, Response, StatusCode};
use iam::{Policy, Resource};
use serde_json::{Map, Value, json};

use super::{
    asked::{Asked, from_error},
    call::{Api, Operation},
    failure::Failure,
    names::check_bucket,
    objects::no_content,
    policies::fresh_bindings,
    text::percent_encode,
    upstream::{Outgoing, read},
};
use crate::{
    body::{self, Body},
    clock,
    error::Error,
    state::{self, Bucket},
};

/// Attributes that a caller can't write, or that are told elsewhere.
const NOT_ATTRIBUTES: [&str; 16] = [
    "acl",
    "defaultObjectAcl",
    "etag",
    "generation",
    "id",
    "kind",
    "location",
    "locationType",
    "metageneration",
    "name",
    "owner",
    "projectNumber",
    "selfLink",
    "softDeletePolicy",
    "timeCreated",
    "updated",
];
/// The longest attributes of a bucket, as JSON.
const ATTRIBUTES_MAX: usize = 64 << 10;
const PAGE_MAX: usize = 1000;

impl Asked {
    pub(super) fn list_buckets(&self) -> Result<Response<Body>, Failure> {
        let query = &self.call.query;
        let Some(project) = query.get("project").filter(|it| !it.is_empty()) else {
            return Err(Failure::required("project"));
        };
        let world = &self.cloud.world;
        let project = if world.is_project(project) { &world.project.id } else { project };
        let most = query.get("maxResults").map_or(Ok(PAGE_MAX), str::parse);
        let most = most.ok().filter(|it| *it > 0).map(|it| it.min(PAGE_MAX));
        let most = most.ok_or_else(|| Failure::invalid("Invalid value for maxResults."))?;
        let state = self.cloud.state();
        let after = query.get("pageToken").unwrap_or_default();
        let mut rows = state
            .buckets
            .prefix(query.get("prefix").unwrap_or_default())
            .filter(|(name, row)| row.project == *project && *name > after)
            .map(|(_, row)| row)
            .peekable();
        let page: Vec<&Bucket> = rows.by_ref().take(most).collect();
        let mut answer = json!({ "kind": "storage#buckets" });
        if rows.peek().is_some() {
            answer["nextPageToken"] = page.last().map_or(Value::Null, |it| it.name.clone().into());
        }
        if !page.is_empty() {
            answer["items"] = page.into_iter().map(|it| self.shown(it)).collect();
        }
        Ok(body::ok(&answer))
    }

    pub(super) async fn insert_bucket(&mut self) -> Result<Response<Body>, Failure> {
        let asked = self.json().await?;
        let query = &self.call.query;
        let project = query.get("project").filter(|it| !it.is_empty());
        let project = project.ok_or_else(|| Failure::required("project"))?;
        let world = &self.cloud.world;
        let project =
            if world.is_project(project) { world.project.id.clone() } else { project.to_owned() };
        let name = asked.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        check_bucket(&name)?;
        let location = asked.get("location").and_then(Value::as_str).unwrap_or("US").to_uppercase();
        let now = self.now();
        let bucket = Bucket {
            project: project.clone(),
            name: name.clone(),
            location,
            created: now,
            updated: now,
            metageneration: 1,
            attributes: attributes(asked)?,
            read_only: false,
        };
        let mut taken = None;
        let made = self.cloud.state.change(|state| {
            if let Some(other) = state.buckets.get(&name) {
                let same = other.project == project;
                taken = Some(if same { Failure::bucket_owned() } else { Failure::bucket_taken() });
                return Err(Error::already_exists("the bucket exists"));
            }
            let policy = Policy::new(state::etag(state.next_number()), fresh_bindings(&project));
            state.policies.insert(Resource::bucket(&project, &name).name(), policy);
            state.buckets.insert(name.clone(), bucket.clone());
            Ok(())
        });
        made.map_err(|error| taken.unwrap_or_else(|| from_error(&error)))?;
        if let Err(failure) = self.make_upstream(&name).await {
            self.forget_bucket(&project, &name)?;
            return Err(failure);
        }
        Ok(body::ok(&self.shown(&bucket)))
    }

    /// Makes the bucket upstream. One that is there already holds what an earlier bucket of this
    /// name held.
    async fn make_upstream(&self, name: &str) -> Result<(), Failure> {
        let upstream = self.cloud.upstreams.storage.as_ref();
        if self.cloud.storage.make(upstream, name).await? {
            return Ok(());
        }
        let path = format!("/storage/v1/b/{}/o", percent_encode(name));
        loop {
            let list = read(self.send(Outgoing::new(Method::GET, path.clone())).await?).await?;
            let names: Vec<String> = named(&list);
            if names.is_empty() {
                return Ok(());
            }
            for object in names {
                let answer = self.send(Outgoing::object(Method::DELETE, name, &object)).await?;
                if !answer.status().is_success() {
                    return Err(Failure::backend_error("objects of an earlier bucket stay"));
                }
            }
        }
    }

    pub(super) fn get_bucket(&self) -> Result<Response<Body>, Failure> {
        let bucket = self.bucket(&self.call.bucket)?;
        if self.call.api == Api::Xml {
            return Ok(Response::new(body::empty()));
        }
        self.check_metageneration(&bucket)?;
        Ok(body::ok(&self.shown(&bucket)))
    }

    pub(super) async fn change_bucket(&mut self) -> Result<Response<Body>, Failure> {
        let patch = self.json().await?;
        let bucket = self.bucket(&self.call.bucket)?;
        self.check_metageneration(&bucket)?;
        let whole = self.call.operation == Operation::UpdateBucket;
        let mut wanted = if whole { Map::new() } else { bucket.attributes.clone() };
        merge(&mut wanted, patch);
        let wanted = attributes(wanted)?;
        let now = self.now();
        let changed = self.cloud.state.change(|state| {
            let row = state.buckets.get_mut(&bucket.name);
            let row = row.filter(|it| it.metageneration == bucket.metageneration);
            let Some(row) = row else {
                // Another change came between, and nothing of it may be lost.
                return Err(Error::unavailable("the bucket was changed meanwhile"));
            };
            row.attributes = wanted;
            row.updated = now;
            row.metageneration += 1;
            Ok(row.clone())
        });
        changed.map(|it| body::ok(&self.shown(&it))).map_err(|error| from_error(&error))
    }

    pub(super) async fn delete_bucket(&mut self) -> Result<Response<Body>, Failure> {
        let bucket = self.bucket(&self.call.bucket)?;
        self.check_metageneration(&bucket)?;
        let path = format!("/storage/v1/b/{}", percent_encode(&bucket.name));
        let answer = self.send(Outgoing::new(Method::DELETE, path)).await?;
        match answer.status() {
            StatusCode::PRECONDITION_FAILED => return Err(Failure::bucket_not_empty()),
            // A bucket of the world that nobody used isn't upstream.
            it if it.is_success() || it == StatusCode::NOT_FOUND => {}
            it => return Err(Failure::backend_error(format!("the store answered {it}"))),
        }
        super::multipart_uploads::discard_uploads_to(&self.cloud, &bucket.name).await;
        self.forget_bucket(&bucket.project, &bucket.name)?;
        Ok(no_content())
    }

    fn forget_bucket(&self, project: &str, name: &str) -> Result<(), Failure> {
        self.cloud.storage.forget(name);
        let gone = self.cloud.state.change(|state| {
            state.buckets.remove(name);
            state.multipart_uploads.retain(|_, it| it.bucket != name);
            state.policies.remove(Resource::bucket(project, name).name());
            Ok(())
        });
        gone.map_err(|error| from_error(&error))
    }

    pub(super) fn storage_layout(&self) -> Result<Response<Body>, Failure> {
        let bucket = self.bucket(&self.call.bucket)?;
        Ok(body::ok(&json!({
            "kind": "storage#storageLayout",
            "bucket": bucket.name,
            "location": bucket.location,
            "locationType": location_type(&bucket.location),
            "hierarchicalNamespace": { "enabled": false },
        })))
    }

    pub(super) fn service_agent(&self) -> Response<Body> {
        let number = self.cloud.world.project.number;
        body::ok(&json!({
            "kind": "storage#serviceAccount",
            "email_address": format!("service-{number}@gs-project-accounts.iam.gserviceaccount.com"),
        }))
    }

    fn check_metageneration(&self, bucket: &Bucket) -> Result<(), Failure> {
        let query = &self.call.query;
        let now = bucket.metageneration.to_string();
        let right = query.get("ifMetagenerationMatch").is_none_or(|it| it == now)
            && query.get("ifMetagenerationNotMatch").is_none_or(|it| it != now);
        right.then_some(()).ok_or_else(Failure::condition_not_met)
    }

    /// The bucket's resource in Google's shape.
    fn shown(&self, bucket: &Bucket) -> Value {
        let time = |seconds| clock::rfc3339_millis(clock::at(seconds));
        let mut shown = bucket.attributes.clone();
        let access =
            json!({ "enabled": true, "lockedTime": time(bucket.created + 90 * 24 * 3600) });
        let mut configuration = json!({
            "publicAccessPrevention": "inherited",
            "bucketPolicyOnly": access,
            "uniformBucketLevelAccess": access,
        });
        if public_access_is_prevented(bucket) {
            configuration["publicAccessPrevention"] = "enforced".into();
        }
        let own = json!({
            "kind": "storage#bucket",
            "selfLink": format!("https://www.googleapis.com/storage/v1/b/{}", bucket.name),
            "id": bucket.name,
            "name": bucket.name,
            "projectNumber": self.cloud.world.project.number.to_string(),
            "metageneration": bucket.metageneration.to_string(),
            "etag": state::etag(bucket.metageneration),
            "location": bucket.location,
            "locationType": location_type(&bucket.location),
            "timeCreated": time(bucket.created),
            "updated": time(bucket.updated),
            "iamConfiguration": configuration,
        });
        shown.entry("storageClass").or_insert_with(|| "STANDARD".into());
        merge(&mut shown, own.as_object().cloned().unwrap_or_default());
        Value::Object(shown)
    }
}

/// The names of a list's objects.
fn named(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    items.filter_map(|it| it["name"].as_str()).map(str::to_owned).collect()
}

/// Whether nobody without an account may be granted anything.
pub(super) fn public_access_is_prevented(bucket: &Bucket) -> bool {
    let configuration = bucket.attributes.get("iamConfiguration");
    configuration.is_some_and(|it| it["publicAccessPrevention"] == "enforced")
}

/// What of a bucket's resource is kept as it was written.
fn attributes(mut asked: Map<String, Value>) -> Result<Map<String, Value>, Failure> {
    asked.retain(|key, value| !NOT_ATTRIBUTES.contains(&key.as_str()) && !value.is_null());
    let configuration = asked.get("iamConfiguration").unwrap_or(&Value::Null);
    let off = |key: &str| configuration[key]["enabled"] == false;
    if off("uniformBucketLevelAccess") || off("bucketPolicyOnly") {
        // The answer of a project whose organization demands uniform access, which this one always
        // does.
        let text = "Request violates constraint 'constraints/storage.uniformBucketLevelAccess'";
        return Err(Failure::new(412, "conditionNotMet", ("PreconditionFailed", text), text));
    }
    let versions = asked.get("versioning").is_some_and(|it| it["enabled"] == true);
    if versions {
        return Err(Failure::not_implemented("versions of objects (`versioning.enabled`)"));
    }
    if Value::Object(asked.clone()).to_string().len() > ATTRIBUTES_MAX {
        return Err(Failure::too_large());
    }
    Ok(asked)
}

/// A merge patch (RFC 7396): null takes a key away, objects are merged, everything else replaces.
fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match (target.get_mut(&key), value) {
            (_, Value::Null) => {
                target.remove(&key);
            }
            (Some(Value::Object(inner)), Value::Object(patch)) => merge(inner, patch),
            (_, value) => {
                target.insert(key, value);
            }
        }
    }
}

fn location_type(location: &str) -> &'static str {
    match location {
        "US" | "EU" | "ASIA" => "multi-region",
        "NAM4" | "EUR4" | "ASIA1" | "EUR5" | "EUR7" | "EUR8" => "dual-region",
        _ => "region",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_patch_takes_away_what_it_says() {
        let mut labels = object(json!({"labels": {"a": "1", "b": "2"}, "x": 1}));
        merge(&mut labels, object(json!({"labels": {"a": null, "c": "3"}, "x": null})));
        assert_eq!(Value::Object(labels), json!({"labels": {"b": "2", "c": "3"}}));
    }

    #[test]
    fn what_would_be_silently_ignored_is_refused() {
        let off = json!({"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": false}}});
        assert_eq!(attributes(object(off)).unwrap_err().status, 412);
        let versions = json!({"versioning": {"enabled": true}});
        assert_eq!(attributes(object(versions)).unwrap_err().status, 501);
        let kept = attributes(object(json!({"name": "n", "location": "l", "labels": {"a": "1"}})));
        assert_eq!(Value::Object(kept.unwrap()), json!({"labels": {"a": "1"}}));
        let long = json!({"labels": {"a": "x".repeat(ATTRIBUTES_MAX)}});
        assert_eq!(attributes(object(long)).unwrap_err().status, 413);
    }
}
