//! One run as a page for people and as JUnit XML for machines.
//!
//! A [`Run`] is the log of events and the results of the tests, put together by the caller; this
//! crate reads no clock, no file and no environment. [`ndjson::parse`] and [`junit::parse`] read
//! the two halves, [`Run::redact`] masks what must not be shown, [`html`](html()) and
//! [`junit::write`] write the reports. Nothing that comes from outside reaches either output
//! without passing through one escaping function, see `markup.rs`.

mod html;
pub mod junit;
mod markup;
pub mod ndjson;
mod redact;
mod run;
mod spans;
mod text;

pub use html::html;
pub use run::{Body, Case, Counts, Evidence, Outcome, Run, Verdict};
