//! The log itself: takes events in from any thread and shows them.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::estimates::Estimates;
use crate::event::{Event, Outcome};
use crate::terminal;

/// Where nobody sees a bar, a long step says every so often that it goes on.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// A bar moves this often, though its step says nothing.
const TICK: Duration = Duration::from_secs(1);

/// How the log is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Lines on stderr, with a live bar when stderr is a terminal.
    Human,
    /// One JSON object per line on stdout, nothing on stderr.
    Json,
    /// Nothing but notes and errors, on stderr.
    Quiet,
}

/// A handle on the log; clones write to the same one.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Mutex<Shared>>,
    style: Style,
    started: Instant,
    /// The ticking ends with the last of the clones.
    _ticking: Option<Sender<()>>,
}

struct Shared {
    estimates: Estimates,
    copy: Option<std::fs::File>,
    bar: bool,
    live: bool,
    printed: Instant,
    running: Vec<Running>,
}

/// What is shown of a step that runs.
struct Running {
    number: u64,
    title: String,
    message: String,
    estimate: Option<Duration>,
    started: Instant,
}

impl Log {
    /// A log for one command. `copy` receives every event as NDJSON besides.
    #[must_use]
    pub fn new(style: Style, estimates: Estimates, copy: Option<std::fs::File>) -> Self {
        let live = style == Style::Human && std::io::stderr().is_terminal();
        let (printed, running) = (Instant::now(), Vec::new());
        let shared = Shared { estimates, copy, bar: false, live, printed, running };
        let shared = Arc::new(Mutex::new(shared));
        let ticking = (style == Style::Human).then(|| tick(Arc::downgrade(&shared)));
        Self { shared, style, started: Instant::now(), _ticking: ticking }
    }

    /// Begins a step. `step` is its stable name, `title` what a person reads.
    #[must_use]
    pub fn step(&self, step: &str, title: impl Into<String>) -> Step {
        let title = title.into();
        let estimate = self.lock().estimates.of(step);
        self.write(
            &Event::StepStarted {
                at_ms: self.at_ms(),
                step: step.to_owned(),
                title: title.clone(),
                estimate_ms: estimate.map(milliseconds),
            },
            &title,
        );
        let started = Instant::now();
        let mut shared = self.lock();
        let number = shared.running.iter().map(|it| it.number + 1).max().unwrap_or(0);
        let message = String::new();
        shared.running.push(Running { number, title: title.clone(), message, estimate, started });
        drop(shared);
        Step { log: self.clone(), step: step.to_owned(), title, number, started, ended: false }
    }

    /// What the step took last time on this machine.
    #[must_use]
    pub fn estimate(&self, step: &str) -> Option<Duration> {
        self.lock().estimates.of(step)
    }

    /// Tells something that belongs to no step.
    pub fn note(&self, message: impl Into<String>) {
        self.write(&Event::Note { at_ms: self.at_ms(), message: message.into() }, "");
    }

    /// Tells how an observed object is.
    pub fn object(&self, object: &str, state: &str, message: &str) {
        let (object, state, message) = (object.to_owned(), state.to_owned(), message.to_owned());
        self.write(&Event::Object { at_ms: self.at_ms(), object, state, message }, "");
    }

    /// Tells why the command fails.
    pub fn error(&self, message: &str, code: u8) {
        self.write(&Event::Error { at_ms: self.at_ms(), message: message.to_owned(), code }, "");
    }

    /// Gives the command's result to machines; people get it from the command itself.
    pub fn result(&self, result: serde_json::Value) {
        self.write(&Event::Result { at_ms: self.at_ms(), result }, "");
    }

