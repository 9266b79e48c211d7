//! Writing a run as JUnit XML.

use std::time::Duration;

use events::Event;
use jiff::{Timestamp, Unit};

use crate::markup::Markup;
use crate::run::{Body, Case, Evidence, Outcome, Run};
use crate::spans::{self, Ending};
use crate::text::{clean, first_line};

/// The suites that the log of events becomes, beside those of the tests.
const STEPS: &str = "steps";
const COMMAND: &str = "command";

/// The run as JUnit XML. Steps are cases of a suite of their own, and so are an error of the
/// command and a torn log: a deployment that failed before the first test must not look green.
#[must_use]
pub fn write(run: &Run) -> String {
    let told: Vec<Case> = match run.log_decides() {
        true => steps(run).into_iter().chain(command(run)).collect(),
        false => Vec::new(),
    };
    let mut suites: Vec<(String, Vec<&Case>)> = Vec::new();
    for case in told.iter().chain(&run.cases) {
        let name = clean(&case.suite);
        match suites.iter_mut().find(|it| it.0 == name) {
            Some((_, cases)) => cases.push(case),
            None => suites.push((name, vec![case])),
        }
    }
    let all: Vec<&Case> = suites.iter().flat_map(|it| it.1.iter().copied()).collect();
    let mut xml = Markup::new("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let started = timestamp(run, 0);
    let (tests, failures, skipped) = numbers(&all);
    let time = seconds(run.took());
    let mut attributes = vec![
        ("name", run.title.as_str()),
        ("tests", &tests),
        ("failures", &failures),
        ("errors", "0"),
        ("skipped", &skipped),
        ("time", &time),
    ];
    attributes.extend(started.as_deref().map(|it| ("timestamp", it)));
    xml.within("testsuites", &attributes, |xml| {
        xml.line();
        for (name, cases) in &suites {
            suite(xml, run, name, cases);
        }
    });
    xml.line();
    xml.finish()
}

fn suite(xml: &mut Markup, run: &Run, name: &str, cases: &[&Case]) {
    let (tests, failures, skipped) = numbers(cases);
    let time =
        seconds(cases.iter().map(|it| it.took).fold(Duration::ZERO, Duration::saturating_add));
    let attributes = [
        ("name", name),
        ("tests", &tests),
        ("failures", &failures),
        ("errors", "0"),
        ("skipped", &skipped),
        ("time", &time),
    ];
    xml.within("testsuite", &attributes, |xml| {
        xml.line();
        for it in cases {
            case(xml, run, it);
            xml.line();
        }
    });
    xml.line();
}

fn case(xml: &mut Markup, run: &Run, case: &Case) {
    let started = case.started_at.and_then(|it| timestamp(run, it));
    let time = seconds(case.took);
    let mut attributes =
        vec![("name", case.name.as_str()), ("classname", case.suite.as_str()), ("time", &time)];
    attributes.extend(started.as_deref().map(|it| ("timestamp", it)));
    let cleaned = clean(&case.output);
    let (message, output) = (first_line(&cleaned), cleaned.trim());
    let message = [("message", message)];
    xml.within("testcase", &attributes, |xml| {
        match case.outcome {
            Outcome::Failed => xml.element("failure", &message, output),
            Outcome::Flaky => xml.element("flakyFailure", &message, output),
            Outcome::Skipped => xml.element("skipped", &message, output),
            Outcome::Passed => {}
        }
        if !case.evidence.is_empty() {
            let evidence: Vec<String> = case.evidence.iter().map(shown).collect();
            xml.element("system-out", &[], &evidence.join("\n"));
        }
    });
}

fn shown(evidence: &Evidence) -> String {
    match &evidence.body {
        Body::Text(text) => format!("--- {}\n{}", evidence.title, text),
        Body::File(path) => format!("--- {}: {path}", evidence.title),
    }
}

fn steps(run: &Run) -> Vec<Case> {
    let case = |it: spans::Step| {
        let took = it.took();
        let (outcome, reason) = match it.ending {
            Ending::Ended(events::Outcome::Failed) => (Outcome::Failed, "the step failed"),
            Ending::Open => (Outcome::Failed, "the step did not end"),
            Ending::Ended(_) => (Outcome::Passed, ""),
        };
        let output = if it.message.is_empty() { reason.to_owned() } else { it.message };
        let output = if outcome == Outcome::Failed { output } else { String::new() };
        Case {
            suite: STEPS.to_owned(),
            name: it.title,
            outcome,
            took,
            started_at: Some(it.start_ms),
            output,
            evidence: Vec::new(),
        }
    };
    spans::steps(&run.events).into_iter().map(case).collect()
}

/// One case for how the command as a whole ended, if it did not end well.
fn command(run: &Run) -> Option<Case> {
    let errors = run.events.iter().filter_map(|it| match it {
        Event::Error { message, code, .. } => Some(format!("{message} (exit code {code})")),
        _ => None,
    });
    let output: Vec<String> = errors.chain(run.problems.iter().map(ToString::to_string)).collect();
    if output.is_empty() {
        return None;
    }
    Some(Case {
        suite: COMMAND.to_owned(),
        name: "ends well".to_owned(),
        outcome: Outcome::Failed,
        took: run.took(),
        started_at: Some(0),
        output: output.join("\n"),
        evidence: run.evidence.clone(),
    })
}

fn numbers(cases: &[&Case]) -> (String, String, String) {
    let count = |wanted| cases.iter().filter(|it| it.outcome == wanted).count().to_string();
    (cases.len().to_string(), count(Outcome::Failed), count(Outcome::Skipped))
}

fn seconds(duration: Duration) -> String {
    format!("{}.{:03}", duration.as_secs(), duration.subsec_millis())
}

fn timestamp(run: &Run, after_ms: u64) -> Option<String> {
    let at = run.started?.checked_add(Duration::from_millis(after_ms))?;
    let at = Timestamp::try_from(at).ok()?.round(Unit::Millisecond).ok()?;
    Some(format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn failed_deploy() -> Run {
        let step = |at_ms, outcome, message: &str| Event::StepEnded {
            at_ms,
            step: "deploy".into(),
            outcome,
            took_ms: 1500,
            message: message.into(),
        };
        Run {
            title: "e2e <kind>".into(),
            started: Some(std::time::UNIX_EPOCH + Duration::from_millis(1_795_000_000_250)),
            events: vec![
                step(1500, events::Outcome::Unchanged, "same"),
                step(4000, events::Outcome::Failed, "\u{1b}[31mno & never\u{1b}[0m"),
                Event::Error { at_ms: 4000, message: "deploy kind".into(), code: 31 },
            ],
            ..Run::default()
        }
    }

    #[test]
    fn a_failed_deployment_fails_without_any_test() {
        expect![[r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <testsuites name="e2e &lt;kind&gt;" tests="3" failures="2" errors="0" skipped="0" time="4.000" timestamp="2026-11-18T11:06:40.250Z">
            <testsuite name="steps" tests="2" failures="1" errors="0" skipped="0" time="3.000">
            <testcase name="deploy" classname="steps" time="1.500" timestamp="2026-11-18T11:06:40.250Z"></testcase>
            <testcase name="deploy" classname="steps" time="1.500" timestamp="2026-11-18T11:06:42.750Z"><failure message="no &amp; never">no &amp; never</failure></testcase>
            </testsuite>
            <testsuite name="command" tests="1" failures="1" errors="0" skipped="0" time="4.000">
            <testcase name="ends well" classname="command" time="4.000" timestamp="2026-11-18T11:06:40.250Z"><failure message="deploy kind (exit code 31)">deploy kind (exit code 31)</failure></testcase>
            </testsuite>
            </testsuites>
        "#]].assert_eq(&write(&failed_deploy()));
    }

    #[test]
    fn evidence_goes_where_ci_shows_it() {
        let evidence = vec![Evidence::text("pod log", "a\nb"), Evidence::file("all", "x.txt")];
        let case = Case { suite: "s".into(), name: "n".into(), evidence, ..Case::default() };
        let xml = write(&Run { cases: vec![case], ..Run::default() });
        assert!(xml.contains("<system-out>--- pod log\na\nb\n--- all: x.txt</system-out>"));
    }

    #[test]
    fn the_sums_of_the_suites_are_those_of_the_cases() {
        let xml = write(&failed_deploy());
        let document = roxmltree::Document::parse(&xml).unwrap();
        let root = document.root_element();
        let sum = |name| -> u32 {
            let suites = root.children().filter(|it| it.has_tag_name("testsuite"));
            suites.map(|it| it.attribute(name).unwrap().parse::<u32>().unwrap()).sum()
        };
        assert_eq!(sum("tests").to_string(), root.attribute("tests").unwrap());
        assert_eq!(sum("failures").to_string(), root.attribute("failures").unwrap());
        assert_eq!(sum("tests"), 3);
    }
}
