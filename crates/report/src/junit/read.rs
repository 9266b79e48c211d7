//! Reading the JUnit XML of cargo-nextest into cases.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use roxmltree::{Document, Node};

use crate::run::{Case, Evidence, Outcome};
use crate::spans::milliseconds;
use crate::text::{clean, first_line};

/// Why a text is not a JUnit report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no XML.
    #[error("read the XML of the test results")]
    Xml(#[from] roxmltree::Error),
    /// It is XML of another kind.
    #[error("the XML begins with `{0}`, and test results begin with `testsuites`")]
    Foreign(String),
}

/// The cases of a report; `Case::started_at` counts from the report's own beginning.
///
/// # Errors
/// When the text is not XML, or XML of another kind.
pub fn parse(xml: &str) -> Result<Vec<Case>, Error> {
    parse_since(xml, None)
}

/// The cases of a report; `Case::started_at` counts from `since`, such as the beginning of the
/// command that ran the tests, so that tests and steps share one time line.
///
/// # Errors
/// When the text is not XML, or XML of another kind.
pub fn parse_since(xml: &str, since: Option<SystemTime>) -> Result<Vec<Case>, Error> {
    let document = Document::parse(xml)?;
    let root = document.root_element();
    if !matches!(root.tag_name().name(), "testsuites" | "testsuite") {
        return Err(Error::Foreign(root.tag_name().name().to_owned()));
    }
    let nodes: Vec<_> = root.descendants().filter(|it| it.has_tag_name("testcase")).collect();
    let since = since
        .and_then(|it| Timestamp::try_from(it).ok())
        .or_else(|| timestamp(root))
        .or_else(|| nodes.iter().filter_map(|it| timestamp(*it)).min());
    Ok(nodes.into_iter().map(|it| case(it, since)).collect())
}

fn case(node: Node<'_, '_>, since: Option<Timestamp>) -> Case {
    let suite = node
        .attribute("classname")
        .or_else(|| node.parent_element().and_then(|it| it.attribute("name")));
    let named = |names: &[&str]| -> Vec<Node<'_, '_>> {
        node.children().filter(|it| names.contains(&it.tag_name().name())).collect()
    };
    let failures = named(&["failure", "error"]);
    let flaky = named(&["flakyFailure", "flakyError"]);
    let skipped = named(&["skipped"]);
    let reruns = named(&["flakyFailure", "flakyError", "rerunFailure", "rerunError"]);

    let (outcome, told) = if !failures.is_empty() {
        (Outcome::Failed, &failures)
    } else if !flaky.is_empty() {
        (Outcome::Flaky, &flaky)
    } else if !skipped.is_empty() {
        (Outcome::Skipped, &skipped)
    } else {
        (Outcome::Passed, &failures)
    };
    let output: Vec<String> = told.iter().map(|it| told_by(*it)).collect();
    let first = reruns.iter().copied().chain([node]).filter_map(timestamp).min();
    let started_at = match (first, since) {
        (Some(first), Some(since)) if outcome != Outcome::Skipped => {
            Some(u64::try_from(first.duration_since(since).as_millis()).unwrap_or_default())
        }
        _ => None,
    };
    Case {
        suite: clean(suite.unwrap_or_default()),
        name: clean(node.attribute("name").unwrap_or_default()),
        outcome,
        took: reruns.iter().map(|it| time(*it)).fold(time(node), Duration::saturating_add),
        started_at,
        output: output.join("\n\n"),
        evidence: evidence(node, &reruns),
    }
}

/// What the test printed, and what became of its other tries.
fn evidence(node: Node<'_, '_>, reruns: &[Node<'_, '_>]) -> Vec<Evidence> {
    let mut evidence = printed(node, "");
    for (index, rerun) in reruns.iter().enumerate() {
        // A test that passes in the end has its failed tries first, and they are its output; one
        // that fails has its further tries after the one that is its output.
        let flaky = rerun.tag_name().name().starts_with("flaky");
        let prefix = format!("try {}: ", if flaky { index + 1 } else { index + 2 });
        if !flaky {
            evidence.push(Evidence::text(format!("{prefix}failure"), told_by(*rerun)));
        }
        evidence.extend(printed(*rerun, &prefix));
    }
    evidence
}

