//! An offline Google Cloud that enforces identity: unchanged clients, real tokens, Google's own
//! refusals.

pub mod cloud;
pub mod world;

pub mod gateway;
pub mod surface;

pub mod authorize;
pub mod body;
pub mod error;
pub mod jwt;
pub mod key_source;
pub mod pki;
mod secret;
pub mod signing;
pub mod state;
pub mod token;

pub mod connect;
pub mod metadata;
pub mod publish;
pub mod sql_port;

pub mod admin;
pub mod clock;
pub mod faults;
pub mod log;
pub mod start;
