//! Waits for the workloads of a wave by health's watches, and tells how they come along.

use std::time::{Duration, Instant};

use events::Log;
use health::watch::{Change, Outcome};
use health::{Key, Kind, Target, Verdict, Watcher};

use crate::exit;

/// The open watches of a rollout.
pub(crate) struct RolloutWaiter<'a> {
    /// The watches, opened before the first write.
    pub(crate) watcher: Watcher,
    /// Where changes are told.
    pub(crate) log: &'a Log,
    /// The longest that one wave may take.
    pub(crate) limit: Duration,
}

impl rollout::Waiter for RolloutWaiter<'_> {
    async fn wait(
        &mut self,
        _wave: u32,
        targets: &[rollout::Target],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let targets: Vec<Target> = targets.iter().filter_map(target).collect();
        let deadline = Instant::now() + self.limit;
        let log = self.log;
        let outcome = self.watcher.wait(&targets, deadline, |change| tell(log, change)).await?;
        if outcome.is_healthy() {
            return Ok(());
        }
        Err(Box::new(failure(&outcome)))
    }
}

/// What rollout wrote, as what health waits for.
fn target(written: &rollout::Target) -> Option<Target> {
    let kind = Kind::parse(&written.id.kind)?;
    Some(Target {
        generation: Some(written.generation),
        uid: Some(written.uid.clone()),
        ..Target::new(kind, written.id.name.clone())
    })
}

fn tell(log: &Log, change: &Change) {
    match change {
        Change::Verdict { target, verdict } => {
            log.object(&target.to_string(), verdict.word(), &describe(target, verdict));
        }
        Change::Disconnected { error } => {
            log.note(format!("the API server does not answer ({error}); trying again"));
        }
        Change::Reconnected => log.note("the API server answers again"),
    }
}

/// A verdict in a line: why, and for how long that may last. The cause's object is named only where
/// it is another than the target itself.
pub(crate) fn describe(target: &Key, verdict: &Verdict) -> String {
    let Some(cause) = verdict.cause() else { return String::new() };
    let cause = cause.to_string();
    let cause = cause.strip_prefix(&format!("{target}: ")).unwrap_or(&cause);
    let budget = match verdict {
        Verdict::Waiting { budget: Some(budget), used, .. } => {
            format!(" ({} of {} s)", used.as_secs(), budget.as_secs())
        }
        _ => String::new(),
    };
    format!("{cause}{budget}")
}

/// The exit code tells "never" from "not in time": a script may try the second again.
fn failure(outcome: &Outcome) -> exit::Coded {
    let lines: Vec<String> = outcome.failures().map(|(key, verdict)| line(key, verdict)).collect();
    let is_late = outcome.failures().all(|(_, it)| matches!(it, Verdict::Late(_)));
    let code = if is_late { exit::LATE } else { exit::DOOMED };
    exit::Coded::new(code, lines.join("\n"))
}

fn line(key: &Key, verdict: &Verdict) -> String {
    let Some(cause) = verdict.cause() else { return key.to_string() };
    let mut text = format!("{key} is {}: {}", verdict.word(), describe(key, verdict));
    for line in &cause.log {
        text.push_str(&format!("\n  | {line}"));
    }
    if !cause.hint.is_empty() {
        text.push_str(&format!("\nhint: {}", cause.hint));
    }
    text
}
