//! Whoever wants to see every process of this program, and all that they print.

use std::sync::OnceLock;

/// What there is to see of a process.
#[derive(Debug)]
pub enum Sight<'a> {
    /// It is started; the command line as it can be typed, without what is secret.
    Started(&'a str),
    /// It printed a line, to stdout or stderr.
    Line(&'a str),
}

type Observer = Box<dyn Fn(Sight<'_>) + Send + Sync>;

static OBSERVER: OnceLock<Observer> = OnceLock::new();

/// Shows every process from here on to `observer`. There is one for the whole program: the first that
/// is given stays.
pub fn observe(observer: impl Fn(Sight<'_>) + Send + Sync + 'static) {
    // A second observer would only see what the first one sees.
    drop(OBSERVER.set(Box::new(observer)));
}

pub(crate) fn show(sight: Sight<'_>) {
    if let Some(observer) = OBSERVER.get() {
        observer(sight);
    }
}
