//! Says whether a Kubernetes object is well, why it is not, and how long that may last.
//!
//! The first half is pure: it reads observed objects and never a clock, a network or a process, so
//! that every rule is a table test. The second half (feature `client`) watches a real cluster, and
//! knows nothing of kinds: it asks the first half after every change.

pub mod budget;
pub mod diagnosis;
mod fields;
mod history;
pub mod observed;
pub mod status;

#[cfg(feature = "client")]
mod connect;
#[cfg(feature = "client")]
mod error;
#[cfg(feature = "client")]
pub mod exec;
#[cfg(feature = "client")]
pub mod logs;
#[cfg(feature = "client")]
pub mod round_trip;
#[cfg(feature = "client")]
pub mod tunnel;
#[cfg(feature = "client")]
pub mod watch;

pub use diagnosis::{Cause, Rules, Target, Verdict, diagnose};
pub use history::Exit;
pub use observed::{Key, Kind, Observed};
pub use status::{State, Status, assess};

#[cfg(feature = "client")]
pub use {
    self::watch::Watcher,
    connect::connect,
    error::{Error, Result},
};
