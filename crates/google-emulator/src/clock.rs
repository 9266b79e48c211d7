//! What time it is: the system's, or one that a test sets.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Everything that expires asks this one.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> SystemTime;

    /// Whole seconds since 1970, as tokens and certificates count.
    fn seconds(&self) -> u64 {
        seconds(self.now())
    }
}

/// Whole seconds since 1970; a time before that is zero.
#[must_use]
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Microseconds since 1970; a time before that is zero.
#[must_use]
pub fn microseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The time of a number of seconds since 1970.
#[must_use]
pub fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}

/// RFC 3339 in UTC as Google writes it, `2026-11-22T10:00:00Z`.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// RFC 3339 with milliseconds, as Storage and Cloud SQL write it.
#[must_use]
pub fn rfc3339_millis(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Clock for System {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct Set(Mutex<SystemTime>);

impl Set {
    /// A clock that shows this time.
    #[must_use]
    pub fn at(time: SystemTime) -> Self {
        Self(Mutex::new(time))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += by;
    }
}

impl Clock for Set {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_google_writes_them() {
        let time = at(1_700_000_000) + Duration::from_millis(42);
        assert_eq!(rfc3339(time), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339_millis(time), "2023-11-14T22:13:20.042Z");
    }
}
