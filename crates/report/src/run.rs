//! What is reported: the run, its test cases, and the evidence they left.

use std::time::{Duration, SystemTime};

use events::Event;

use crate::ndjson::Problem;
use crate::spans::{self, Ending};

/// How a test case ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It failed in every try, by assertion, signal or time limit.
    Failed,
    /// It passed, but only when it was tried again.
    Flaky,
    /// It did not run; what nobody gave an outcome proves nothing either.
    #[default]
    Skipped,
    /// It passed.
    Passed,
}

impl Outcome {
    /// The word for it, in lower case.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Failed => "failed",
            Outcome::Flaky => "flaky",
            Outcome::Skipped => "skipped",
            Outcome::Passed => "passed",
        }
    }
}

/// Something that helps to understand a result: events, pod states, logs, manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What it is, in a few words.
    pub title: String,
    /// The thing itself.
    pub body: Body,
}

/// Where evidence is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Here: shown inline, folded away until it is asked for.
    Text(String),
    /// In a file beside the report: a path relative to the page, shown as a link.
    File(String),
}

impl Evidence {
    /// Evidence that is shown inline.
    #[must_use]
    pub fn text(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { title: title.into(), body: Body::Text(text.into()) }
    }

    /// Evidence in a file whose path is relative to the page.
    #[must_use]
    pub fn file(title: impl Into<String>, path: impl Into<String>) -> Self {
        Self { title: title.into(), body: Body::File(path.into()) }
    }
}

/// One test case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// The binary or package that holds it.
    pub suite: String,
    /// Its path inside the suite.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, all tries together.
    pub took: Duration,
    /// When its first try began, in milliseconds since the run's start.
    pub started_at: Option<u64>,
    /// Why it failed, in the words of the test; empty when it passed.
    pub output: String,
    /// What it left behind.
    pub evidence: Vec<Evidence>,
}

/// One run: everything the reports are made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// What ran, for instance `e2e on kind`.
    pub title: String,
    /// When the run began; event times and `Case::started_at` count from here.
    pub started: Option<SystemTime>,
    /// The commit that was tested; empty when unknown.
    pub commit: String,
    /// What else a reader wants to know of the host and the versions, as name and value.
    pub facts: Vec<(String, String)>,
    /// The log of events.
    pub events: Vec<Event>,
    /// What could not be read of the log.
    pub problems: Vec<Problem>,
    /// The test cases.
    pub cases: Vec<Case>,
    /// Whether the cases provoke failures on purpose: then failed steps and commands are part of
    /// the story, and the cases alone decide, if there are any.
    pub provoked: bool,
    /// Evidence that belongs to the run rather than to a case.
    pub evidence: Vec<Evidence>,
}

/// How many cases ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed at the first try.
    pub passed: usize,
    /// Passed when tried again.
    pub flaky: usize,
    /// Failed.
    pub failed: usize,
    /// Did not run.
    pub skipped: usize,
}

/// What a run proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Something was tried, and all of it went well.
    Passed,
    /// A case or a step failed, the command failed, or the log breaks off.
    Failed,
    /// Nothing was tried, which proves nothing.
    Empty,
}

impl Run {
    /// How many cases ended in which way.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for case in &self.cases {
            match case.outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::Flaky => counts.flaky += 1,
                Outcome::Failed => counts.failed += 1,
                Outcome::Skipped => counts.skipped += 1,
            }
        }
        counts
    }

    /// What the run proves. A run whose log is torn did not get to its end, so it failed.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let steps = spans::steps(&self.events);
        let counts = self.counts();
        if counts.failed > 0 || (self.log_decides() && self.log_fails(&steps)) {
            Verdict::Failed
        } else if counts.passed + counts.flaky > 0 || !steps.is_empty() {
            Verdict::Passed
        } else {
            Verdict::Empty
        }
    }

    /// Whether a failure in the log is a failure of the run.
    pub(crate) fn log_decides(&self) -> bool {
        !self.provoked || self.cases.is_empty()
    }

    fn log_fails(&self, steps: &[spans::Step]) -> bool {
        steps.iter().any(|it| it.ending.is_bad())
            || self.events.iter().any(|it| matches!(it, Event::Error { .. }))
            || !self.problems.is_empty()
    }

    /// How long the run took: until the last thing that is known to have happened.
    #[must_use]
    pub fn took(&self) -> Duration {
        let events = self.events.iter().map(spans::at_ms);
        let steps = spans::steps(&self.events);
        let steps = steps.iter().filter(|it| it.ending != Ending::Open).map(|it| it.end_ms);
        let cases = self.cases.iter().map(|it| {
            it.started_at.unwrap_or_default().saturating_add(spans::milliseconds(it.took))
        });
        Duration::from_millis(events.chain(steps).chain(cases).max().unwrap_or_default())
    }
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn total(self) -> usize {
        self.passed + self.flaky + self.failed + self.skipped
    }

    /// The counts as a person says them; zeros are left out, but for the passed ones.
    #[must_use]
    pub fn sentence(self) -> String {
        let all = [
            (self.failed, "failed"),
            (self.passed, "passed"),
            (self.flaky, "flaky"),
            (self.skipped, "skipped"),
        ];
        let said = all.iter().filter(|(count, word)| *count > 0 || *word == "passed");
        said.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(outcome: Outcome) -> Case {
        Case { outcome, ..Case::default() }
    }

    fn cases(outcomes: &[Outcome]) -> Run {
        Run { cases: outcomes.iter().copied().map(case).collect(), ..Run::default() }
    }

    #[test]
    fn nothing_tried_is_not_a_pass() {
        assert_eq!(Run::default().verdict(), Verdict::Empty);
        assert_eq!(cases(&[Outcome::Skipped]).verdict(), Verdict::Empty);
        assert_eq!(cases(&[Outcome::Skipped, Outcome::Flaky]).verdict(), Verdict::Passed);
    }

    #[test]
    fn one_failure_fails_the_run() {
        let run = cases(&[Outcome::Passed, Outcome::Failed, Outcome::Passed]);
        assert_eq!(run.verdict(), Verdict::Failed);
        assert_eq!(run.counts().sentence(), "1 failed, 2 passed");
        assert_eq!(run.counts().total(), 3);
    }

    #[test]
    fn a_step_without_an_end_fails_the_run() {
        let started = Event::StepStarted {
            at_ms: 5,
            step: "deploy".into(),
            title: "deploy".into(),
            estimate_ms: None,
        };
        let mut run = cases(&[Outcome::Passed]);
        run.events.push(started);
        assert_eq!(run.verdict(), Verdict::Failed);
        run.provoked = true;
        assert_eq!(run.verdict(), Verdict::Passed);
        run.cases.clear();
        assert_eq!(run.verdict(), Verdict::Failed);
    }

    #[test]
    fn the_run_lasts_until_its_last_case_ends() {
        let mut run = cases(&[Outcome::Passed]);
        run.events.push(Event::Note { at_ms: 900, message: String::new() });
        run.cases[0].started_at = Some(800);
        run.cases[0].took = Duration::from_millis(350);
        assert_eq!(run.took(), Duration::from_millis(1150));
    }
}
