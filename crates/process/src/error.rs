//! Why a process gave no result.

use std::process::{Command, ExitStatus};
use std::time::Duration;

/// A process that did not do what was asked. The command line is shown as it can be typed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such program on PATH.
    #[error("`{program}` is not on PATH\nhint: cargo xtask doctor")]
    Missing {
        /// The program as it was called.
        program: String,
    },
    /// The program could not be started, for another reason.
    #[error("cannot start `{command}`")]
    Start {
        /// The command line.
        command: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The program ended with a failure.
    #[error("`{command}` failed ({status}){}", tail(.stderr))]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it printed to stderr (or to stdout, when stderr was empty).
        stderr: String,
    },
    /// The program was ended because its time was up.
    #[error("`{command}` was ended after its limit of {} s{}", .limit.as_secs(), tail(.stderr))]
    TimedOut {
        /// The command line.
        command: String,
        /// The limit that the caller gave.
        limit: Duration,
        /// The last lines that it printed.
        stderr: String,
    },
    /// The program never wrote the line that was waited for.
    #[error("`{command}` never wrote the line that was waited for{}", tail(.output))]
    Silent {
        /// The command line.
        command: String,
        /// All that it wrote.
        output: String,
    },
    /// The program had ended when it was to be told something.
    #[error("`{command}` has ended already{}", tail(.output))]
    Gone {
        /// The command line.
        command: String,
        /// All that it wrote.
        output: String,
    },
}

impl Error {
    /// What the process printed last; empty when it never ran.
    #[must_use]
    pub fn stderr(&self) -> &str {
        match self {
            Self::Failed { stderr, .. } | Self::TimedOut { stderr, .. } => stderr,
            Self::Silent { output, .. } | Self::Gone { output, .. } => output,
            Self::Missing { .. } | Self::Start { .. } => "",
        }
    }

    pub(crate) fn start(command: &Command, shown: &str, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::NotFound {
            let program = command.get_program().to_string_lossy().into_owned();
            return Self::Missing { program };
        }
        Self::Start { command: shown.to_owned(), source }
    }
}

fn tail(stderr: &str) -> String {
    stderr.lines().map(|line| format!("\n  | {line}")).collect()
}
