//! Processes of the tests: with a limit, with their output as it comes, and with signals.
//!
//! `crates/process` gives a result or an error; a test wants the exit code, both outputs apart, and a
//! process that it can interrupt, so this is the one place of the tests that starts processes.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
pub use rustix::process::Signal;

/// A command with that program.
pub fn program(program: impl AsRef<OsStr>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "see this file's first lines")]
    Command::new(program)
}

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
pub struct Background {
    child: Child,
    shown: String,
    started: Instant,
    pieces: Receiver<Piece>,
    stdout: String,
    stderr: String,
}

enum Piece {
    Stdout(String),
    Stderr(String),
}

impl Background {
    /// Starts it.
    ///
    /// # Errors
    /// There is no such program.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let shown = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
        let (sender, pieces) = channel();
        if let Some(pipe) = child.stdout.take() {
            read(pipe, Piece::Stdout, sender.clone());
        }
        if let Some(pipe) = child.stderr.take() {
            read(pipe, Piece::Stderr, sender);
        }
        let (stdout, stderr) = (String::new(), String::new());
        Ok(Self { child, shown, started: Instant::now(), pieces, stdout, stderr })
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
        let deadline = Instant::now() + limit;
        loop {
            match self.next_piece(deadline) {
                Some(line) if is_it(line.trim_end()) => return Ok(line.trim_end().to_owned()),
                Some(_) => {}
                None => bail!(
                    "`{}` never wrote the line that was waited for\n{}{}",
                    self.shown,
                    self.stdout,
                    self.stderr
                ),
            }
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process has ended already.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        let ended = self.child.try_wait().context("look at the process")?;
        ensure!(ended.is_none(), "`{}` has ended already: {ended:?}", self.shown);
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).context("send a signal")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It did not end in time; then it was killed.
    pub fn finish(mut self, limit: Duration) -> anyhow::Result<Run> {
        let deadline = Instant::now() + limit;
        while self.next_piece(deadline).is_some() {}
        let Some(status) = self.ended(deadline)? else {
            bail!("`{}` did not end within {limit:?}\n{}{}", self.shown, self.stdout, self.stderr);
        };
        Ok(Run {
            shown: self.shown.clone(),
            id: self.child.id(),
            code: code(status),
            stdout: std::mem::take(&mut self.stdout),
            stderr: std::mem::take(&mut self.stderr),
            took: self.started.elapsed(),
        })
    }

    fn next_piece(&mut self, deadline: Instant) -> Option<String> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.pieces.recv_timeout(left).ok()? {
            Piece::Stdout(line) => {
                self.stdout.push_str(&line);
                Some(line)
            }
            Piece::Stderr(line) => {
                self.stderr.push_str(&line);
                Some(line)
            }
        }
    }

    /// The pipes are closed, so the process ends at once unless it hangs.
    fn ended(&mut self, deadline: Instant) -> anyhow::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait().context("wait for the process")? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Harmless when it has ended; without the wait a dead process would keep its number.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(-1)
}

fn read(pipe: impl Read + Send + 'static, piece: fn(String) -> Piece, sender: Sender<Piece>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if sender.send(piece(String::from_utf8_lossy(&line).into_owned())).is_err() {
                return;
            }
            line.clear();
        }
    });
}
