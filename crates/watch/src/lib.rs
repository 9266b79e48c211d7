//! One endless stream of what happens to some Kubernetes objects: list, watch, and again.
//!
//! What the objects mean is the caller's: they come as JSON, as the API server sent them.
//!
//! `health` has a module of this name and tokio a channel, so this crate is always called by its
//! whole path: `::watch::follow`.

mod follow;
mod request;

pub use follow::{Message, follow};
pub use request::{List, Selection, list};

/// An error with all its causes, on one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        let text = it.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = it.source();
    }
    line
}
