//! The command line on a machine of stubs: what it calls, what it says, how it ends.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not find ends the test")]

mod cache;
mod cluster;
mod daemon;
mod doctor;
mod machine;
mod output;
mod printed;
mod refusals;
mod registry;
mod run;
mod secrets;
mod usage;
