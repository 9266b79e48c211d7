//! One call of one program.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::Error;
use crate::observer::{Sight, show};

/// How many lines of output an error carries unless the caller wants more.
const TAIL_LINES: usize = 12;

/// The variables by which a user's machine tells clients what to trust or which proxy to take.
/// A child that must trust another authority (a cluster's own) is started without them.
const TRUST_VARIABLES: [&str; 14] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NIX_SSL_CERT_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "KUBECONFIG",
    "KUBERC",
];

/// One line that a running process printed, from stdout or stderr.
#[derive(Debug)]
pub struct Line<'a> {
    /// The line without its end.
    pub text: &'a str,
}

/// What a process that succeeded left.
#[derive(Debug)]
pub struct Output {
    /// All of stdout.
    pub stdout: String,
    /// How long it ran.
    pub took: Duration,
}

/// A program, its arguments, and how long it may take.
pub struct Call<'a> {
    command: Command,
    shown: String,
    program: String,
    limit: Duration,
    input: Option<Vec<u8>>,
    on_line: Option<&'a mut dyn FnMut(Line<'_>)>,
    n_tail: usize,
}

impl<'a> Call<'a> {
    /// A call of what `cmd!` wrote, which must end within `limit`.
    #[must_use]
    pub fn new(cmd: xshell::Cmd<'_>, limit: Duration) -> Self {
        let shown = cmd.to_string();
        let command = Command::from(cmd);
        let program = command.get_program().to_string_lossy().into_owned();
        Self { command, shown, program, limit, input: None, on_line: None, n_tail: TAIL_LINES }
    }

    /// Keeps `argument` out of every message: for a value that nobody should read.
    #[must_use]
    pub fn secret_arg(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self.shown.push_str(" [hidden]");
        self
    }

    /// Gives the process something to read on stdin.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Starts the process without the caller's certificates, proxies and kubeconfig.
    #[must_use]
    pub fn without_trust(mut self) -> Self {
        for name in TRUST_VARIABLES {
            self.command.env_remove(name);
        }
        self
    }

    /// Keeps that many last lines for the error, for a program whose every line is a finding.
    #[must_use]
    pub fn tail_lines(mut self, n_lines: usize) -> Self {
        self.n_tail = n_lines;
        self
    }

    /// Calls `on_line` for each line while the process runs.
    #[must_use]
    pub fn lines(mut self, on_line: &'a mut dyn FnMut(Line<'_>)) -> Self {
        self.on_line = Some(on_line);
        self
    }

    /// Runs the process to its end.
    ///
    /// # Errors
    /// See [`Error`]: not there, not started, failed, out of time.
    pub fn run(self) -> Result<Output, Error> {
        let (status, output, stderr, shown) = self.finish()?;
        if status.success() {
            return Ok(output);
        }
        let stderr = if stderr.is_empty() { last_lines(&output.stdout) } else { stderr };
        Err(Error::Failed { command: shown, status, stderr })
    }

    /// Runs the process and gives its exit status with its output, whatever the status is.
    ///
    /// # Errors
    /// Not there, not started, out of time.
    pub fn status(self) -> Result<(ExitStatus, Output), Error> {
        let (status, output, _, _) = self.finish()?;
        Ok((status, output))
    }

    /// Lets the process take over the terminal: it inherits stdin, stdout and stderr.
    ///
    /// # Errors
    /// As [`Call::run`], with an empty stderr; the limit does not apply, a person is in charge.
    pub fn interact(mut self) -> Result<ExitStatus, Error> {
        show(Sight::Started(&self.shown));
        self.command.status().map_err(|source| start_error(&self.program, &self.shown, source))
    }

    /// Starts a process that outlives this one: in a session of its own, so that Ctrl-C here does
    /// not reach it, with its output in `log`. Returns its process id.
    ///
    /// # Errors
    /// Not there, or not started.
    pub fn detach(mut self, log: File) -> Result<u32, Error> {
        show(Sight::Started(&self.shown));
        let both =
            log.try_clone().map_err(|source| start_error(&self.program, &self.shown, source))?;
        self.command.stdin(Stdio::null()).stdout(log).stderr(both).process_group(0);
        let child = self
            .command
            .spawn()
            .map_err(|source| start_error(&self.program, &self.shown, source))?;
        Ok(child.id())
    }

    fn finish(mut self) -> Result<(ExitStatus, Output, String, String), Error> {
        show(Sight::Started(&self.shown));
        let started = Instant::now();
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self
            .command
            .spawn()
            .map_err(|source| start_error(&self.program, &self.shown, source))?;
        if let (Some(input), Some(mut pipe)) = (self.input.take(), child.stdin.take()) {
            // A process that ends without reading all of its input is judged by its status.
            std::thread::spawn(move || drop(pipe.write_all(&input)));
        }
        let mut reading = Reading::start(&mut child, self.n_tail);
        let deadline = started + self.limit;
        let in_time = reading.follow(deadline, self.on_line.as_deref_mut());
        let status = if in_time { wait(&mut child, deadline) } else { None };
        let Some(status) = status else {
            // Nothing is left to do for a child that cannot be killed.
            drop(child.kill());
            drop(child.wait());
            return Err(Error::TimedOut {
                command: self.shown,
                limit: self.limit,
                stderr: reading.tail(),
            });
        };
        let output =
            Output { stdout: std::mem::take(&mut reading.stdout), took: started.elapsed() };
        Ok((status, output, reading.tail(), self.shown))
    }
}

