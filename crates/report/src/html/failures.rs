//! Everything that went wrong, in one place, with what explains it.

use events::Event;

use super::{badge, evidence, section};
use crate::markup::Markup;
use crate::run::{Case, Outcome, Run};
use crate::spans::{self, Ending};
use crate::text::duration;

pub(super) fn write(page: &mut Markup, run: &Run) {
    let steps: Vec<_> =
        spans::steps(&run.events).into_iter().filter(|it| it.ending.is_bad()).collect();
    let cases: Vec<_> = failed(&run.cases).collect();
    let errors = run.events.iter().any(|it| matches!(it, Event::Error { .. }));
    if steps.is_empty() && cases.is_empty() && !errors && run.problems.is_empty() {
        return;
    }
    section(page, "failures", "What went wrong", |page| {
        for event in &run.events {
            if let Event::Error { at_ms, message, code } = event {
                let head = format!("The command failed with exit code {code}");
                article(page, None, &head, &at(*at_ms), |page| evidence::output(page, message));
            }
        }
        for problem in &run.problems {
            let head =
                if problem.torn { "The log is torn" } else { "A line of the log is unreadable" };
            article(page, None, head, "", |page| evidence::output(page, &problem.to_string()));
        }
        for step in &steps {
            step_failed(page, step);
        }
        for (index, case) in cases {
            case_failed(page, index, case);
        }
    });
}

/// The failed cases with their places among all cases, which name their anchors.
fn failed(cases: &[Case]) -> impl Iterator<Item = (usize, &Case)> {
    cases.iter().enumerate().filter(|it| it.1.outcome == Outcome::Failed)
}

/// The anchor of a failed case.
pub(super) fn anchor(index: usize) -> String {
    format!("failure-{}", index + 1)
}

fn step_failed(page: &mut Markup, step: &spans::Step) {
    let verb = if step.ending == Ending::Open { "did not end" } else { "failed" };
    let when = format!("{} after {}", at(step.start_ms), duration(step.took()));
    article(page, None, &format!("Step {verb}: {}", step.title), &when, |page| {
        evidence::output(page, &step.message);
    });
}

fn case_failed(page: &mut Markup, index: usize, case: &Case) {
    let anchor = anchor(index);
    let took = format!("{} · {}", case.suite, duration(case.took));
    article(page, Some(&anchor), &case.name, &took, |page| {
        if case.output.trim().is_empty() {
            page.element("p", &[("class", "soft")], "The test left no message.");
        }
        evidence::output(page, &case.output);
        evidence::list(page, &case.evidence);
    });
}

fn article(
    page: &mut Markup,
    id: Option<&str>,
    head: &str,
    detail: &str,
    fill: impl FnOnce(&mut Markup),
) {
    let mut attributes = vec![("class", "failure")];
    attributes.extend(id.map(|it| ("id", it)));
    page.line();
    page.within("article", &attributes, |page| {
        page.within("h3", &[], |page| {
            badge(page, Outcome::Failed);
            page.text(" ");
            page.text(head);
        });
        if !detail.is_empty() {
            page.element("p", &[("class", "soft")], detail);
        }
        fill(page);
    });
}

fn at(at_ms: u64) -> String {
    format!("at {}", duration(std::time::Duration::from_millis(at_ms)))
}
