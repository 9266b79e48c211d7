//! Tells namespaces whom to trust: the private CA's certificate as a ConfigMap, as Kubernetes does it
//! with the certificate of its own API server (`kube-root-ca.crt`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::watch::{Message, Selection, error_chain, follow};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout, timeout_at};

use crate::cloud::Cloud;
use crate::log::Entry;

/// The ConfigMap's name; its one key is `ca.crt`.
pub const CONFIG_MAP: &str = "google-emulation-ca";
/// Who writes it.
const FIELD_MANAGER: &str = "google-emulator";
/// What could not be written is tried again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// No write takes longer; the others are not to wait for one that nobody answers.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// The namespaces whose ConfigMap is still to be written, and when.
type Due = BTreeMap<String, Instant>;

/// Keeps the ConfigMap in every namespace with the label, for as long as the cloud runs.
pub async fn run(cloud: Arc<Cloud>, client: Client, label: String) {
    let (sender, messages) = unbounded_channel();
    let labelled = Selection::new("/api/v1/namespaces").labels(label);
    let tell = move |message| sender.send(message).is_ok();
    let following = follow(client.clone(), labelled, None, tell);
    tokio::join!(following, keep(&cloud, &client, messages));
}

/// Hears of namespaces, and writes what is due whenever there is nothing to hear.
async fn keep(cloud: &Cloud, client: &Client, mut messages: UnboundedReceiver<Message>) {
    let mut due = Due::new();
    loop {
        let message = match due.values().min() {
            None => messages.recv().await,
            Some(first) => match timeout_at(*first, messages.recv()).await {
                Ok(message) => message,
                Err(_) => {
                    write(cloud, client, &mut due).await;
                    continue;
                }
            },
        };
        let Some(message) = message else { return };
        if let Message::Lost(error) = &message {
            cloud.log(&entry("", "failed", &format!("watch namespaces: {error}")));
        }
        take(&mut due, &message, Instant::now());
    }
}

fn take(due: &mut Due, message: &Message, now: Instant) {
    match message {
        Message::Listed(namespaces) => {
            due.clear();
            due.extend(namespaces.iter().filter(|it| is_lasting(it)).map(|it| (name(it), now)));
        }
        Message::Applied(namespace) if is_lasting(namespace) => {
            due.insert(name(namespace), now);
        }
        Message::Applied(namespace) | Message::Deleted(namespace) => {
            due.remove(&name(namespace));
        }
        Message::Lost(_) | Message::Found => {}
    }
}

/// Nothing can be made in a namespace on its way out.
fn is_lasting(namespace: &Value) -> bool {
    namespace.pointer("/metadata/deletionTimestamp").is_none()
}

fn name(namespace: &Value) -> String {
    namespace.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Writes what is due now; what fails is due again later.
async fn write(cloud: &Cloud, client: &Client, due: &mut Due) {
    let now = Instant::now();
    let names: Vec<String> =
        due.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
    for namespace in names {
        let error = match timeout(WRITE_LIMIT, publish(cloud, client, &namespace)).await {
            Ok(Ok(())) => {
                due.remove(&namespace);
                cloud.log(&entry(&namespace, "published", ""));
                continue;
            }
            Ok(Err(error)) => error_chain(&error),
            Err(_) => format!("no answer within {} s", WRITE_LIMIT.as_secs()),
        };
        cloud.log(&entry(&namespace, "failed", &format!("certificate of the CA: {error}")));
        due.insert(namespace, Instant::now() + AGAIN_AFTER);
    }
}

async fn publish(cloud: &Cloud, client: &Client, namespace: &str) -> kube::Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let wanted = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": CONFIG_MAP },
        "data": { "ca.crt": cloud.pki.certificate_pem() },
    });
    let how = PatchParams::apply(FIELD_MANAGER).force();
    maps.patch(CONFIG_MAP, &how, &Patch::Apply(&wanted)).await?;
    Ok(())
}

fn entry<'a>(namespace: &'a str, decision: &'a str, why: &'a str) -> Entry<'a> {
    Entry { surface: "publish", resource: namespace, decision, why, ..Entry::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_or_leaves_is_not_written_any_more() {
        let named = |name: &str| json!({ "metadata": { "name": name } });
        let leaving =
            |name: &str| json!({ "metadata": { "name": name, "deletionTimestamp": "t" } });
        let now = Instant::now();
        for (message, left) in [
            (Message::Deleted(named("a")), vec!["b"]),
            (Message::Applied(leaving("a")), vec!["b"]),
            (Message::Applied(named("c")), vec!["a", "b", "c"]),
            (Message::Listed(vec![named("b"), named("d"), leaving("a")]), vec!["b", "d"]),
            (Message::Lost("down".to_owned()), vec!["a", "b"]),
            (Message::Found, vec!["a", "b"]),
        ] {
            let mut due = Due::from([("a".to_owned(), now), ("b".to_owned(), now)]);
            take(&mut due, &message, now);
            assert_eq!(due.into_keys().collect::<Vec<_>>(), left, "{message:?}");
        }
    }
}
