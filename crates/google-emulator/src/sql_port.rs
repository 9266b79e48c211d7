//! Port 3307 of Cloud SQL: TLS with a client certificate, PostgreSQL behind it.
//!
//! A real instance has an address of its own, and its clients say nothing that names it: no SNI,
//! and the certificate comes after the server had to show its own. So an instance is known by the
//! port that it is reached on, or by the address, when several instances share a port.

pub mod authority;
mod disk;
mod door;
pub mod gate;
mod login;
mod message;
pub mod provision;
mod session;
mod startup;
pub mod statement;
mod tls;
pub mod upstream;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use serde::Deserialize;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::gate::Gates;
pub(crate) use self::statement::Name;
use self::upstream::{Server, Upstream};
pub use self::upstream::{SqlError, Superuser};
use crate::body::{self, Body};
use crate::cloud::Cloud;
use crate::error::Error;
use crate::gateway::connections::Connections;
use crate::log::Entry;
use crate::state::State;
use crate::state::sql::{Instance, User};

/// The scope of a login token, and no other than `cloud-platform` covers it.
pub const LOGIN_SCOPE: &str = "https://www.googleapis.com/auth/sqlservice.login";
/// Clients that have not said yet who they are; when there are more, the oldest is sent away.
const MOST_ARRIVALS: usize = 512;
/// A port that cannot be had, or an accept that failed, is tried again after this time.
const AGAIN: Duration = Duration::from_millis(200);

/// What Cloud SQL keeps in memory.
#[derive(Debug)]
pub struct Sql {
    /// Who takes connections.
    pub gates: Gates,
    configurations: tls::Configurations,
    arrivals: Arc<Connections>,
}

impl Default for Sql {
    fn default() -> Self {
        let arrivals = Connections::new(MOST_ARRIVALS);
        Self { gates: Gates::default(), configurations: tls::Configurations::default(), arrivals }
    }
}

/// What a test or an operator wants of an instance.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// How long it takes no connections.
    #[serde(default)]
    seconds: u64,
}

/// Does what the admin port is asked for: `close` drops the connections of an instance and refuses
/// new ones for some seconds, `open` ends that, `expire-certificates` ends every ephemeral
/// certificate as if its hour were over, `fill-disk` leaves no space for what is written, `free-disk`
/// ends that.
///
/// # Errors
/// 404 when there is no such instance or no such deed; 503 when its PostgreSQL is away.
pub async fn operate(
    cloud: &Cloud,
    key: &str,
    deed: &str,
    asked: &Asked,
) -> Result<Response<Body>, Error> {
    if !cloud.state().instances.contains(key) {
        return Err(Error::not_found(format!("no instance `{key}`")));
    }
    let gate = cloud.sql.gates.of(key);
    let mut expired = 0;
    match deed {
        "close" => gate.close_for(Duration::from_secs(asked.seconds.min(3600))),
        "open" => gate.reopen(),
        "expire-certificates" => expired = expire_certificates(cloud, key)?,
        "fill-disk" => disk::set_full(cloud, key, true).await?,
        "free-disk" => disk::set_full(cloud, key, false).await?,
        _ => return Err(Error::not_found(format!("`{deed}` is not known"))),
    }
    Ok(body::ok(&json!({ "expired": expired })))
}

fn expire_certificates(cloud: &Cloud, key: &str) -> Result<usize, Error> {
    let now = crate::clock::seconds(cloud.now());
    cloud.state.change(|state| {
        let rows = state.client_certificates.iter();
        let valid = rows.filter(|(_, it)| it.instance == key && it.expires > now);
        let serials: Vec<String> = valid.map(|(serial, _)| serial.to_owned()).collect();
        for serial in &serials {
            if let Some(row) = state.client_certificates.get_mut(serial) {
                row.expires = now;
            }
        }
        Ok(serials.len())
    })
}

/// Begins to make again what the state names in the servers of all instances.
pub fn furnish(cloud: &Arc<Cloud>) {
    for (key, _) in cloud.state().instances.iter() {
        cloud.sql.gates.of(key).set_furnished(false);
    }
    tokio::spawn(provision::all(Arc::clone(cloud)));
}

