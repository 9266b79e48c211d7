//! One line of JSON per event that somebody may have to explain later.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::clock::{self, Clock};

/// What is known about an event; what is empty is left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entry<'a> {
    /// The API, by its host without `.googleapis.com`.
    pub surface: &'a str,
    /// Who asked.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub caller: &'a str,
    /// HTTP method and path.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub method: &'a str,
    /// Full name of what was asked for.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub resource: &'a str,
    /// The permission that it takes.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub permission: &'a str,
    /// `denied`, `unauthenticated`, `unknown`, `fault`, `error`, `started`, …
    pub decision: &'a str,
    /// The reason, in words.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'a str,
    /// The status of the answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub status: u16,
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    #[serde(flatten)]
    entry: &'a Entry<'a>,
}

/// Lines that wait to be written; more are lost, and the log says how many.
const QUEUE: usize = 4096;

/// Where the lines go.
pub struct Log {
    clock: Arc<dyn Clock>,
    sink: Sink,
}

enum Sink {
    /// A thread writes the lines, because a reader that stalls must not stall a request.
    Stderr {
        lines: SyncSender<String>,
        /// Lines that found no room since the last one that did.
        lost: AtomicUsize,
    },
    Memory(Mutex<Vec<String>>),
}

impl Log {
    /// To standard error.
    #[must_use]
    pub fn stderr(clock: Arc<dyn Clock>) -> Self {
        let (lines, queue) = sync_channel::<String>(QUEUE);
        std::thread::spawn(move || {
            for line in queue {
                drop(std::io::stderr().lock().write_all(line.as_bytes()));
            }
        });
        Self { clock, sink: Sink::Stderr { lines, lost: AtomicUsize::new(0) } }
    }

    /// Kept for a test to read.
    #[must_use]
    pub fn memory(clock: Arc<dyn Clock>) -> Self {
        Self { clock, sink: Sink::Memory(Mutex::default()) }
    }

    /// Writes one line. A log that cannot be written stops nothing.
    pub fn write(&self, entry: &Entry<'_>) {
        let time = clock::rfc3339_millis(self.clock.now());
        let Ok(mut line) = serde_json::to_string(&Line { time: &time, entry }) else { return };
        match &self.sink {
            Sink::Stderr { lines, lost } => {
                line.push('\n');
                let missed = lost.swap(0, Ordering::Relaxed);
                if missed > 0 {
                    line = format!(
                        "{{\"time\":\"{time}\",\"surface\":\"log\",\"decision\":\"error\",\"why\":\"{missed} lines were lost\"}}\n{line}"
                    );
                }
                if lines.try_send(line).is_err() {
                    lost.fetch_add(missed + 1, Ordering::Relaxed);
                }
            }
            Sink::Memory(lines) => {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        }
    }

    /// What a log in memory holds.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match &self.sink {
            Sink::Stderr { .. } => Vec::new(),
            Sink::Memory(lines) => lines.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

fn is_zero(status: &u16) -> bool {
    *status == 0
}

/// Says on standard error why the program ends, with every cause.
pub fn failure(error: &(dyn std::error::Error + 'static)) {
    let causes = std::iter::successors(Some(error), |it| it.source());
    let text: Vec<String> = causes.map(ToString::to_string).collect();
    drop(writeln!(std::io::stderr().lock(), "google-emulator: {}", text.join(": ")));
}
