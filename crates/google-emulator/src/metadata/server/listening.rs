//! Connections of pods: who may have how many, and what is done with those of a silent server.

use super::{super::silence::How, Server};
use crate::gateway::connections::{Connections, Place};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};

/// Connections that the server keeps at once.
const MOST_CONNECTIONS: usize = 2048;
/// Connections of one pod: none may take the places of the others.
const MOST_PER_PEER: usize = 128;
/// A client that has not sent a request's head by then is sent away; also the longest idleness.
const HEAD: Duration = Duration::from_secs(60);
/// A head with a path, a dozen headers and nothing strange in it is a tenth of this.
const LARGEST_HEAD: usize = 32 << 10;
/// An accept that failed for lack of something is tried again after this time.
const BREATH: Duration = Duration::from_millis(50);

/// Serves until it is dropped.
pub(crate) async fn serve(server: Arc<Server>, listener: TcpListener) {
    let connections = Connections::new(MOST_CONNECTIONS);
    let peers = Arc::new(Peers::default());
    loop {
        let Ok((stream, address)) = listener.accept().await else {
            tokio::time::sleep_until(Instant::now() + BREATH).await;
            continue;
        };
        let peer = address.ip().to_canonical();
        let now = server.clock.now();
        let silence = server.silence.left(peer, server.started(peer), now);
        if silence.is_some_and(|(_, how)| how == How::Reset) {
            // Unsent and unread, with no time to linger: the kernel says that nobody is there.
            drop(stream.set_zero_linger());
            continue;
        }
        let (Some(place), Some(seat)) = (connections.enter(), Peers::enter(&peers, peer)) else {
            continue;
        };
        drop(stream.set_nodelay(true));
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            one(server, stream, peer, place).await;
            drop(seat);
        });
    }
}

async fn one(server: Arc<Server>, stream: TcpStream, peer: IpAddr, place: Place) {
    let service = service_fn(|request: Request<Incoming>| {
        let (parts, body) = request.into_parts();
        // Nothing that is asked here has a body.
        drop(body);
        let (server, busy) = (Arc::clone(&server), place.busy());
        async move {
            let answer = server.answer(peer, &parts).await;
            drop(busy);
            answer
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(LARGEST_HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // What a client breaks off is its own affair.
        _ = connection => {}
        () = place.told_to_end() => {}
    }
}

/// How many connections each address has.
#[derive(Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// Counts a connection for as long as it is held.
struct Seat(Arc<Peers>, IpAddr);

impl Peers {
    fn enter(peers: &Arc<Peers>, peer: IpAddr) -> Option<Seat> {
        let mut counts = peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if *count >= MOST_PER_PEER {
            return None;
        }
        *count += 1;
        Some(Seat(Arc::clone(peers), peer))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pod_does_not_take_the_places_of_the_others() {
        let peers = Arc::new(Peers::default());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let seats: Vec<Seat> =
            std::iter::from_fn(|| Peers::enter(&peers, ip("10.0.0.7"))).collect();
        assert_eq!(seats.len(), MOST_PER_PEER);
        assert!(Peers::enter(&peers, ip("10.0.0.8")).is_some());
        drop(seats);
        assert!(Peers::enter(&peers, ip("10.0.0.7")).is_some());
        assert!(peers.0.lock().unwrap().is_empty());
    }
}
