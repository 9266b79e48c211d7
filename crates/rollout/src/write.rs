//! Writes one object.

use std::{pin::pin, time::Duration};

use futures::TryStreamExt as _;
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
    core::DynamicObject,
};
use manifests::ObjectId;
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
    match timeout(GONE, gone(server, &id, uid)).await {
        Ok(answer) => answer,
        Err(_) => Err(silent(&id)),
    }
}

/// Returns once the object with this uid is gone. Each look is followed by a watch from the version
/// that it saw, so nothing is missed between the two.
async fn gone(server: &Server, id: &ObjectId, uid: &str) -> Result<(), Error> {
    let kind = server.kind(&id.api_version, &id.kind).await?;
    let namespace = id.namespace.as_deref().unwrap_or_default();
    let api: Api<DynamicObject> =
        Api::namespaced_with(server.client().clone(), namespace, &kind.resource);
    let only = WatchParams::default().fields(&format!("metadata.name={}", id.name));
    loop {
        let Some(there) = server.get(id).await?.filter(|it| meta(it, "uid") == Some(uid)) else {
            return Ok(());
        };
        let version = meta(&there, "resourceVersion").unwrap_or_default();
        let events = api.watch(&only, version).await.map_err(|_| silent(id))?;
        let mut events = pin!(events);
        // A watch that ends or breaks is answered by the next look.
        while let Ok(Some(event)) = events.try_next().await {
            if matches!(event, WatchEvent::Deleted(_)) {
                return Ok(());
            }
        }
    }
}

fn silent(id: &ObjectId) -> Error {
    Error::Silent { verb: "delete", object: id.to_string(), limit_s: GONE.as_secs() }
}
