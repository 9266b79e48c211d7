//! The ready pods behind a Service, by its EndpointSlices.

use super::Address;
use crate::{
    error::{Error, Result},
    fields::{flag, list, number, text},
    watch,
};
use futures::{TryStreamExt as _, pin_mut};
use kube::{
    Client,
    core::{Request, WatchEvent, params::WatchParams},
};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::watch::Sender;

/// A pod that serves a Service now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The name of the pod.
    pub pod: String,
    /// The port of the pod.
    pub port: u16,
}

/// The name of a Service's port: the slices know ports by name alone.
pub(super) async fn port_name(client: &Client, address: &Address) -> Result<String> {
    let path = format!("/api/v1/namespaces/{}/services", address.namespace);
    let request =
        Request::new(path).get(&address.service, &kube::core::params::GetParams::default());
    let request = request.map_err(kube::Error::BuildRequest);
    let service: Value = match request {
        Ok(request) => client.request(request).await,
        Err(error) => Err(error),
    }
    .map_err(|it| {
        Error::api(format!("read service `{}/{}`", address.namespace, address.service), it)
    })?;
    let port = list(&service, "/spec/ports")
        .iter()
        .find(|it| number(it, "/port") == Some(i64::from(address.port)));
    port.map(|it| text(it, "/name").to_owned()).ok_or_else(|| Error::NoPort {
        namespace: address.namespace.clone(),
        service: address.service.clone(),
        port: address.port,
    })
}

/// Ready endpoints of one port among slices. Pods on their way out are not ready.
pub(super) fn ready<'a>(slices: impl Iterator<Item = &'a Value>, port: &str) -> Vec<Endpoint> {
    let mut all: Vec<Endpoint> = slices
        .flat_map(|slice| {
            let number = list(slice, "/ports")
                .iter()
                .find(|it| text(it, "/name") == port)
                .and_then(|it| u16::try_from(number(it, "/port")?).ok());
            list(slice, "/endpoints")
                .iter()
                .filter(|it| flag(it, "/conditions/ready") != Some(false))
                .filter(|it| text(it, "/targetRef/kind") == "Pod")
                .filter_map(move |it| {
                    Some(Endpoint { pod: text(it, "/targetRef/name").to_owned(), port: number? })
                })
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

fn path_of(address: &Address) -> (String, String) {
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", address.namespace);
    (path, format!("kubernetes.io/service-name={}", address.service))
}

/// Keeps `out` equal to the ready endpoints until nobody listens. `out` holds none until the first
/// list has come.
pub(super) async fn follow(
    client: Client,
    address: Address,
    port: String,
    out: Sender<Vec<Endpoint>>,
) {
    let mut pause = Duration::from_millis(50);
    while !out.is_closed() {
        if follow_once(&client, &address, &port, &out).await.is_ok() {
            pause = Duration::from_millis(50);
        } else {
            // A server that is down has nothing to watch: closed is the only news until then.
            let _ = tokio::time::timeout(pause, out.closed()).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

/// One list and one watch.
async fn follow_once(
    client: &Client,
    address: &Address,
    port: &str,
    out: &Sender<Vec<Endpoint>>,
) -> kube::Result<()> {
    let (path, labels) = path_of(address);
    let (items, version) = watch::list_at(client, &path, Some(&labels)).await?;
    let mut slices: BTreeMap<String, Value> =
        items.into_iter().map(|it| (text(&it, "/metadata/name").to_owned(), it)).collect();
    let publish = |slices: &BTreeMap<String, Value>| {
        let now = ready(slices.values(), port);
        out.send_if_modified(|before| (*before != now).then(|| *before = now).is_some());
    };
    publish(&slices);
    let params = WatchParams { label_selector: Some(labels), ..WatchParams::default() };
    let request = Request::new(path).watch(&params, &version).map_err(kube::Error::BuildRequest)?;
    let events = client.request_events::<Value>(request).await?;
    pin_mut!(events);
    loop {
        let event = tokio::select! {
            event = events.try_next() => event?,
            () = out.closed() => return Ok(()),
        };
        match event {
            Some(WatchEvent::Added(it) | WatchEvent::Modified(it)) => {
                slices.insert(text(&it, "/metadata/name").to_owned(), it);
            }
            Some(WatchEvent::Deleted(it)) => {
                slices.remove(text(&it, "/metadata/name"));
            }
            Some(WatchEvent::Bookmark(_)) => {}
            Some(WatchEvent::Error(status)) => return Err(kube::Error::Api(status)),
            None => return Ok(()),
        }
        publish(&slices);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(endpoint: Value, expected: &[(&str, u16)]) {
        let slice = json!({"ports": [{"name": "http", "port": 5000}], "endpoints": [endpoint]});
        let expected: Vec<Endpoint> = expected
            .iter()
            .map(|(pod, port)| Endpoint { pod: (*pod).to_owned(), port: *port })
            .collect();
        assert_eq!(ready([&slice, &slice].into_iter(), "http"), expected);
    }

    fn endpoint(conditions: Value) -> Value {
        json!({"conditions": conditions, "targetRef": {"kind": "Pod", "name": "mlflow-1"}})
    }

    #[test]
    fn ready_pod_is_taken_once() {
        check(endpoint(json!({"ready": true})), &[("mlflow-1", 5000)]);
    }

    #[test]
    fn unknown_readiness_counts_as_ready_as_the_interface_says() {
        check(endpoint(json!({})), &[("mlflow-1", 5000)]);
    }

    #[test]
    fn pod_on_its_way_out_is_not_taken() {
        check(endpoint(json!({"ready": false, "serving": true, "terminating": true})), &[]);
    }

    #[test]
    fn address_without_a_pod_is_not_taken() {
        check(json!({"conditions": {"ready": true}}), &[]);
    }
}