fn printed(node: Node<'_, '_>, prefix: &str) -> Vec<Evidence> {
    [("system-out", "standard output"), ("system-err", "standard error")]
        .into_iter()
        .flat_map(|(tag, title)| {
            node.children()
                .filter(move |it| it.has_tag_name(tag))
                .map(|it| own_text(it))
                .filter(|it| !it.is_empty())
                .map(move |it| Evidence::text(format!("{prefix}{title}"), it))
        })
        .collect()
}

/// What a failure says: its text, or else its message, or else its type. Nextest gives a time
/// limit only as a type.
fn told_by(node: Node<'_, '_>) -> String {
    let attribute = |name| clean(node.attribute(name).unwrap_or_default());
    let (text, message) = (own_text(node), attribute("message"));
    if text.is_empty() {
        let either = if message.trim().is_empty() { attribute("type") } else { message };
        either.trim().to_owned()
    } else if text.contains(first_line(&message)) {
        text
    } else {
        format!("{}\n{text}", message.trim())
    }
}

fn own_text(node: Node<'_, '_>) -> String {
    let text: String = node.children().filter_map(|it| it.is_text().then(|| it.text())?).collect();
    clean(&text).trim().to_owned()
}

fn time(node: Node<'_, '_>) -> Duration {
    let seconds = node.attribute("time").and_then(|it| it.trim().parse::<f64>().ok());
    let exact = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok()).unwrap_or_default();
    // Reports have milliseconds; what a float adds below that is noise.
    let rounded = exact.saturating_add(Duration::from_micros(500));
    Duration::from_millis(milliseconds(rounded))
}

fn timestamp(node: Node<'_, '_>) -> Option<Timestamp> {
    node.attribute("timestamp")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    /// Written by cargo-nextest 0.9.148 with one retry, shortened by the backtraces.
    const NEXTEST: &str = include_str!("../../tests/nextest.xml");

    #[test]
    fn nextests_report_becomes_cases() {
        let cases = parse(NEXTEST).unwrap();
        let lines: Vec<String> = cases
            .iter()
            .map(|it| {
                let titles: Vec<_> = it.evidence.iter().map(|it| it.title.as_str()).collect();
                let took = milliseconds(it.took);
                let (outcome, first) = (it.outcome.word(), first_line(&it.output));
                let at = it.started_at.unwrap_or_default();
                format!("{} {} {outcome} {at}+{took} {first} {titles:?}\n", it.suite, it.name)
            })
            .collect();
        expect![[r#"
            sample tests::aborts failed 0+20 process aborted with signal 6 (SIGABRT) ["standard output", "try 2: failure", "try 2: standard output"]
            sample tests::a_deploy_ends_well passed 0+133  []
            sample tests::escapes_hold failed 23+350 thread 'tests::escapes_hold' (2385) panicked at src/lib.rs:5:89: ["standard output", "standard error", "try 2: failure", "try 2: standard output", "try 2: standard error"]
            sample tests::needs_a_second_try flaky 380+234 thread 'tests::needs_a_second_try' (2410) panicked at src/lib.rs:9:59: ["try 1: standard output", "try 1: standard error"]
            sample tests::hangs failed 136+2006 test timeout ["standard output", "try 2: failure", "try 2: standard output"]
        "#]].assert_eq(&lines.concat());
    }

    #[test]
    fn cases_count_from_the_start_of_the_command() {
        let since = "2026-11-23T01:10:27.450Z".parse::<Timestamp>().unwrap();
        let cases = parse_since(NEXTEST, Some(since.into())).unwrap();
        assert_eq!(cases[0].started_at, Some(1000));
    }

    #[test]
    fn a_case_before_the_start_is_drawn_at_the_start() {
        let since = "2027-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
        assert_eq!(parse_since(NEXTEST, Some(since.into())).unwrap()[0].started_at, Some(0));
    }

    #[test]
    fn other_texts_are_refused_and_named() {
        assert!(matches!(parse("no xml"), Err(Error::Xml(_))));
        let error = parse("<html><testcase/></html>").unwrap_err();
        assert!(error.to_string().contains("`html`"));
    }

    #[test]
    fn entities_are_not_expanded_without_end() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bb\">]><testsuites>&b;</testsuites>";
        assert!(matches!(parse(bomb), Err(Error::Xml(_))));
    }
}
