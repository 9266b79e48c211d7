//! Identity end to end, over TLS: a pod's token, what it is worth, and who says no in which words.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not find ends the test")]

mod accounts;
mod any_request;
mod bad_tokens;
mod crash;
mod crowd;
mod limits;
mod pods;
mod policies;
mod program;
mod scene;
mod services;
mod slow;