/// Serves all instances until it is dropped; those without a `listen` of their own on `listener`.
pub async fn serve(cloud: Arc<Cloud>, listener: TcpListener) {
    let own: BTreeSet<String> = own_ports(&cloud);
    let shared = listener
        .local_addr()
        .ok()
        .map(|address| port(Arc::clone(&cloud), String::new(), address, Some(listener)));
    let others = own.into_iter().filter_map(|listen| {
        let address = listen.parse().map_err(|_| failed(&cloud, &listen, "it is no address"));
        Some(port(Arc::clone(&cloud), listen.clone(), address.ok()?, None))
    });
    let ports = futures::future::join_all(others.chain(shared));
    tokio::join!(ports, provision::all(Arc::clone(&cloud)));
}

fn own_ports(cloud: &Cloud) -> BTreeSet<String> {
    let world = &cloud.world;
    let instances = world.instances.iter().map(|it| it.listen.clone());
    let servers = world.sql_servers.iter().map(|it| it.listen.clone());
    instances.chain(servers).filter(|it| !it.is_empty()).collect()
}

fn failed(cloud: &Cloud, listen: &str, why: &str) {
    let why = format!("cannot listen on {listen}: {why}");
    cloud.log(&Entry { surface: "cloudsql", decision: "error", why: &why, ..Entry::default() });
}

/// One port. Nobody listens while all of its instances are closed, so clients are refused.
async fn port(
    cloud: Arc<Cloud>,
    listen: String,
    address: SocketAddr,
    mut listener: Option<TcpListener>,
) {
    let mut changes = cloud.sql.gates.changes();
    loop {
        changes.mark_unchanged();
        if let Some(until) = closed_until(&cloud, &listen) {
            drop(listener.take());
            drop(timeout_at(until, changes.changed()).await);
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => match TcpListener::bind(address).await {
                Ok(open) => open,
                Err(error) => {
                    failed(&cloud, &address.to_string(), &error.to_string());
                    sleep_until(Instant::now() + AGAIN).await;
                    continue;
                }
            },
        };
        accept(&cloud, &listen, &open, &mut changes).await;
        listener = Some(open);
    }
}

/// When the first of a port's instances opens; none when one is open, or when there is none.
fn closed_until(cloud: &Cloud, listen: &str) -> Option<Instant> {
    let state = cloud.state();
    let mut earliest = None;
    for (key, _) in on_port(&state, listen) {
        let until = cloud.sql.gates.of(key).closed_until()?;
        earliest = Some(earliest.map_or(until, |it: Instant| it.min(until)));
    }
    earliest
}

fn on_port<'a>(state: &'a State, listen: &'a str) -> impl Iterator<Item = (&'a str, &'a Instance)> {
    state.instances.iter().filter(move |(_, it)| it.listen == listen)
}

/// Takes connections until a gate opens or closes.
async fn accept(
    cloud: &Arc<Cloud>,
    listen: &str,
    listener: &TcpListener,
    changes: &mut watch::Receiver<()>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = changes.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                // A client of nobody is sent away at once, as by an address where nothing is.
                let Some(key) = instance_of(cloud, listen, &stream) else { continue };
                tokio::spawn(session::serve(Arc::clone(cloud), key, stream));
            }
            Err(_) => sleep_until(Instant::now() + AGAIN).await,
        }
    }
}

fn instance_of(cloud: &Cloud, listen: &str, stream: &TcpStream) -> Option<String> {
    let state = cloud.state();
    let candidates: Vec<(&str, &Instance)> = on_port(&state, listen).collect();
    if let [(only, _)] = candidates.as_slice() {
        return Some((*only).to_owned());
    }
    let here = stream.local_addr().ok()?.ip();
    let mut found = candidates
        .into_iter()
        .filter(|(_, it)| it.address.parse::<IpAddr>().is_ok_and(|it| it == here.to_canonical()));
    found.next().map(|(key, _)| key.to_owned())
}

/// The PostgreSQL of an instance.
pub(crate) fn upstream_of(cloud: &Cloud, instance: &Instance) -> Result<Server, Error> {
    let upstream: Upstream =
        instance.upstream.parse().map_err(|why: String| Error::unavailable(&why))?;
    Ok(Server { upstream, superuser: cloud.upstreams.sql_superuser.clone() })
}

/// The address of the principal that an IAM database user is.
///
/// PostgreSQL's names end after 63 bytes, so a service account's is its address without the last
/// part (documentation "IAM authentication").
pub(crate) fn iam_email(user: &User) -> Option<String> {
    match user.kind.as_str() {
        "CLOUD_IAM_SERVICE_ACCOUNT" => Some(format!("{}.gserviceaccount.com", user.name)),
        "CLOUD_IAM_USER" => Some(user.name.clone()),
        _ => None,
    }
}
