//! Tells namespaces whom to trust: the private CA's certificate as a ConfigMap, as Kubernetes does it
//! with the certificate of its own API server (`kube-root-ca.crt`).

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::json;

use crate::cloud::Cloud;
use crate::log::Entry;

/// The ConfigMap's name; its one key is `ca.crt`.
pub const CONFIG_MAP: &str = "google-emulation-ca";
/// Who writes it.
const FIELD_MANAGER: &str = "google-emulator";
/// An API server that is not there is asked again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Keeps the ConfigMap in every namespace with the label, for as long as the cloud runs.
pub async fn run(cloud: Arc<Cloud>, client: kube::Client, label: String) {
    let mut again = tokio::time::interval(AGAIN_AFTER);
    again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        again.tick().await;
        if let Err(error) = follow(&cloud, &client, &label).await {
            let why = format!("certificate of the CA: {error}");
            cloud.log(&Entry {
                surface: "publish",
                decision: "failed",
                why: &why,
                ..Entry::default()
            });
        }
    }
}

/// Ends when the API server ends the watch, which it does every few minutes.
async fn follow(cloud: &Cloud, client: &kube::Client, label: &str) -> kube::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let there = namespaces.list(&ListParams::default().labels(label)).await?;
    for namespace in &there.items {
        publish(cloud, client, namespace).await?;
    }
    let version = there.metadata.resource_version.unwrap_or_default();
    let wanted = WatchParams::default().labels(label);
    let mut events = std::pin::pin!(namespaces.watch(&wanted, &version).await?);
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(namespace) | WatchEvent::Modified(namespace) => {
                publish(cloud, client, &namespace).await?;
            }
            WatchEvent::Error(_) => return Ok(()),
            WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
        }
    }
    Ok(())
}

async fn publish(cloud: &Cloud, client: &kube::Client, namespace: &Namespace) -> kube::Result<()> {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    if namespace.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client.clone(), name);
    let wanted = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": CONFIG_MAP },
        "data": { "ca.crt": cloud.pki.certificate_pem() },
    });
    let how = PatchParams::apply(FIELD_MANAGER).force();
    maps.patch(CONFIG_MAP, &how, &Patch::Apply(&wanted)).await?;
    cloud.log(&Entry {
        surface: "publish",
        resource: name,
        decision: "published",
        ..Entry::default()
    });
    Ok(())
}
