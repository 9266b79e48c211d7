//! The head of the page: the verdict first, then what was run, when and where.

use std::time::Duration;

use jiff::Timestamp;

use crate::markup::Markup;
use crate::run::{Run, Verdict};
use crate::spans;
use crate::text::duration;

pub(super) fn write(page: &mut Markup, run: &Run) {
    let class = match run.verdict() {
        Verdict::Passed => "verdict good",
        Verdict::Failed => "verdict bad",
        Verdict::Empty => "verdict",
    };
    page.line();
    page.within("header", &[("class", class)], |page| {
        page.element("p", &[("class", "title")], &run.title);
        page.element("h1", &[], &headline(run));
        page.element("p", &[("class", "times")], &times(run));
        page.within("dl", &[], |page| facts(page, run));
    });
}

/// The verdict in a few words.
pub(super) fn headline(run: &Run) -> String {
    let counts = run.counts();
    match run.verdict() {
        Verdict::Empty => "– Nothing ran".to_owned(),
        Verdict::Passed if counts.total() == 0 => "✓ All steps done".to_owned(),
        Verdict::Passed => format!("✓ {}", counts.sentence()),
        Verdict::Failed if counts.failed > 0 => format!("✗ {}", counts.sentence()),
        // Green tests under a failed command must not be what is read first.
        Verdict::Failed if counts.total() > 0 => {
            format!("✗ The run failed, its tests: {}", counts.sentence())
        }
        Verdict::Failed => "✗ The run failed before any test".to_owned(),
    }
}

/// How long it took, and how much of that was testing.
fn times(run: &Run) -> String {
    let steps = spans::steps(&run.events).len();
    let tests = run.cases.iter().map(|it| it.took).fold(Duration::ZERO, Duration::saturating_add);
    let mut parts = vec![format!("in {}", duration(run.took()))];
    if steps > 0 {
        parts.push(format!("{steps} {}", if steps == 1 { "step" } else { "steps" }));
    }
    match run.cases.len() {
        0 => {}
        1 => parts.push(format!("1 test of {}", duration(tests))),
        count => parts.push(format!("{count} tests of {} together", duration(tests))),
    }
    parts.join(" · ")
}

fn facts(page: &mut Markup, run: &Run) {
    let started = run.started.and_then(|it| Timestamp::try_from(it).ok());
    let started = started.map(|it| it.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    let own = [("Started", started.unwrap_or_default()), ("Commit", run.commit.clone())];
    for (name, value) in own.iter().filter(|it| !it.1.is_empty()) {
        fact(page, name, value);
    }
    for (name, value) in &run.facts {
        fact(page, name, value);
    }
}

fn fact(page: &mut Markup, name: &str, value: &str) {
    page.within("div", &[], |page| {
        page.element("dt", &[], name);
        page.element("dd", &[], value);
    });
}

#[cfg(test)]
mod tests {
    use events::Event;
    use expect_test::expect;

    use super::*;
    use crate::run::{Case, Outcome};

    #[test]
    fn a_failed_command_is_said_before_its_green_tests() {
        let error = Event::Error { at_ms: 1, message: "x".into(), code: 1 };
        let mut run = Run { events: vec![error], ..Run::default() };
        assert_eq!(headline(&run), "✗ The run failed before any test");
        run.cases.push(Case { outcome: Outcome::Passed, ..Case::default() });
        assert_eq!(headline(&run), "✗ The run failed, its tests: 1 passed");
    }

    #[test]
    fn the_head_says_what_when_and_where() {
        let run = Run {
            title: "e2e".into(),
            started: Some(std::time::UNIX_EPOCH + Duration::from_secs(1_795_000_000)),
            commit: "0123abc".into(),
            facts: vec![("Kernel".into(), "6.1 <x>".into())],
            cases: vec![Case {
                outcome: Outcome::Passed,
                took: Duration::from_secs(3),
                ..Case::default()
            }],
            ..Run::default()
        };
        let mut page = Markup::default();
        write(&mut page, &run);
        expect![[r#"

            <header class="verdict good"><p class="title">e2e</p><h1>✓ 1 passed</h1><p class="times">in 3.0 s · 1 test of 3.0 s</p><dl><div><dt>Started</dt><dd>2026-11-18 11:06:40 UTC</dd></div><div><dt>Commit</dt><dd>0123abc</dd></div><div><dt>Kernel</dt><dd>6.1 &lt;x&gt;</dd></div></dl></header>"#]].assert_eq(&page.finish());
    }
}
