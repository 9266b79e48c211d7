//! The one place that asks again and again: for things outside Kubernetes that offer no watch.

use std::time::{Duration, Instant};

use crate::error::Error;

/// How long to leave it alone between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks until the answer is `Ok`, for no longer than `limit`.
///
/// # Errors
/// [`Error::Late`] with the last reason.
pub(crate) fn until(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<(), String>,
) -> Result<(), Error> {
    let deadline = Instant::now() + limit;
    loop {
        let Err(last) = ask() else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(Error::Late { what: what.to_owned(), limit, last });
        }
        std::thread::park_timeout(PAUSE);
    }
}
