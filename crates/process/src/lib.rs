//! Runs processes: each with a time limit, and with an error that tells what happened.
//!
//! A call is written with xshell's `cmd!`, so there are no shell strings and nothing to inject.
//! What a process printed last is kept for the error; the whole of stdout is the result.
//! No other crate may spawn a process; `clippy.toml` refuses it.

mod call;
mod error;
mod namespace;
mod observer;
mod running;
mod search;

pub use call::{Call, Line, Output};
pub use error::Error;
pub use namespace::Namespace;
pub use observer::{Sight, observe};
pub use running::{Ended, Running, program};
pub use rustix::process::Signal;
pub use search::find;
pub use xshell::{Cmd, Shell, cmd};
