//! Runs xtask and looks at how it ended.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

/// With stubs nothing takes long, but the machine may be busy.
const LIMIT: Duration = Duration::from_secs(120);

/// A call that is still to be made.
pub(crate) struct Xtask(Command);

impl Xtask {
    /// Without an environment; `arguments` are separated by blanks.
    pub(crate) fn new(program: &Path, arguments: &str) -> Self {
        let mut command = process::program(program);
        command.args(arguments.split_whitespace()).env_clear();
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

    /// Runs as another user; only root can do that. It begins where everybody may be: the test's own
    /// folder may be in root's home.
    pub(crate) fn by_user(mut self, id: u32) -> Self {
        self.0.uid(id).gid(id).current_dir("/");
        self
    }

    /// The same call at a terminal, where somebody types this.
    pub(crate) fn at_a_terminal(self, typed: &str) -> Self {
        let words: Vec<_> =
            std::iter::once(self.0.get_program()).chain(self.0.get_args()).collect();
        let call = words.join(OsStr::new(" "));
        let script =
            "printf '%s\\n' \"$1\" | /usr/bin/script --quiet --return --command \"$2\" /dev/null";
        let mut command = process::program("/bin/sh");
        command.args(["-c", script, "sh", typed]).arg(call).env_clear();
        command.envs(self.0.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self(command)
    }

    /// Runs to the end.
    pub(crate) fn run(self) -> Ended {
        self.start().end()
    }

    /// Starts, to look at it on the way.
    pub(crate) fn start(self) -> Running {
        Running(process::Running::start(self.0).unwrap())
    }
}

/// A run that goes on; it is killed when it is dropped.
pub(crate) struct Running(process::Running);

impl Running {
    /// Reads up to a line with this text; fails when the run ends before it.
    pub(crate) fn read_until(&mut self, text: &str) {
        self.0.line(LIMIT, |it| it.contains(text)).unwrap();
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> Ended {
        let ended = self.0.finish(LIMIT).unwrap();
        Ended { code: ended.code(), stdout: ended.stdout, stderr: ended.stderr }
    }

    /// Ends it as a power failure would: it has no time for anything.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; 128 and the signal's number when a signal ended it.
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
