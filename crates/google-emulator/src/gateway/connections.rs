//! How many connections there are, and which of them can make room for another one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// A request that moved no byte for so long may lose its connection, when another one needs the
/// place.
const STALLED_MS: u64 = 60_000;

/// The open connections of a port.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    start: Instant,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
}

/// One open connection.
#[derive(Debug, Default)]
pub struct Connection {
    /// Requests that are being answered.
    active: AtomicUsize,
    /// When the last one was answered, in milliseconds since the start.
    last_ms: AtomicU64,
    /// When a byte was read or written, in milliseconds since the start.
    moved_ms: AtomicU64,
    /// Wakes the one who serves it, to end it.
    close: Notify,
}

/// Counts a connection for as long as it is held.
#[derive(Debug)]
pub struct Place {
    connections: Arc<Connections>,
    id: u64,
    connection: Arc<Connection>,
}

/// Counts a request for as long as it is held.
#[derive(Debug)]
pub struct Busy {
    start: Instant,
    connection: Arc<Connection>,
}

impl Connections {
    /// Room for this many.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        let start = Instant::now();
        Arc::new(Self { most, start, next: AtomicU64::new(0), open: Mutex::default() })
    }

    /// Takes a place. When all are taken, the connection that is idle the longest is told to end,
    /// or, when none is idle, the one whose bytes stopped the longest ago: a client that takes its
    /// answer slowly keeps its place, one that stopped taking it does not. When there is neither,
    /// there is no place.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let now = elapsed_ms(self.start);
        let mut open = self.open();
        if open.len() >= self.most {
            let dispensable = idle(&open).or_else(|| stalled(&open, now))?;
            if let Some(connection) = open.remove(&dispensable) {
                connection.close.notify_one();
            }
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection::default());
        connection.last_ms.store(now, Ordering::Release);
        connection.moved_ms.store(now, Ordering::Release);
        open.insert(id, Arc::clone(&connection));
        Some(Place { connections: Arc::clone(self), id, connection })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Returns when the connection is to end.
    pub async fn told_to_end(&self) {
        self.connection.close.notified().await;
    }

    /// Notes that a byte was read or written.
    pub(super) fn moved(&self) {
        self.connection.moved_ms.store(elapsed_ms(self.connections.start), Ordering::Release);
    }

    /// Counts a request.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.connection.active.fetch_add(1, Ordering::AcqRel);
        Busy { start: self.connections.start, connection: Arc::clone(&self.connection) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().remove(&self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.connection.last_ms.store(elapsed_ms(self.start), Ordering::Release);
        self.connection.active.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The connection that is idle the longest.
fn idle(open: &HashMap<u64, Arc<Connection>>) -> Option<u64> {
    let idle = open.iter().filter(|(_, it)| it.active.load(Ordering::Acquire) == 0);
    idle.min_by_key(|(_, it)| it.last_ms.load(Ordering::Acquire)).map(|(id, _)| *id)
}

/// The connection whose bytes stopped the longest ago, if that is long enough.
fn stalled(open: &HashMap<u64, Arc<Connection>>, now_ms: u64) -> Option<u64> {
    let moved = |it: &Connection| it.moved_ms.load(Ordering::Acquire);
    let (id, slowest) = open.iter().min_by_key(|(_, it)| moved(it))?;
    (now_ms.saturating_sub(moved(slowest)) >= STALLED_MS).then_some(*id)
}

fn elapsed_ms(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_longest_idle_connection_makes_room_and_a_busy_one_never() {
        let connections = Connections::new(2);
        let first = connections.enter().unwrap();
        let second = connections.enter().unwrap();
        let busy = [first.busy(), second.busy()];
        assert!(connections.enter().is_none());
        drop(busy);
        let third = connections.enter().unwrap();
        assert_eq!(connections.len(), 2);
        drop((first, second, third));
        assert!(connections.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_makes_room_once_its_bytes_have_stopped_for_a_minute() {
        let connections = Connections::new(2);
        let places = [connections.enter().unwrap(), connections.enter().unwrap()];
        let _busy = places.each_ref().map(Place::busy);
        tokio::time::advance(Duration::from_millis(STALLED_MS - 1)).await;
        places[0].moved();
        assert!(connections.enter().is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        let third = connections.enter().unwrap();
        places[1].told_to_end().await;
        let _busy = third.busy();
        assert!(connections.enter().is_none(), "the first one moves");
    }
}