    /// Whether the log writes JSON to stdout, so that nothing else may.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.style == Style::Json
    }

    fn at_ms(&self) -> u64 {
        milliseconds(self.started.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// A reader who went away (a closed pipe) does not stop the work, so write errors are dropped.
    fn write(&self, event: &Event, title: &str) {
        let json = serde_json::to_string(event).unwrap_or_default();
        let mut shared = self.lock();
        if let Some(copy) = &mut shared.copy {
            drop(writeln!(copy, "{json}"));
        }
        match self.style {
            Style::Json => drop(writeln!(std::io::stdout(), "{json}")),
            Style::Quiet if !matches!(event, Event::Note { .. } | Event::Error { .. }) => {}
            Style::Human | Style::Quiet => {
                if let Some(line) = terminal::line(event, title) {
                    shared.print(&line);
                }
            }
        }
    }
}

impl Shared {
    fn print(&mut self, line: &str) {
        self.printed = Instant::now();
        let clear = if std::mem::take(&mut self.bar) { "\r\x1b[K" } else { "" };
        drop(writeln!(std::io::stderr(), "{clear}{line}"));
    }

    /// Shows the step that spoke last: as a bar, or where nobody sees one as a line now and then.
    fn show(&mut self) {
        if !self.live && self.printed.elapsed() < HEARTBEAT {
            return;
        }
        let Some(bar) = self.running.last().map(Running::bar) else { return };
        if !self.live {
            return self.print(&bar);
        }
        self.bar = true;
        let mut stderr = std::io::stderr();
        drop(write!(stderr, "\r\x1b[K{bar}"));
        drop(stderr.flush());
    }
}

impl Running {
    fn bar(&self) -> String {
        let spent = self.started.elapsed();
        terminal::bar(&self.title, &self.message, spent, self.estimate, columns())
    }
}

/// Shows what runs again and again, until the sender is gone or there is no log any more.
fn tick(shared: Weak<Mutex<Shared>>) -> Sender<()> {
    let (ticking, ended) = mpsc::channel();
    std::thread::spawn(move || {
        while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let Some(shared) = shared.upgrade() else { return };
            lock(&shared).show();
        }
    });
    ticking
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A step that runs. Dropping it without an end counts as a failure.
pub struct Step {
    log: Log,
    step: String,
    title: String,
    number: u64,
    started: Instant,
    ended: bool,
}

impl Step {
    /// Says what the step is at: moves the bar, and stands in the NDJSON.
    pub fn progress(&self, message: &str) {
        let event = Event::StepProgress {
            at_ms: self.log.at_ms(),
            step: self.step.clone(),
            message: message.to_owned(),
        };
        self.log.write(&event, &self.title);
        let mut shared = self.log.lock();
        if let Some(at) = shared.running.iter().position(|it| it.number == self.number) {
            let mut running = shared.running.remove(at);
            message.clone_into(&mut running.message);
            shared.running.push(running);
        }
        if self.log.style == Style::Human {
            shared.show();
        }
    }

    /// Ends the step well and remembers what it took.
    pub fn done(self, message: impl Into<String>) {
        let took = self.started.elapsed();
        self.log.lock().estimates.record(&self.step, took);
        self.end(Outcome::Done, message.into());
    }

    /// Ends the step: the result of an earlier run is still good.
    pub fn unchanged(self, message: impl Into<String>) {
        self.end(Outcome::Unchanged, message.into());
    }

    fn end(mut self, outcome: Outcome, message: String) {
        self.close(outcome, message);
    }

    fn close(&mut self, outcome: Outcome, message: String) {
        self.ended = true;
        self.log.lock().running.retain(|it| it.number != self.number);
        let event = Event::StepEnded {
            at_ms: self.log.at_ms(),
            step: self.step.clone(),
            outcome,
            took_ms: milliseconds(self.started.elapsed()),
            message,
        };
        self.log.write(&event, &self.title);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            self.close(Outcome::Failed, String::new());
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The width of the terminal; a bar that is too long would leave rubbish.
fn columns() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|it| it.parse().ok());
    let asked = || rustix::termios::tcgetwinsize(std::io::stderr()).ok();
    let width = told.or_else(|| asked().map(|it| usize::from(it.ws_col)));
    width.filter(|it| *it > 0).unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn the_step_that_spoke_last_is_shown_for_as_long_as_it_runs() {
        let log = Log::new(Style::Quiet, Estimates::load("/nonexistent".into(), &[]), None);
        let shown = || log.lock().running.last().map(Running::bar).unwrap_or_default();
        let (one, two) = (log.step("one", "build one"), log.step("two", "build two"));
        assert!(shown().contains("build two"), "{}", shown());
        one.progress("half");
        assert!(shown().contains("build one") && shown().ends_with("half"), "{}", shown());
        one.done("");
        assert!(shown().contains("build two"), "{}", shown());
        drop(two);
        assert_eq!(shown(), "");
    }

    #[test]
    fn every_event_reaches_the_copy_as_ndjson() {
        let path = std::env::temp_dir().join(format!("events-{}.ndjson", std::process::id()));
        let file = std::fs::File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let mut reader = file.try_clone().unwrap();
        let log =
            Log::new(Style::Quiet, Estimates::load(path.with_extension("none"), &[]), Some(file));
        let step = log.step("build", "build it");
        step.progress("half");
        step.done("well");
        drop(log.step("break", "break it"));
        let mut text = String::new();
        reader.rewind().unwrap();
        reader.read_to_string(&mut text).unwrap();
        std::fs::remove_file(&path).unwrap();
        let events: Vec<Event> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), 5);
        assert!(
            matches!(&events[2], Event::StepEnded { outcome: Outcome::Done, message, .. } if message == "well")
        );
        assert!(matches!(&events[4], Event::StepEnded { outcome: Outcome::Failed, .. }));
    }
}
