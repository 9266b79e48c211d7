//! How many connections there are, and which of them is idle the longest.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

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

    /// Takes a place. When all are taken, the connection that is idle the longest is told to end;
    /// when none is idle, there is no place.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open();
        if open.len() >= self.most {
            let idle = open
                .iter()
                .filter(|(_, it)| it.active.load(Ordering::Acquire) == 0)
                .min_by_key(|(_, it)| it.last_ms.load(Ordering::Acquire))
                .map(|(id, _)| *id)?;
            if let Some(connection) = open.remove(&idle) {
                connection.close.notify_one();
            }
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection::default());
        connection.last_ms.store(elapsed_ms(self.start), Ordering::Release);
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

fn elapsed_ms(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
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
}
