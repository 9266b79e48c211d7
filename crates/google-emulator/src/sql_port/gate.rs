//! Whether an instance takes connections: restarts, failovers and maintenance close its gate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

/// `max_connections` of the largest tier is 1,000; what is more waits in nobody's memory.
const CONNECTIONS: usize = 1_000;

/// The gates of all instances, by `PROJECT/NAME`.
#[derive(Debug)]
pub struct Gates {
    all: Mutex<HashMap<String, Arc<Gate>>>,
    changes: watch::Sender<()>,
}

impl Default for Gates {
    fn default() -> Self {
        Self { all: Mutex::default(), changes: watch::Sender::new(()) }
    }
}

impl Gates {
    /// The gate of an instance; it is open when nobody closed it.
    pub fn of(&self, instance: &str) -> Arc<Gate> {
        let mut gates = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Gate::new(self.changes.clone()));
        Arc::clone(gates.entry(instance.to_owned()).or_insert_with(fresh))
    }

    /// Tells when any gate opens or closes on demand; not when its time is over.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

/// One instance's gate.
#[derive(Debug)]
pub struct Gate {
    status: watch::Sender<Status>,
    changes: watch::Sender<()>,
    /// Whether the real PostgreSQL has what the state says.
    furnished: watch::Sender<bool>,
    pub(super) places: Arc<Semaphore>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Status {
    /// Counts closings; a connection ends when it changes.
    closings: u64,
    until: Option<Instant>,
}

impl Gate {
    fn new(changes: watch::Sender<()>) -> Self {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        Self {
            status: watch::Sender::default(),
            changes,
            furnished: watch::Sender::default(),
            places,
        }
    }

    /// Drops every connection and refuses new ones for a time.
    pub fn close_for(&self, time: Duration) {
        self.status.send_modify(|status| {
            status.closings += 1;
            status.until = Instant::now().checked_add(time);
        });
        self.changes.send_replace(());
    }

    /// Ends a closing before its time.
    pub fn reopen(&self) {
        self.status.send_modify(|status| status.until = None);
        self.changes.send_replace(());
    }

    /// Says whether the real PostgreSQL has what the state says.
    pub(super) fn set_furnished(&self, furnished: bool) {
        self.furnished.send_replace(furnished);
    }

    /// Waits until the instance's users and databases are made, but no longer than this.
    pub(super) async fn furnished(&self, at_most: Duration) {
        drop(timeout(at_most, self.furnished.subscribe().wait_for(|it| *it)).await);
    }

    /// Waits until every connection has ended by itself, but no longer than this.
    pub async fn drained(&self, at_most: Duration) {
        let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        // Whoever waits for all places lets nobody new in meanwhile.
        drop(timeout(at_most, self.places.acquire_many(all)).await);
    }

    /// Whether it takes connections now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closed_until().is_none()
    }

    /// Until when it takes none.
    pub(super) fn closed_until(&self) -> Option<Instant> {
        self.status.borrow().until.filter(|it| *it > Instant::now())
    }

    /// To be asked before a connection begins, so that no closing is missed.
    pub(super) fn watch(&self) -> Closing {
        let mut changes = self.status.subscribe();
        let since = changes.borrow_and_update().closings;
        Closing { changes, since }
    }
}

/// Tells when a gate closes.
pub(super) struct Closing {
    changes: watch::Receiver<Status>,
    since: u64,
}

impl Closing {
    /// Resolves when it closed since the watch began.
    pub(super) async fn closed(&mut self) {
        let since = self.since;
        // An error means that the gate is gone, and with it the instance.
        drop(self.changes.wait_for(|status| status.closings != since).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_opens_again_after_its_time() {
        let gates = Gates::default();
        let gate = gates.of("p/i");
        let mut watch = gate.watch();
        let mut changes = gates.changes();
        gate.close_for(Duration::from_secs(5));
        watch.closed().await;
        changes.changed().await.unwrap();
        assert!(!gates.of("p/i").is_open());
        assert!(gates.of("p/other").is_open());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(gate.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_can_be_opened_before_its_time() {
        let gate = Gates::default().of("p/i");
        gate.close_for(Duration::from_secs(3600));
        gate.reopen();
        assert!(gate.is_open());
    }
}
