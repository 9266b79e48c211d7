//! A process that runs: its output as it comes, signals, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::Error;
use crate::observer::{Sight, show};

/// A command that is put together step by step, for [`Running::start`]; `cmd!` is for one that can be
/// written in a line.
#[must_use]
pub fn program(program: impl AsRef<std::ffi::OsStr>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "this is the crate that runs processes")]
    Command::new(program)
}

/// A process that runs beside the caller. Dropping it kills it.
pub struct Running {
    child: Child,
    shown: String,
    started: Instant,
    pieces: Receiver<Piece>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// How a process ended, and all that it wrote.
#[derive(Debug)]
pub struct Ended {
    /// The command line.
    pub command: String,
    /// The number that the process had.
    pub id: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Ended {
    /// The exit code; 128 and the signal's number when a signal ended it, as shells count it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().or_else(|| Some(128 + self.status.signal()?)).unwrap_or(-1)
    }
}

/// What arrives from the two pipes of a child, in the order of arrival.
enum Piece {
    Stdout(String),
    Stderr(String),
}

impl Running {
    /// Starts a command without anything to read on stdin.
    ///
    /// # Errors
    /// Not there, or not started.
    pub fn start(command: Command) -> Result<Self, Error> {
        let shown = format!("{command:?}");
        Self::start_as(command, shown, None)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the crate that runs processes")]
    pub(crate) fn start_as(
        mut command: Command,
        shown: String,
        input: Option<Vec<u8>>,
    ) -> Result<Self, Error> {
        show(Sight::Started(&shown));
        let started = Instant::now();
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| Error::start(&command, &shown, source))?;
        if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
            // A process that ends without reading all of its input is judged by its status.
            std::thread::spawn(move || drop(pipe.write_all(&input)));
        }
        let (sender, pieces) = channel();
        if let Some(pipe) = child.stdout.take() {
            read(pipe, Piece::Stdout, sender.clone());
        }
        if let Some(pipe) = child.stderr.take() {
            read(pipe, Piece::Stderr, sender);
        }
        let (stdout, stderr) = (String::new(), String::new());
        Ok(Self { child, shown, started, pieces, stdout, stderr })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line, of stdout or stderr, that the caller looks for.
    ///
    /// # Errors
    /// The process closed its output, or the time was up, before there was one.
    pub fn line(&mut self, limit: Duration, is_it: impl Fn(&str) -> bool) -> Result<String, Error> {
        let deadline = Instant::now() + limit;
        while let Ok(line) = self.next_line(deadline) {
            if is_it(&line) {
                return Ok(line);
            }
        }
        Err(Error::Silent { command: self.shown.clone(), output: self.output() })
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process has ended already.
    pub fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        // One that has ended and was not waited for would still take it.
        let sent = match self.child.try_wait() {
            Ok(None) => rustix::process::kill_process(Pid::from_child(&self.child), signal),
            _ => Err(rustix::io::Errno::SRCH),
        };
        sent.map_err(|_| Error::Gone { command: self.shown.clone(), output: self.output() })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It did not end in time; then it was killed.
    pub fn finish(mut self, limit: Duration) -> Result<Ended, Error> {
        let deadline = Instant::now() + limit;
        match self.end(deadline, &mut |_| {}) {
            Some(status) => Ok(Ended {
                id: self.id(),
                status,
                took: self.started.elapsed(),
                command: std::mem::take(&mut self.shown),
                stdout: std::mem::take(&mut self.stdout),
                stderr: std::mem::take(&mut self.stderr),
            }),
            None => {
                let (command, stderr) = (self.shown.clone(), self.output());
                Err(Error::TimedOut { command, limit, stderr })
            }
        }
    }

    /// Takes in what comes until both pipes are closed, and waits for the status; none when the time
    /// is up.
    pub(crate) fn end(
        &mut self,
        deadline: Instant,
        on_line: &mut dyn FnMut(&str),
    ) -> Option<ExitStatus> {
        loop {
            match self.next_line(deadline) {
                Ok(line) => on_line(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return None,
            }
        }
        // With its pipes closed it normally ends at once.
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => {
                    std::thread::park_timeout(Duration::from_millis(2));
                }
                Ok(None) | Err(_) => return None,
            }
        }
    }

    pub(crate) fn took(&self) -> Duration {
        self.started.elapsed()
    }

    fn next_line(&mut self, deadline: Instant) -> Result<String, RecvTimeoutError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let (text, all) = match self.pieces.recv_timeout(left)? {
            Piece::Stdout(text) => (text, &mut self.stdout),
            Piece::Stderr(text) => (text, &mut self.stderr),
        };
        all.push_str(&text);
        let line = text.trim_end_matches(['\n', '\r']);
        show(Sight::Line(line));
        Ok(line.to_owned())
    }

    fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Harmless when it has ended; without the wait a dead process would keep its number.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Bytes that are not UTF-8 are shown as replacement characters rather than lost.
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

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn sh(script: &str) -> Running {
        let mut command = program("sh");
        command.args(["-c", script]);
        Running::start(command).unwrap()
    }

    #[test]
    fn both_outputs_are_kept_apart_with_the_code() {
        let ended = sh("echo a; echo b >&2; exit 3").finish(SOON).unwrap();
        assert_eq!((ended.code(), ended.stdout.as_str(), ended.stderr.as_str()), (3, "a\n", "b\n"));
    }

    #[test]
    fn a_line_is_waited_for_and_a_signal_ends_it() {
        let mut running = sh("echo ready; exec cat /dev/zero >/dev/null");
        assert_eq!(running.line(SOON, |it| it == "ready").unwrap(), "ready");
        running.signal(Signal::TERM).unwrap();
        assert_eq!(running.finish(SOON).unwrap().code(), 128 + 15);
    }

    #[test]
    fn a_line_that_never_comes_is_told_with_what_came() {
        let error = sh("echo other").line(SOON, |it| it == "ready").unwrap_err().to_string();
        assert!(error.contains("never wrote") && error.ends_with("| other"), "{error}");
    }

    #[test]
    fn one_that_has_ended_takes_no_signal() {
        let mut running = sh("echo over");
        while running.line(SOON, |_| false).is_ok() {}
        while running.signal(Signal::CONT).is_ok() {}
        assert!(matches!(running.signal(Signal::CONT), Err(Error::Gone { .. })));
    }

    #[test]
    fn one_that_does_not_end_is_killed() {
        let running = sh("exec sleep 60");
        let id = running.id();
        let error = running.finish(Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }
}
