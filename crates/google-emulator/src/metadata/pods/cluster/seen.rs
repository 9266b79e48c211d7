//! What the watches have brought: which pod has which address, and which service account names
//! which Google service account.

use super::super::{ANNOTATION, Peer, Pod};
use ::watch::Message;
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

/// What is watched.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resource {
    Pods,
    ServiceAccounts,
}

impl Resource {
    /// Its name in the API.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Resource::Pods => "pods",
            Resource::ServiceAccounts => "serviceaccounts",
        }
    }
}

/// Everything known of pods and service accounts.
#[derive(Default)]
pub(super) struct Seen {
    /// By uid. Two pods can have one address for a moment: the old one has ended and is still there.
    pods: HashMap<String, Seat>,
    accounts: HashMap<(String, String), Option<String>>,
    by_address: HashMap<IpAddr, Arc<Pod>>,
    nodes: HashSet<IpAddr>,
    pods_listed: bool,
    accounts_listed: bool,
}

/// A pod and where it is.
struct Seat {
    pod: Pod,
    addresses: Vec<IpAddr>,
    created: String,
}

impl Seen {
    pub(super) fn find(&self, address: IpAddr) -> Peer {
        match self.by_address.get(&address) {
            Some(pod) => Peer::Pod(Arc::clone(pod)),
            None if self.nodes.contains(&address) => Peer::Node,
            None => Peer::Unknown,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.pods_listed && self.accounts_listed
    }

    pub(super) fn take(&mut self, resource: Resource, message: Message) {
        match (resource, message) {
            (Resource::Pods, Message::Listed(items)) => {
                self.pods.clear();
                self.pods_listed = true;
                items.iter().for_each(|it| self.apply_pod(it));
            }
            (Resource::ServiceAccounts, Message::Listed(items)) => {
                self.accounts.clear();
                self.accounts_listed = true;
                items.iter().for_each(|it| self.apply_account(it));
            }
            (Resource::Pods, Message::Applied(pod)) => self.apply_pod(&pod),
            (Resource::ServiceAccounts, Message::Applied(account)) => self.apply_account(&account),
            (Resource::Pods, Message::Deleted(pod)) => {
                self.pods.remove(text(&pod, "/metadata/uid"));
            }
            (Resource::ServiceAccounts, Message::Deleted(account)) => {
                self.accounts.remove(&account_key(&account));
            }
            (_, Message::Lost(_) | Message::Found) => return,
        }
        self.index();
    }

    fn apply_pod(&mut self, object: &Value) {
        let uid = text(object, "/metadata/uid").to_owned();
        for ip in addresses(object, "/status/hostIPs", "/status/hostIP") {
            self.nodes.insert(ip);
        }
        let on_host = object.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true);
        let ended = matches!(text(object, "/status/phase"), "Succeeded" | "Failed");
        if on_host || ended {
            self.pods.remove(&uid);
            return;
        }
        let pod = Pod {
            namespace: text(object, "/metadata/namespace").to_owned(),
            name: text(object, "/metadata/name").to_owned(),
            uid: uid.clone(),
            kubernetes_sa: match text(object, "/spec/serviceAccountName") {
                "" => "default".to_owned(),
                name => name.to_owned(),
            },
            google_sa: None,
            started: text(object, "/status/startTime")
                .parse::<jiff::Timestamp>()
                .ok()
                .map(SystemTime::from),
        };
        let addresses = addresses(object, "/status/podIPs", "/status/podIP");
        let created = text(object, "/metadata/creationTimestamp").to_owned();
        self.pods.insert(uid, Seat { pod, addresses, created });
    }

    fn apply_account(&mut self, object: &Value) {
        let annotations = object.pointer("/metadata/annotations");
        let google_sa = annotations.and_then(|it| it.get(ANNOTATION)).and_then(Value::as_str);
        let google_sa = google_sa.map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned);
        self.accounts.insert(account_key(object), google_sa);
    }

    /// A node has a hundred pods at most: it is done anew after each change.
    fn index(&mut self) {
        let mut seats: Vec<&Seat> = self.pods.values().collect();
        // Of two pods with one address, the younger one has it.
        seats.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.pod.uid.cmp(&b.pod.uid)));
        self.by_address.clear();
        for seat in seats {
            let account = (seat.pod.namespace.clone(), seat.pod.kubernetes_sa.clone());
            // The watches run apart: until the account has been seen nobody can say whether it has
            // the annotation, and the pod is as good as unknown.
            let Some(google_sa) = self.accounts.get(&account) else { continue };
            let pod = Arc::new(Pod { google_sa: google_sa.clone(), ..seat.pod.clone() });
            for address in &seat.addresses {
                self.by_address.insert(*address, Arc::clone(&pod));
            }
        }
    }
}

/// The text at a place, empty if there is none.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn account_key(object: &Value) -> (String, String) {
    (text(object, "/metadata/namespace").to_owned(), text(object, "/metadata/name").to_owned())
}

