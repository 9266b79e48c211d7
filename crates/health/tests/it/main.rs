//! Tests of the public interface: one literal object per case, one check function per module.

#![expect(clippy::unwrap_used, reason = "what a test needs and does not find ends the test")]

mod budget;
#[cfg(feature = "client")]
mod connect;
mod diagnosis;
#[cfg(feature = "client")]
mod logs;
mod objects;
mod properties;
#[cfg(feature = "client")]
mod server;
mod status;
#[cfg(feature = "client")]
mod tunnel;
#[cfg(feature = "client")]
mod watch;
