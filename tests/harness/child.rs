//! Processes of the tests, with what a test expects of one that has ended.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use process::{Ended, Running};
pub use process::{Signal, program};

/// How a process ended, and what it wrote.
#[derive(Debug)]
pub struct Run {
    /// The command line.
    pub shown: String,
    /// The number that the process had.
    pub id: u32,
    /// The exit code; 128 and the signal's number when a signal ended it, as shells count it.
    pub code: i32,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl From<Ended> for Run {
    fn from(ended: Ended) -> Self {
        let code = ended.code();
        let Ended { command, id, stdout, stderr, took, .. } = ended;
        Self { shown: command, id, code, stdout, stderr, took }
    }
}

impl Run {
    /// Fails unless the process ended with that code.
    ///
    /// # Errors
    /// It ended otherwise; the error has all that it wrote.
    pub fn expect(self, code: i32) -> anyhow::Result<Self> {
        ensure!(
            self.code == code,
            "`{}` ended with {} after {:.1} s, {code} was expected\n{}",
            self.shown,
            self.code,
            self.took.as_secs_f64(),
            self.text()
        );
        Ok(self)
    }

    /// Fails unless stdout or stderr has these words.
    ///
    /// # Errors
    /// Neither has; the error has all that was written.
    pub fn says(self, words: &str) -> anyhow::Result<Self> {
        let text = self.text();
        ensure!(text.contains(words), "`{}` does not say `{words}`\n{text}", self.shown);
        Ok(self)
    }

    /// Fails unless it ran no longer than that.
    ///
    /// # Errors
    /// It took longer.
    pub fn within(self, limit: Duration) -> anyhow::Result<Self> {
        ensure!(self.took <= limit, "`{}` took {:?}\n{}", self.shown, self.took, self.text());
        Ok(self)
    }

    /// Both outputs.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs a process to its end.
///
/// # Errors
/// It did not start, or did not end in time; then it was killed.
pub fn run(command: Command, limit: Duration) -> anyhow::Result<Run> {
    Background::start(command)?.finish(limit)
}

/// A process that runs beside the test. Dropping it kills it.
pub struct Background(Running);

impl Background {
    /// Starts it.
    ///
    /// # Errors
    /// There is no such program.
    pub fn start(command: Command) -> anyhow::Result<Self> {
        Ok(Self(Running::start(command)?))
    }

    /// Waits for a line, of stdout or stderr, that the test looks for.
    ///
    /// # Errors
    /// The process ended, or the time was up, before there was one.
    pub fn line(
        &mut self,
        limit: Duration,
        is_it: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        Ok(self.0.line(limit, |it| is_it(it.trim_end()))?.trim_end().to_owned())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process has ended already.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        Ok(self.0.signal(signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It did not end in time; then it was killed.
    pub fn finish(self, limit: Duration) -> anyhow::Result<Run> {
        Ok(self.0.finish(limit)?.into())
    }
}