/// The addresses of a list of `{"ip": …}`, and the older field with one alone.
fn addresses(object: &Value, list: &str, one: &str) -> Vec<IpAddr> {
    let many = object.pointer(list).and_then(Value::as_array).map(Vec::as_slice);
    let many = many.unwrap_or_default().iter().map(|it| text(it, "/ip"));
    let all = many.chain([text(object, one)]).filter_map(|it| it.parse::<IpAddr>().ok());
    let mut all: Vec<IpAddr> = all.map(|it| it.to_canonical()).collect();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, ip: &str, created: &str, phase: &str) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "mlflow", "uid": name, "creationTimestamp": created},
            "spec": {"serviceAccountName": "mlflow", "nodeName": "node-1"},
            "status": {
                "phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "172.18.0.2",
                "startTime": created,
            },
        })
    }

    fn account(annotation: Option<&str>) -> Value {
        let annotations = annotation.map_or(json!({}), |it| json!({ANNOTATION: it}));
        json!({"metadata": {"name": "mlflow", "namespace": "mlflow", "annotations": annotations}})
    }

    fn applied(seen: &mut Seen, resource: Resource, object: Value) {
        seen.take(resource, Message::Applied(object));
    }

    fn name_at(seen: &Seen, ip: &str) -> Option<(String, Option<String>)> {
        match seen.find(ip.parse().unwrap()) {
            Peer::Pod(pod) => Some((pod.name.clone(), pod.google_sa.clone())),
            Peer::Node | Peer::Unknown => None,
        }
    }

    const EARLY: &str = "2026-11-23T03:00:00Z";
    const LATE: &str = "2026-11-23T03:00:05Z";

    #[test]
    fn a_pod_is_known_when_its_account_is() {
        let mut seen = Seen::default();
        applied(&mut seen, Resource::Pods, pod("a", "10.0.0.7", EARLY, "Running"));
        assert_eq!(name_at(&seen, "10.0.0.7"), None);
        applied(&mut seen, Resource::ServiceAccounts, account(Some("g@p")));
        assert_eq!(name_at(&seen, "10.0.0.7"), Some(("a".into(), Some("g@p".into()))));
        applied(&mut seen, Resource::ServiceAccounts, account(None));
        assert_eq!(name_at(&seen, "10.0.0.7"), Some(("a".into(), None)));
    }

    #[test]
    fn an_address_belongs_to_the_pod_that_has_it_now() {
        let mut seen = Seen::default();
        applied(&mut seen, Resource::ServiceAccounts, account(None));
        applied(&mut seen, Resource::Pods, pod("new", "10.0.0.7", LATE, "Running"));
        applied(&mut seen, Resource::Pods, pod("old", "10.0.0.7", EARLY, "Running"));
        assert_eq!(name_at(&seen, "10.0.0.7").unwrap().0, "new");
        applied(&mut seen, Resource::Pods, pod("new", "10.0.0.7", LATE, "Succeeded"));
        assert_eq!(name_at(&seen, "10.0.0.7").unwrap().0, "old");
        seen.take(Resource::Pods, Message::Deleted(pod("old", "10.0.0.7", EARLY, "")));
        assert_eq!(name_at(&seen, "10.0.0.7"), None);
    }

    #[test]
    fn a_pod_on_the_hosts_network_is_the_node() {
        let mut seen = Seen::default();
        applied(&mut seen, Resource::ServiceAccounts, account(None));
        let mut host = pod("host", "172.18.0.2", EARLY, "Running");
        host["spec"]["hostNetwork"] = json!(true);
        applied(&mut seen, Resource::Pods, host);
        assert_eq!(seen.find("172.18.0.2".parse().unwrap()), Peer::Node);
        assert_eq!(seen.find("172.18.0.3".parse().unwrap()), Peer::Unknown);
    }

    #[test]
    fn a_list_replaces_what_was_known() {
        let mut seen = Seen::default();
        applied(&mut seen, Resource::ServiceAccounts, account(None));
        applied(&mut seen, Resource::Pods, pod("a", "10.0.0.7", EARLY, "Running"));
        assert!(!seen.is_complete());
        let items = vec![pod("b", "10.0.0.8", EARLY, "Running")];
        seen.take(Resource::Pods, Message::Listed(items));
        assert_eq!(name_at(&seen, "10.0.0.7"), None);
        assert_eq!(name_at(&seen, "10.0.0.8").unwrap().0, "b");
        seen.take(Resource::ServiceAccounts, Message::Listed(vec![]));
        assert!(seen.is_complete());
        assert_eq!(name_at(&seen, "10.0.0.8"), None);
    }

    #[test]
    fn a_pod_says_when_its_life_began() {
        let mut seen = Seen::default();
        applied(&mut seen, Resource::ServiceAccounts, account(None));
        applied(&mut seen, Resource::Pods, pod("a", "10.0.0.7", LATE, "Running"));
        let Peer::Pod(pod) = seen.find("10.0.0.7".parse().unwrap()) else { panic!() };
        let since_epoch = pod.started.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since_epoch.as_secs(), 1_795_402_805);
    }
}
