//! One call of one program.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::observer::{Sight, show};
use crate::{Error, Running};

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
        Self { command, shown, limit, input: None, on_line: None, n_tail: TAIL_LINES }
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
        let stderr =
            if stderr.is_empty() { last_lines(&output.stdout, TAIL_LINES) } else { stderr };
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
    #[expect(clippy::disallowed_methods, reason = "this is the crate that runs processes")]
    pub fn interact(mut self) -> Result<ExitStatus, Error> {
        show(Sight::Started(&self.shown));
        self.command.status().map_err(|source| Error::start(&self.command, &self.shown, source))
    }

    /// Starts a process that outlives this one: in a session of its own, so that Ctrl-C here does
    /// not reach it, with its output in `log`. Returns its process id.
    ///
    /// # Errors
    /// Not there, or not started.
    #[expect(clippy::disallowed_methods, reason = "this is the crate that runs processes")]
    pub fn detach(mut self, log: File) -> Result<u32, Error> {
        show(Sight::Started(&self.shown));
        let both =
            log.try_clone().map_err(|source| Error::start(&self.command, &self.shown, source))?;
        self.command.stdin(Stdio::null()).stdout(log).stderr(both).process_group(0);
        let child = self
            .command
            .spawn()
            .map_err(|source| Error::start(&self.command, &self.shown, source))?;
        Ok(child.id())
    }

    fn finish(self) -> Result<(ExitStatus, Output, String, String), Error> {
        let Self { command, shown, limit, input, mut on_line, n_tail, .. } = self;
        let deadline = Instant::now() + limit;
        let mut running = Running::start_as(command, shown.clone(), input)?;
        let status = running.end(deadline, &mut |text| {
            if let Some(on_line) = &mut on_line {
                on_line(Line { text });
            }
        });
        let stderr = last_lines(&running.stderr, n_tail);
        let Some(status) = status else {
            return Err(Error::TimedOut { command: shown, limit, stderr });
        };
        let took = running.took();
        let output = Output { stdout: std::mem::take(&mut running.stdout), took };
        Ok((status, output, stderr, shown))
    }
}

fn last_lines(text: &str, n_lines: usize) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines[lines.len().saturating_sub(n_lines)..].join("\n")
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
