//! One deploy at a time in a namespace.
//!
//! All times are the server's: two machines whose clocks differ agree on when a lease ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use manifests::ObjectId;
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{Error, MANAGED_BY, MANAGER, Server};

const NAME: &str = "mlflow-xtask-deploy";
/// How long a lease lasts after its last renewal, in seconds.
const LASTS_S: i64 = 60;
/// How often it is renewed: two renewals may fail.
const RENEW: Duration = Duration::from_secs(20);

/// Who deploys.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Tells one run from every other: user, host and process.
    pub identity: String,
    /// Whether an earlier holder is known to be gone, such as a process of this host that ended.
    /// Its lease is taken over without waiting for its end.
    pub is_gone: fn(&str) -> bool,
}

/// A lease that we hold, renewed in the background until it is released or dropped.
#[derive(Debug)]
pub(crate) struct Held {
    id: ObjectId,
    identity: String,
    lost: Arc<AtomicBool>,
    renewal: JoinHandle<()>,
}

impl Held {
    /// Takes the lease, or says who holds it.
    pub(crate) async fn take(
        server: &Server,
        namespace: &str,
        holder: &Holder,
    ) -> Result<Held, Error> {
        let id = id(namespace);
        // A rival may write between our read and our write; then we look again and see who won.
        loop {
            match attempt(server, &id, holder).await {
                Ok(()) => break,
                Err(error) if error.is_race() => {}
                Err(error) => return Err(error),
            }
        }
        let lost = Arc::new(AtomicBool::new(false));
        let identity = holder.identity.clone();
        let renewal =
            tokio::spawn(renew(server.clone(), id.clone(), identity.clone(), lost.clone()));
        Ok(Held { id, identity, lost, renewal })
    }

    /// Fails once somebody else has taken over.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.lost.load(Ordering::Relaxed) {
            let namespace = self.id.namespace.clone().unwrap_or_default();
            return Err(Error::LeaseLost { namespace });
        }
        Ok(())
    }

    /// Gives the lease back.
    pub(crate) async fn release(self, server: &Server) -> Result<(), Error> {
        self.renewal.abort();
        let Some(live) = server.get(&self.id).await? else { return Ok(()) };
        if live["spec"]["holderIdentity"] != json!(self.identity) {
            return Ok(());
        }
        match server.delete(&live).await {
            // The last renewal was still under way; its lease is as good as this one.
            Err(error) if error.is_race() => match server.get(&self.id).await? {
                Some(live) if live["spec"]["holderIdentity"] == json!(self.identity) => {
                    server.delete(&live).await
                }
                _ => Ok(()),
            },
            done => done,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

async fn attempt(server: &Server, id: &ObjectId, holder: &Holder) -> Result<(), Error> {
    let (live, date) = server.get_at(id).await?;
    let now = clock(&date);
    let Some(live) = live else {
        let lease = json!({
            "apiVersion": id.api_version,
            "kind": id.kind,
            "metadata": {
                "name": id.name,
                "namespace": id.namespace,
                "labels": { MANAGED_BY: MANAGER },
            },
            "spec": spec(&holder.identity, now),
        });
        return server.create(&lease, false).await.map(drop);
    };
    if let Some(other) = rival(&live, &holder.identity) {
        let expires_s = expires_s(&live, now);
        if expires_s > 0 && !(holder.is_gone)(other) {
            return Err(Error::Busy {
                holder: other.to_owned(),
                namespace: id.namespace.clone().unwrap_or_default(),
                expires_s,
            });
        }
    }
    let mut next = live;
    next["spec"] = spec(&holder.identity, now);
    server.replace(&next).await.map(drop)
}

async fn renew(server: Server, id: ObjectId, identity: String, lost: Arc<AtomicBool>) {
    let mut ticks = interval(RENEW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut renewed = Instant::now();
    loop {
        ticks.tick().await;
        match renew_once(&server, &id, &identity).await {
            Ok(true) => renewed = Instant::now(),
            Ok(false) => break,
            // A server that does not answer gives the lease to nobody else either, until it ends.
            Err(_) if renewed.elapsed().as_secs() < LASTS_S.unsigned_abs() => {}
            Err(_) => break,
        }
    }
    lost.store(true, Ordering::Relaxed);
}

/// False when the lease is no longer ours.
async fn renew_once(server: &Server, id: &ObjectId, identity: &str) -> Result<bool, Error> {
    let (live, date) = server.get_at(id).await?;
    let Some(mut live) = live else { return Ok(false) };
    if live["spec"]["holderIdentity"] != identity {
        return Ok(false);
    }
    live["spec"]["renewTime"] = json!(time(clock(&date)));
    match server.replace(&live).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_race() => Ok(false),
        Err(error) => Err(error),
    }
}

fn id(namespace: &str) -> ObjectId {
    ObjectId {
        api_version: "coordination.k8s.io/v1".to_owned(),
        kind: "Lease".to_owned(),
        namespace: Some(namespace.to_owned()),
        name: NAME.to_owned(),
    }
}

fn spec(identity: &str, now: Timestamp) -> Value {
    json!({
        "holderIdentity": identity,
        "leaseDurationSeconds": LASTS_S,
        "acquireTime": time(now),
        "renewTime": time(now),
    })
}

/// Somebody else who holds the lease.
fn rival<'a>(live: &'a Value, identity: &str) -> Option<&'a str> {
    live["spec"]["holderIdentity"].as_str().filter(|it| !it.is_empty() && *it != identity)
}

/// Seconds until a lease ends; not positive when it has ended.
fn expires_s(live: &Value, now: Timestamp) -> i64 {
    let renewed = live["spec"]["renewTime"].as_str().and_then(|it| it.parse::<Timestamp>().ok());
    let lasts = live["spec"]["leaseDurationSeconds"].as_i64().unwrap_or(LASTS_S);
    renewed.map_or(0, |it| (it + SignedDuration::from_secs(lasts)).duration_since(now).as_secs())
}

/// The server's clock. Every Go server sends the header; a proxy that strips it leaves us our own.
fn clock(date: &str) -> Timestamp {
    rfc2822::parse(date).map_or_else(|_| Timestamp::now(), |it| it.timestamp())
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 22 Nov 2026 08:49:37 GMT";

    #[test]
    fn the_header_is_the_clock() {
        assert_eq!(time(clock(DATE)), "2026-11-22T08:49:37.000000Z");
    }

    #[test]
    fn a_lease_ends_sixty_seconds_after_its_renewal() {
        let now = clock(DATE);
        let live = json!({ "spec": spec("a", now) });
        assert_eq!(expires_s(&live, now), 60);
        assert_eq!(expires_s(&live, now + SignedDuration::from_secs(60)), 0);
        assert_eq!(expires_s(&json!({ "spec": { "holderIdentity": "a" } }), now), 0);
    }

    #[test]
    fn only_another_holder_is_a_rival() {
        let live = json!({ "spec": spec("a", clock(DATE)) });
        assert_eq!(rival(&live, "a"), None);
        assert_eq!(rival(&live, "b"), Some("a"));
        assert_eq!(rival(&json!({ "spec": { "holderIdentity": "" } }), "b"), None);
    }
}
