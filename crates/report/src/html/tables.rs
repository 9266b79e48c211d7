//! The tables: steps, cases, and the whole log.

use std::time::Duration;

use events::{Event, Outcome as StepOutcome};

use super::{badge, evidence, failures, section};
use crate::markup::Markup;
use crate::run::{Case, Outcome, Run};
use crate::spans::{self, Ending, Step, milliseconds};
use crate::text::duration;

pub(super) fn steps(page: &mut Markup, steps: &[Step]) {
    if steps.is_empty() {
        return;
    }
    section(page, "steps", "Steps", |page| {
        table(page, &["Outcome", "Step", "Started", "Took", "Last time", "Result"], |page| {
            for step in steps {
                page.within("tr", &[], |page| step_row(page, step));
                page.line();
            }
        });
    });
}

fn step_row(page: &mut Markup, step: &Step) {
    let (word, mark) = match step.ending {
        Ending::Ended(StepOutcome::Done) => ("passed", "✓"),
        Ending::Ended(StepOutcome::Unchanged) => ("skipped", "="),
        Ending::Ended(StepOutcome::Failed) | Ending::Open => ("failed", "✗"),
    };
    page.within("td", &[], |page| {
        let text = format!("{mark} {}", step.ending.word());
        page.element("span", &[("class", &format!("badge {word}"))], &text);
    });
    page.element("th", &[("scope", "row")], &step.title);
    time(page, Some(step.start_ms));
    time(page, Some(milliseconds(step.took())));
    time(page, step.estimate_ms);
    page.element("td", &[("class", "message")], &step.message);
}

/// The failed cases stand first, then the flaky ones, then the rest as they came.
pub(super) fn cases(page: &mut Markup, run: &Run) {
    if run.cases.is_empty() {
        return;
    }
    let mut cases: Vec<(usize, &Case)> = run.cases.iter().enumerate().collect();
    cases.sort_by_key(|it| it.1.outcome);
    section(page, "cases", &format!("All {} tests", cases.len()), |page| {
        table(page, &["Outcome", "Suite", "Test", "Started", "Took"], |page| {
            for (index, case) in cases {
                page.within("tr", &[], |page| case_row(page, index, case));
                page.line();
            }
        });
    });
}

fn case_row(page: &mut Markup, index: usize, case: &Case) {
    let order = (case.outcome as u8).to_string();
    page.within("td", &[("data-key", &order)], |page| badge(page, case.outcome));
    page.element("td", &[("class", "suite")], &case.suite);
    page.within("th", &[("scope", "row")], |page| {
        if case.outcome == Outcome::Failed {
            page.element("a", &[("href", &format!("#{}", failures::anchor(index)))], &case.name);
        } else {
            page.element("span", &[], &case.name);
            if !case.output.trim().is_empty() {
                evidence::folded(page, "what it said", &case.output);
            }
            evidence::list(page, &case.evidence);
        }
    });
    time(page, case.started_at);
    time(page, Some(milliseconds(case.took)));
}

/// Everything that was logged, for whoever the rest of the page left with a question.
pub(super) fn log(page: &mut Markup, run: &Run) {
    if run.events.is_empty() {
        return;
    }
    section(page, "log", "Log of events", |page| {
        page.within("details", &[], |page| {
            page.element("summary", &[], &format!("{} events", run.events.len()));
            table(page, &["At", "Kind", "Subject", "What"], |page| {
                for event in &run.events {
                    page.within("tr", &[], |page| log_row(page, event));
                    page.line();
                }
            });
        });
    });
}

fn log_row(page: &mut Markup, event: &Event) {
    let (kind, subject, what) = match event {
        Event::StepStarted { step, title, .. } => ("started", step.as_str(), title.clone()),
        Event::StepProgress { step, message, .. } => ("progress", step.as_str(), message.clone()),
        Event::StepEnded { step, message, outcome, .. } => {
            (Ending::Ended(*outcome).word(), step.as_str(), message.clone())
        }
        Event::Note { message, .. } => ("note", "", message.clone()),
        Event::Object { object, state, message, .. } if message.is_empty() => {
            ("object", object.as_str(), state.clone())
        }
        Event::Object { object, state, message, .. } => {
            ("object", object.as_str(), format!("{state}: {message}"))
        }
        Event::Error { message, code, .. } => {
            ("error", "", format!("{message} (exit code {code})"))
        }
        Event::Result { result, .. } => {
            ("result", "", serde_json::to_string_pretty(result).unwrap_or_default())
        }
    };
    time(page, Some(spans::at_ms(event)));
    page.element("td", &[], kind);
    page.element("td", &[], subject);
    page.element("td", &[("class", "message")], &what);
}

/// A table that the script makes sortable. It scrolls by itself where the window is narrow.
fn table(page: &mut Markup, heads: &[&'static str], rows: impl FnOnce(&mut Markup)) {
    page.within("div", &[("class", "scroll")], |page| {
        page.within("table", &[("class", "sortable")], |page| {
            page.within("thead", &[], |page| {
                page.within("tr", &[], |page| {
                    for head in heads {
                        let number = matches!(*head, "Started" | "Took" | "Last time" | "At");
                        let class = if number { "number" } else { "words" };
                        page.element("th", &[("scope", "col"), ("class", class)], head);
                    }
                });
            });
            page.line();
            page.within("tbody", &[], rows);
        });
    });
}

/// A cell with a duration; it sorts by the milliseconds, and one that is unknown before all.
fn time(page: &mut Markup, ms: Option<u64>) {
    let key = ms.map_or_else(|| "-1".to_owned(), |it| it.to_string());
    let text = ms.map(|it| duration(Duration::from_millis(it))).unwrap_or_default();
    page.element("td", &[("class", "number"), ("data-key", &key)], &text);
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_cases_that_need_a_look_stand_first() {
        let case = |name: &str, outcome| Case { name: name.into(), outcome, ..Case::default() };
        let mut page = Markup::default();
        let cases_in = vec![
            case("good", Outcome::Passed),
            case("bad", Outcome::Failed),
            case("shaky", Outcome::Flaky),
        ];
        cases(&mut page, &Run { cases: cases_in, ..Run::default() });
        let page = page.finish();
        let rows: Vec<_> = page.lines().filter(|it| it.contains("<td")).collect();
        expect![[r##"
            <tbody><tr><td data-key="0"><span class="badge failed">✗ failed</span></td><td class="suite"></td><th scope="row"><a href="#failure-2">bad</a></th><td class="number" data-key="-1"></td><td class="number" data-key="0">0 ms</td></tr>
            <tr><td data-key="1"><span class="badge flaky">↻ flaky</span></td><td class="suite"></td><th scope="row"><span>shaky</span></th><td class="number" data-key="-1"></td><td class="number" data-key="0">0 ms</td></tr>
            <tr><td data-key="3"><span class="badge passed">✓ passed</span></td><td class="suite"></td><th scope="row"><span>good</span></th><td class="number" data-key="-1"></td><td class="number" data-key="0">0 ms</td></tr>"##]].assert_eq(&rows.join("\n"));
    }
}
