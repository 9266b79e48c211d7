//! The deploy engine: brings a cluster to the state of a rendered bundle, and nothing else.
//!
//! `plan` compares by server-side dry-run, `preflight` asks admission about every pod template,
//! `Rollout` writes what differs in waves and waits for each, and prunes once the caller has proved
//! the result. A plan without a change leads to no write at all.

mod compare;
mod decide;
mod diff;
mod error;
mod inventory;
mod kinds;
mod lease;
mod leftover;
mod object;
mod observe;
mod plan;
mod preflight;
mod refuse;
mod rollout;
mod server;
mod write;

pub use diff::diff;
pub use error::{Code, Error, Refusal};
pub use lease::Holder;
pub use object::{ENVIRONMENT, MANAGED_BY, MANAGER, Owner};
pub use plan::{Action, Change, Options, Plan, plan};
pub use preflight::{Preflight, preflight};
pub use rollout::{Applied, Pruned, Rollout, Step, Target, Waiter};
pub use server::Server;
