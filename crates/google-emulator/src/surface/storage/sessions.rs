//! Resumable uploads that are open: how far they are, and for whom they were opened.
//!
//! The bytes are upstream; here is what upstream doesn't keep. Whoever knows the id may go on with
//! an upload, as at Google, with a newer token or with none.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use iam::Caller;

/// The most uploads that are remembered; the oldest are forgotten first.
const SESSIONS_MAX: usize = 4096;
/// The life of an upload at Google: a week.
const LIFE_S: u64 = 7 * 24 * 3600;

/// An upload that was opened.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Its bucket.
    pub(super) bucket: String,
    /// Its object.
    pub(super) object: String,
    /// Who opened it, and needs what an overwritten object needs at the end.
    pub(super) opener: Caller,
    /// Seconds since the epoch when it was opened.
    pub(super) opened: u64,
    /// How many bytes upstream has taken.
    pub(super) offset: u64,
    /// CRC32C of these bytes.
    pub(super) crc32c: u32,
    /// The opener may not overwrite, so the store was told that there must be no such object.
    pub(super) guarded: bool,
    /// The answer of the last piece, once it is over.
    pub(super) finished: Option<Bytes>,
}

/// All of them by their id.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Arc<Slot>>>);

/// One of them, for one request at a time.
#[derive(Debug)]
pub(super) struct Slot {
    session: Mutex<Session>,
    busy: tokio::sync::Mutex<()>,
}

impl Sessions {
    /// Keeps a new one.
    pub(super) fn insert(&self, id: String, session: Session) {
        let mut all = lock(&self.0);
        let now = session.opened;
        all.retain(|_, slot| now.saturating_sub(slot.get().opened) < LIFE_S);
        if all.len() >= SESSIONS_MAX {
            let oldest = all.iter().min_by_key(|(_, slot)| slot.get().opened);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                all.remove(&id);
            }
        }
        let slot = Slot { session: Mutex::new(session), busy: tokio::sync::Mutex::default() };
        all.insert(id, Arc::new(slot));
    }

    /// The one with this id.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Slot>> {
        lock(&self.0).get(id).cloned()
    }

    /// Forgets one.
    pub(super) fn remove(&self, id: &str) {
        lock(&self.0).remove(id);
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }
}

impl Slot {
    /// What is known of it now.
    pub(super) fn get(&self) -> Session {
        lock(&self.session).clone()
    }

    /// Notes how far it is, and the CRC32C of all bytes up to there.
    pub(super) fn advance(&self, offset: u64, crc32c: u32) {
        let mut session = lock(&self.session);
        (session.offset, session.crc32c) = (offset, crc32c);
    }

    /// Notes that it is over.
    pub(super) fn finish(&self, answer: Bytes) {
        lock(&self.session).finished = Some(answer);
    }

    /// The right to send a piece; none while another request does.
    pub(super) fn acquire(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        self.busy.try_lock().ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(opened: u64) -> Session {
        Session {
            bucket: "box".to_owned(),
            object: "a".to_owned(),
            opener: Caller::Anonymous,
            opened,
            offset: 0,
            crc32c: 0,
            guarded: false,
            finished: None,
        }
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let sessions = Sessions::default();
        for at in 0..=SESSIONS_MAX {
            sessions.insert(at.to_string(), session(at as u64));
        }
        assert!(sessions.get("0").is_none() && sessions.get("1").is_some());
        sessions.insert("late".to_owned(), session(LIFE_S + 10));
        assert!(sessions.get("10").is_none() && sessions.get("11").is_some());
    }

    #[test]
    fn one_request_at_a_time_sends_a_piece() {
        let sessions = Sessions::default();
        sessions.insert("id".to_owned(), session(0));
        let slot = sessions.get("id").unwrap();
        let right = slot.acquire();
        assert!(right.is_some() && slot.acquire().is_none());
        drop(right);
        assert!(slot.acquire().is_some());
    }
}
