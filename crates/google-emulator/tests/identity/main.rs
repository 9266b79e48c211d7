//! Identity end to end, over TLS: a pod's token, what it is worth, and who says no in which words.

mod accounts;
mod bad_tokens;
mod crash;
mod limits;
mod pods;
mod policies;
mod scene;
mod services;