/// What arrives from the two pipes of a child, in the order of arrival.
struct Reading {
    receiver: std::sync::mpsc::Receiver<Piece>,
    stdout: String,
    tail: VecDeque<String>,
    n_tail: usize,
}

enum Piece {
    Stdout(String),
    Stderr(String),
}

impl Reading {
    fn start(child: &mut Child, n_tail: usize) -> Self {
        let (sender, receiver) = channel();
        if let Some(pipe) = child.stdout.take() {
            read(pipe, Piece::Stdout, sender.clone());
        }
        if let Some(pipe) = child.stderr.take() {
            read(pipe, Piece::Stderr, sender);
        }
        Self { receiver, stdout: String::new(), tail: VecDeque::new(), n_tail }
    }

    /// Takes in what comes until both pipes are closed (`true`) or the time is up (`false`).
    fn follow(
        &mut self,
        deadline: Instant,
        mut on_line: Option<&mut (dyn FnMut(Line<'_>) + '_)>,
    ) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let piece = match self.receiver.recv_timeout(left) {
                Ok(piece) => piece,
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            };
            let text = match &piece {
                Piece::Stdout(text) | Piece::Stderr(text) => text.trim_end_matches(['\n', '\r']),
            };
            show(Sight::Line(text));
            if let Some(on_line) = &mut on_line {
                on_line(Line { text });
            }
            match piece {
                Piece::Stdout(text) => self.stdout.push_str(&text),
                Piece::Stderr(text) => {
                    if self.tail.len() == self.n_tail {
                        self.tail.pop_front();
                    }
                    self.tail.push_back(text.trim_end().to_owned());
                }
            }
        }
    }

    fn tail(&self) -> String {
        self.tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
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

/// Waits for a child whose pipes are closed already; it normally ends at once.
fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => {
                std::thread::park_timeout(Duration::from_millis(2));
            }
            Ok(None) | Err(_) => return None,
        }
    }
}

fn start_error(program: &str, shown: &str, source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::NotFound {
        return Error::Missing { program: program.to_owned() };
    }
    Error::Start { command: shown.to_owned(), source }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use xshell::{Shell, cmd};

    const SOON: Duration = Duration::from_secs(10);

    fn shell() -> Shell {
        Shell::new().unwrap()
    }

    #[test]
    fn stdout_is_the_result() {
        let sh = shell();
        let output = Call::new(cmd!(sh, "printf 'a\nb\n'"), SOON).run().unwrap();
        assert_eq!(output.stdout, "a\nb\n");
    }

    #[test]
    fn a_failure_tells_the_command_the_status_and_the_last_lines() {
        let sh = shell();
        let error = Call::new(cmd!(sh, "sh -c 'echo why >&2; exit 3'"), SOON).run().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.ends_with("| why"), "{text}");
    }

    #[test]
    fn stdout_explains_a_failure_that_says_nothing_on_stderr() {
        let sh = shell();
        let error = Call::new(cmd!(sh, "sh -c 'echo why; exit 1'"), SOON).run().unwrap_err();
        assert_eq!(error.stderr(), "why");
    }

    #[test]
    fn a_missing_program_is_told_apart() {
        let sh = shell();
        let error = Call::new(cmd!(sh, "no-such-program x"), SOON).run().unwrap_err();
        assert!(matches!(error, Error::Missing { program } if program == "no-such-program"));
    }

    #[test]
    fn the_limit_ends_the_process() {
        let sh = shell();
        let limit = Duration::from_millis(50);
        let error = Call::new(cmd!(sh, "sleep 60"), limit).run().unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    }

    #[test]
    fn input_reaches_the_process() {
        let sh = shell();
        let output = Call::new(cmd!(sh, "cat"), SOON).input("hello").run().unwrap();
        assert_eq!(output.stdout, "hello");
    }

    #[test]
    fn lines_are_told_while_they_come() {
        let sh = shell();
        let mut seen = Vec::new();
        let mut on_line = |line: Line<'_>| seen.push(line.text.to_owned());
        Call::new(cmd!(sh, "printf 'a\nb'"), SOON).lines(&mut on_line).run().unwrap();
        assert_eq!(seen, ["a", "b"]);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let sh = shell();
        let call = Call::new(cmd!(sh, "sh -c 'exit 1' x"), SOON).secret_arg("hunter2");
        assert!(!call.run().unwrap_err().to_string().contains("hunter2"));
    }
}
