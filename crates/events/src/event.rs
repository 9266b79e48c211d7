//! What can happen, as data.

use serde::{Deserialize, Serialize};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it was for.
    Done,
    /// There was nothing to do: the result of an earlier run is still good.
    Unchanged,
    /// It failed; the error follows on its own.
    Failed,
}

/// One event. `at_ms` is the time since the command started, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A step began.
    StepStarted {
        /// Time since the start of the command.
        at_ms: u64,
        /// A stable name, for estimates and machines.
        step: String,
        /// What a person reads.
        title: String,
        /// What it took last time, if known.
        estimate_ms: Option<u64>,
    },
    /// A step says what it is at.
    StepProgress {
        /// Time since the start of the command.
        at_ms: u64,
        /// The step's name.
        step: String,
        /// One line about the present moment.
        message: String,
    },
    /// A step ended.
    StepEnded {
        /// Time since the start of the command.
        at_ms: u64,
        /// The step's name.
        step: String,
        /// How it ended.
        outcome: Outcome,
        /// How long it took.
        took_ms: u64,
        /// What came of it, in a line; may be empty.
        message: String,
    },
    /// Something that a reader should know.
    Note {
        /// Time since the start of the command.
        at_ms: u64,
        /// The text.
        message: String,
    },
    /// An observed object changed.
    Object {
        /// Time since the start of the command.
        at_ms: u64,
        /// For instance `deployment/mlflow`.
        object: String,
        /// For instance `in_progress`.
        state: String,
        /// Why, in the words of the observation.
        message: String,
    },
    /// The command failed.
    Error {
        /// Time since the start of the command.
        at_ms: u64,
        /// The chain of causes, outermost first.
        message: String,
        /// The exit code that follows.
        code: u8,
    },
    /// The command's result.
    Result {
        /// Time since the start of the command.
        at_ms: u64,
        /// The result itself; its shape is the command's.
        result: serde_json::Value,
    },
}

impl Event {
    /// The event with its time counted from `by_ms` earlier: to lay the logs of several commands on
    /// one time line.
    #[must_use]
    pub fn shifted(mut self, by_ms: u64) -> Self {
        match &mut self {
            Self::StepStarted { at_ms, .. }
            | Self::StepProgress { at_ms, .. }
            | Self::StepEnded { at_ms, .. }
            | Self::Note { at_ms, .. }
            | Self::Object { at_ms, .. }
            | Self::Error { at_ms, .. }
            | Self::Result { at_ms, .. } => *at_ms += by_ms,
        }
        self
    }

    /// Time since the start of the command, in milliseconds.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        match self {
            Self::StepStarted { at_ms, .. }
            | Self::StepProgress { at_ms, .. }
            | Self::StepEnded { at_ms, .. }
            | Self::Note { at_ms, .. }
            | Self::Object { at_ms, .. }
            | Self::Error { at_ms, .. }
            | Self::Result { at_ms, .. } => *at_ms,
        }
    }
}
