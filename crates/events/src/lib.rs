//! One log of events: what a command does, told once, shown as each reader wants it.
//!
//! A command opens [`Step`]s on its [`Log`], says how far they are and ends them. The terminal
//! shows them as lines and, where a person looks, as a bar with an estimate; `--json` writes them
//! as NDJSON; the rehearsal's report reads the NDJSON. Estimates are what the same step took last
//! time on this machine, kept in a file of [`Estimates`].

mod estimates;
mod event;
mod log;
mod terminal;

pub use estimates::Estimates;
pub use event::{Event, Outcome};
pub use log::{Log, Step, Style};
