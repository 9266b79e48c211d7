//! Writes one object.

use std::time::Duration;

use kube::{
    Api,
    core::DynamicObject,
    runtime::{conditions::is_deleted, wait::await_condition},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    Action, Change, Error, MANAGER, Server,
    object::{id_of, managers, meta},
    server::Mode,
};

/// How long a deleted Job may take to go; only a finalizer of somebody else makes it linger.
const GONE: Duration = Duration::from_secs(60);

/// Brings one object to its wanted state and returns what the server made of it.
pub(crate) async fn write(server: &Server, change: &Change) -> Result<Value, Error> {
    if !change.adopted_from.is_empty() {
        adopt(server, change).await?;
    }
    if let (Action::Recreate { .. }, Some(live)) = (&change.action, &change.live) {
        replace(server, live).await?;
    }
    let mode = Mode { dry_run: false, force: change.force };
    match server.apply(&change.wanted, mode).await {
        // The dry-run found no conflict, so somebody wrote after the plan was made.
        Err(error) if error.is_race() => Err(Error::Stale),
        answer => answer,
    }
}

/// Makes us the owner of what kubectl applied.
///
/// Without that, kubectl would go on owning its fields, and a field that we drop later would stay.
async fn adopt(server: &Server, change: &Change) -> Result<(), Error> {
    let Some(live) = &change.live else { return Ok(()) };
    let entries = managers(live).map(|entry| {
        let mut entry = entry.clone();
        let theirs = entry["manager"]
            .as_str()
            .is_some_and(|it| change.adopted_from.iter().any(|from| from == it));
        if theirs && entry["subresource"].is_null() {
            entry["manager"] = json!(MANAGER);
            entry["operation"] = json!("Apply");
        }
        entry
    });
    // Only one Apply entry per manager may exist; an object has been applied by one kubectl.
    let mut kept: Vec<Value> = Vec::new();
    for entry in entries {
        let again = kept.iter().any(|it| {
            it["manager"] == entry["manager"]
                && it["operation"] == entry["operation"]
                && it["subresource"] == entry["subresource"]
                && it["apiVersion"] == entry["apiVersion"]
        });
        if !again {
            kept.push(entry);
        }
    }
    let patch = json!({ "metadata": {
        "resourceVersion": meta(live, "resourceVersion"),
        "managedFields": kept,
    } });
    match server.merge(&change.id, &patch).await {
        Err(error) if error.is_race() => Err(Error::Stale),
        answer => answer.map(drop),
    }
}

/// Deletes a Job and sees it gone.
async fn replace(server: &Server, live: &Value) -> Result<(), Error> {
    let id = id_of(live)?;
    // Its status may have moved on since the plan; what we delete is identified by its uid.
    let mut identified = live.clone();
    if let Some(metadata) = identified["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    server.delete(&identified).await?;
    let uid = meta(live, "uid").unwrap_or_default();
    let there = server.get(&id).await?;
    if there.is_none_or(|it| meta(&it, "uid") != Some(uid)) {
        return Ok(());
    }
    let kind = server.kind(&id.api_version, &id.kind).await?;
    let namespace = id.namespace.as_deref().unwrap_or_default();
    let api: Api<DynamicObject> =
        Api::namespaced_with(server.client().clone(), namespace, &kind.resource);
    match timeout(GONE, await_condition(api, &id.name, is_deleted(uid))).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Error::Silent { verb: "delete", object: id.to_string(), limit_s: GONE.as_secs() }),
    }
}
