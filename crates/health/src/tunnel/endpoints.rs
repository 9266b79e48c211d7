//! The ready pods behind a Service, by its EndpointSlices.

use super::Address;
use crate::{
    error::{Error, Result},
    fields::{flag, list, number, text},
};
use ::watch::{Message, Selection};
use kube::{Client, core::Request};
use serde_json::Value;
use std::collections::BTreeMap;
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

fn slices_of(address: &Address) -> Selection {
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", address.namespace);
    Selection::new(path).labels(format!("kubernetes.io/service-name={}", address.service))
}

/// Keeps `out` equal to the ready endpoints until nobody listens. `out` holds none until the first
/// list has come; while the API server does not answer it holds what was last seen.
pub(super) async fn follow(
    client: Client,
    address: Address,
    port: String,
    out: Sender<Vec<Endpoint>>,
) {
    let mut slices = BTreeMap::new();
    let tell = |message| {
        take(&mut slices, message);
        let now = ready(slices.values(), &port);
        out.send_if_modified(|before| (*before != now).then(|| *before = now).is_some());
        !out.is_closed()
    };
    ::watch::follow(client, slices_of(&address), None, tell).await;
}

fn take(slices: &mut BTreeMap<String, Value>, message: Message) {
    let named = |slice: Value| (text(&slice, "/metadata/name").to_owned(), slice);
    match message {
        Message::Listed(items) => *slices = items.into_iter().map(named).collect(),
        Message::Applied(slice) => slices.extend([named(slice)]),
        Message::Deleted(slice) => {
            slices.remove(text(&slice, "/metadata/name"));
        }
        Message::Lost(_) | Message::Found => {}
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
