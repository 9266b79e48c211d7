//! Pods from the API server: this node's pods and all service accounts are watched, so that a
//! request is answered from memory.
//!
//! What the server may do there: `list` and `watch` on `pods` and `serviceaccounts`, `create` on
//! `serviceaccounts/token`. Nothing else.

mod seen;

use super::{NoToken, Peer, Pod, Pods};
use ::watch::{Message, Selection, error_chain, follow};
use futures::future::BoxFuture;
use kube::{Client, core::Request};
use seen::{Resource, Seen};
use serde_json::{Value, json};
use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};
use tokio::{sync::watch, task::JoinSet};

/// How long a token of a service account lasts: the least that an API server gives without a word
/// about it, and enough for an exchange.
const TOKEN_SECONDS: u32 = 3600;

/// The pods of a node.
pub struct ClusterPods {
    client: Client,
    seen: Arc<RwLock<Seen>>,
    changes: watch::Sender<u64>,
    _watches: JoinSet<()>,
}

impl ClusterPods {
    /// Begins to watch. Does not wait: an API server that is down is asked again and again.
    pub fn watch(client: Client, node: &str, report: impl Fn(String) + Send + 'static) -> Self {
        let seen = Arc::new(RwLock::new(Seen::default()));
        let changes = watch::Sender::new(0);
        let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
        let mut watches = JoinSet::new();
        for resource in [Resource::Pods, Resource::ServiceAccounts] {
            let sender = sender.clone();
            let tell = move |message| sender.send((resource, message)).is_ok();
            watches.spawn(follow(client.clone(), selection(resource, node), None, tell));
        }
        let (writer, teller) = (Arc::clone(&seen), changes.clone());
        watches.spawn(async move {
            while let Some((resource, message)) = messages.recv().await {
                if let Message::Lost(error) = &message {
                    report(format!("watch {}: {error}", resource.plural()));
                }
                writer.write().unwrap_or_else(PoisonError::into_inner).take(resource, message);
                teller.send_modify(|it| *it += 1);
            }
        });
        ClusterPods { client, seen, changes, _watches: watches }
    }
}

/// The pods of the node, and all service accounts: nothing in them says on which node they are used.
fn selection(resource: Resource, node: &str) -> Selection {
    let all = Selection::new(format!("/api/v1/{}", resource.plural()));
    match resource {
        Resource::Pods => all.fields(format!("spec.nodeName={node}")),
        Resource::ServiceAccounts => all,
    }
}

impl Pods for ClusterPods {
    fn find(&self, address: IpAddr) -> Peer {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).find(address)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn projected_token<'a>(
        &'a self,
        pod: &'a Pod,
        audience: &'a str,
    ) -> BoxFuture<'a, Result<String, NoToken>> {
        Box::pin(async move {
            let answer: kube::Result<Value> = match token_request(pod, audience) {
                Ok(request) => self.client.request(request).await,
                Err(error) => return Err(NoToken(error)),
            };
            let answer = answer.map_err(|it| NoToken(error_chain(&it)))?;
            let token = answer.pointer("/status/token").and_then(Value::as_str);
            token.map(str::to_owned).ok_or_else(|| NoToken("the API server gave no token".into()))
        })
    }

    fn is_ready(&self) -> bool {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).is_complete()
    }
}

/// A token that is bound to the pod: it is worth nothing once the pod is gone.
fn token_request(pod: &Pod, audience: &str) -> Result<hyper::Request<Vec<u8>>, String> {
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": [audience],
            "expirationSeconds": TOKEN_SECONDS,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid},
        },
    });
    let path = format!("/api/v1/namespaces/{}/serviceaccounts", pod.namespace);
    Request::new(path)
        .create_subresource(
            "token",
            &pod.kubernetes_sa,
            &Default::default(),
            body.to_string().into(),
        )
        .map_err(|it| it.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_the_pod_alone() {
        let pod = Pod {
            namespace: "mlflow".into(),
            name: "mlflow-0".into(),
            uid: "u".into(),
            kubernetes_sa: "mlflow".into(),
            google_sa: None,
            started: None,
        };
        let request = token_request(&pod, "demo.svc.id.goog").unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri().path(), "/api/v1/namespaces/mlflow/serviceaccounts/mlflow/token");
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body["spec"]["boundObjectRef"]["uid"], "u");
        assert_eq!(body["spec"]["audiences"], json!(["demo.svc.id.goog"]));
    }
}
