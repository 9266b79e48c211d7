//! One connection of a client: TLS, who it is, the login, then bytes both ways.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use iam::Resource;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::door::Door;
use super::message;
use super::startup;
use super::upstream::Duplex;
use super::{tls, upstream_of};
use crate::cloud::Cloud;
use crate::gateway::connections::Place;
use crate::log::Entry;
use crate::state::sql::ClientCertificate;

const HANDSHAKE: Duration = Duration::from_secs(10);
/// `authentication_timeout` of PostgreSQL.
const LOGIN: Duration = Duration::from_mins(1);
/// A PostgreSQL that starts together with the emulator has its databases within this time; when it
/// has not, it answers for itself.
const FURNISHED: Duration = Duration::from_secs(5);
/// Each way, and as long as a record of TLS. What does not fit waits in the kernel, so a slow
/// reader slows its writer.
const BUFFER: usize = 16 << 10;

pub(super) type Client = TlsStream<TcpStream>;

/// Serves a connection until one side ends it, or the instance goes.
pub(super) async fn serve(cloud: Arc<Cloud>, key: String, stream: TcpStream) {
    let gate = cloud.sql.gates.of(&key);
    let mut closing = gate.watch();
    if !gate.is_open() {
        return;
    }
    tokio::select! {
        () = connection(&cloud, &key, stream) => {}
        () = closing.closed() => {}
    }
}

/// The decision that is no refusal.
const ENDED: &str = "ended";

/// Why a connection ended before its time.
pub(super) struct Failure {
    decision: &'static str,
    why: String,
    /// What the client is told, when it is told something.
    answer: Vec<u8>,
}

impl Failure {
    pub(super) fn new(decision: &'static str, why: impl ToString) -> Self {
        Self { decision, why: why.to_string(), answer: Vec::new() }
    }

    /// The same with an ErrorResponse for the client.
    pub(super) fn answered(mut self, sqlstate: &str, text: &str) -> Self {
        self.answer = message::fatal(sqlstate, text);
        self
    }

    /// The same with an answer that is written already.
    pub(super) fn answered_with(mut self, answer: Vec<u8>) -> Self {
        self.answer = answer;
        self
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(ENDED, error)
    }
}

/// What breaks while bytes flow is the client's affair, and no line of the log.
fn log(cloud: &Cloud, key: &str, caller: &str, failure: &Failure) {
    let Failure { decision, why, .. } = failure;
    if *decision == ENDED {
        return;
    }
    let (project, name) = key.split_once('/').unwrap_or_default();
    let resource = Resource::instance(project, name);
    let resource = resource.name();
    let method = "connect to port 3307";
    let entry =
        Entry { surface: "cloudsql", caller, method, resource, decision, why, ..Entry::default() };
    cloud.log(&entry);
}

async fn connection(cloud: &Arc<Cloud>, key: &str, stream: TcpStream) {
    // Whoever has not said who it is makes room when there are too many of them.
    let Some(arrival) = cloud.sql.arrivals.enter() else { return };
    let arrived = tokio::select! {
        arrived = arrive(cloud, key, stream) => arrived,
        () = arrival.told_to_end() => return,
    };
    let (mut client, row) = match arrived {
        Ok(arrived) => arrived,
        Err(failure) => return log(cloud, key, "", &failure),
    };
    if let Err(failure) = session(cloud, key, &mut client, &row, arrival).await {
        // Whoever reads the refusal finds its reason in the log already.
        log(cloud, key, &row.principal, &failure);
        drop(client.write_all(&failure.answer).await);
    }
    drop(client.shutdown().await);
}

/// A client with a certificate of the instance.
async fn arrive(
    cloud: &Arc<Cloud>,
    key: &str,
    stream: TcpStream,
) -> Result<(Client, ClientCertificate), Failure> {
    stream.set_nodelay(true)?;
    let config = tls::of(cloud, key).map_err(|error| Failure::new("error", error))?;
    let accepted = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await;
    let client = accepted
        .map_err(|_| Failure::new("unauthenticated", "no TLS handshake in time"))?
        .map_err(|error| Failure::new("unauthenticated", error))?;
    let certificate = client.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let row = certificate.and_then(|it| tls::row(cloud, it));
    let row = row.ok_or_else(|| Failure::new("unauthenticated", "the certificate is gone"))?;
    Ok((client, row))
}

async fn session(
    cloud: &Arc<Cloud>,
    key: &str,
    client: &mut Client,
    row: &ClientCertificate,
    arrival: Place,
) -> Result<(), Failure> {
    let opening = tokio::select! {
        opening = timeout(LOGIN, startup::read(client)) => opening,
        () = arrival.told_to_end() => return Ok(()),
    };
    drop(arrival);
    let opening = match opening.map_err(|_| Failure::new(ENDED, "no startup message in time"))?? {
        None => return Ok(()),
        Some(Ok(opening)) => opening,
        Some(Err(error)) => {
            let text = error.to_string();
            return Err(Failure::new("error", &text).answered(error.sqlstate(), &text));
        }
    };
    let gate = cloud.sql.gates.of(key);
    let Ok(_place) = gate.places.try_acquire() else {
        let failure = Failure::new("error", "too many connections");
        return Err(failure.answered("53300", "sorry, too many clients already"));
    };
    // What the world names is made when the emulator starts, or a moment later.
    gate.furnished(FURNISHED).await;
    let state = cloud.state();
    let Some(instance) = state.instances.get(key) else { return Ok(()) };
    let server = upstream_of(cloud, instance).map_err(|error| Failure::new("error", error))?;
    let door = Door { cloud, key, row, server: &server };
    let passed = timeout(LOGIN, door.pass(client, &opening)).await;
    let upstream = passed.map_err(|_| Failure::new(ENDED, "no login in time"))??;
    Ok(relay(client, upstream).await?)
}

/// Bytes both ways until PostgreSQL ends. A client that only ends its own side still gets the rest;
/// a client whose PostgreSQL is gone has nobody left to talk to.
async fn relay(client: impl Duplex, server: impl Duplex) -> io::Result<()> {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    tokio::select! {
        ended = pump(from_server, to_client) => ended,
        Err(error) = pump(from_client, to_server) => Err(error),
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_ends_its_side_still_gets_the_answer() {
        let ((client, near), (far, mut server)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let relayed = tokio::spawn(relay(near, far));
        let (mut from, mut to) = tokio::io::split(client);
        to.write_all(b"question").await.unwrap();
        to.shutdown().await.unwrap();
        let mut heard = String::new();
        server.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "question");
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut heard = String::new();
        from.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "answer");
        relayed.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_server_that_ends_ends_the_session_after_its_last_word() {
        let ((mut client, near), (far, mut server)) =
            (tokio::io::duplex(8), tokio::io::duplex(1024));
        let relayed = tokio::spawn(relay(near, far));
        server.write_all(&[7; 500]).await.unwrap();
        drop(server);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, [7; 500]);
        relayed.await.unwrap().unwrap();
    }
}
