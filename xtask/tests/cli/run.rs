//! Runs xtask and looks at how it ended.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;

/// A call that is still to be made.
pub(crate) struct Xtask(Command);

impl Xtask {
    /// Without an environment; `arguments` are separated by blanks.
    #[expect(
        clippy::disallowed_methods,
        reason = "stdout and stderr are told apart here, and a run is killed half-way"
    )]
    pub(crate) fn new(program: &Path, arguments: &str) -> Self {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command)
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Sets variables.
    pub(crate) fn envs(mut self, variables: &[(&str, &str)]) -> Self {
        self.0.envs(variables.iter().copied());
        self
    }

    /// Runs as another user; only root can do that.
    pub(crate) fn by_user(mut self, id: u32) -> Self {
        self.0.uid(id).gid(id);
        self
    }

    /// Runs to the end.
    pub(crate) fn run(self) -> Ended {
        self.start().end()
    }

    /// Starts, to look at it on the way.
    pub(crate) fn start(mut self) -> Running {
        let mut child = self.0.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut pipe = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        });
        Running { child, stdout, stderr: Some(stderr), seen: String::new() }
    }
}

/// A run that goes on; it is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    seen: String,
}

impl Running {
    /// Reads stdout up to a line with this text; fails when the run ends before it.
    pub(crate) fn read_until(&mut self, text: &str) {
        loop {
            let mut line = String::new();
            let n = self.stdout.read_line(&mut line).unwrap();
            assert_ne!(n, 0, "it ended before it said {text:?}; it said {}", self.seen);
            self.seen.push_str(&line);
            if line.contains(text) {
                return;
            }
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut stdout = std::mem::take(&mut self.seen);
        self.stdout.read_to_string(&mut stdout).unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        let status = self.child.wait().unwrap();
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap());
        Ended { code, stdout, stderr }
    }

    /// Ends it as a power failure would: it has no time for anything.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A run that has ended already is what we want.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code, or the negative number of the signal.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Asserts the exit code and what stderr says.
    #[track_caller]
    pub(crate) fn says(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self}");
        for word in words {
            assert!(self.stderr.contains(word), "stderr lacks {word:?}\n{self}");
        }
        self
    }

    /// Asserts success.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        self.says(0, &[])
    }

    /// Asserts that stdout is NDJSON, and gives its events.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}\n{self}"))
        };
        let events: Vec<Value> = self.stdout.lines().map(parse).collect();
        assert!(events.iter().all(|it| it["event"].is_string()), "{self}");
        assert_eq!(self.stderr, "", "under --json the story is on stdout too");
        events
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "code {}\nstdout:\n{}\nstderr:\n{}", self.code, self.stdout, self.stderr)
    }
}
