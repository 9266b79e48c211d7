//! The page: one file, no outside resource, readable without its script.

mod evidence;
mod failures;
mod summary;
mod tables;
mod timeline;

use crate::markup::Markup;
use crate::run::{Outcome, Run};
use crate::spans;

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Nothing is loaded and only our own script runs, even if escaping had a hole. A test computes
/// the hash.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; \
     style-src 'unsafe-inline'; script-src 'sha256-5pibyAK1K9/nXj1KKnELG6b+GG7z0YkNn0BZXjjXHU8='";

/// The run as one HTML page, which is well-formed XML as well.
#[must_use]
pub fn html(run: &Run) -> String {
    let mut page = Markup::new("<!DOCTYPE html>\n");
    page.within("html", &[("lang", "en")], |page| {
        page.line();
        page.within("head", &[], |page| head(page, run));
        page.line();
        page.within("body", &[], |page| {
            summary::write(page, run);
            page.within("main", &[], |page| {
                failures::write(page, run);
                timeline::write(page, run);
                tables::steps(page, &spans::steps(&run.events));
                tables::cases(page, run);
                run_evidence(page, run);
                tables::log(page, run);
            });
            page.line();
            page.within("script", &[], |page| page.literal(SCRIPT));
        });
        page.line();
    });
    page.line();
    page.finish()
}

fn head(page: &mut Markup, run: &Run) {
    page.line();
    page.empty("meta", &[("charset", "utf-8")]);
    page.empty("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
    page.empty("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
    page.empty("meta", &[("name", "color-scheme"), ("content", "light dark")]);
    page.element("title", &[], &format!("{}: {}", summary::headline(run), run.title));
    page.line();
    page.within("style", &[], |page| page.literal(STYLE));
    page.line();
}

/// A titled part of the page.
fn section(page: &mut Markup, id: &'static str, title: &str, fill: impl FnOnce(&mut Markup)) {
    page.line();
    page.within("section", &[("id", id), ("aria-labelledby", &format!("{id}-title"))], |page| {
        page.element("h2", &[("id", &format!("{id}-title"))], title);
        fill(page);
    });
}

fn run_evidence(page: &mut Markup, run: &Run) {
    if !run.evidence.is_empty() {
        section(page, "evidence", "Evidence of the run", |page| {
            evidence::list(page, &run.evidence);
        });
    }
}

/// An outcome as a mark and a word, so that nobody depends on its colour.
fn badge(page: &mut Markup, outcome: Outcome) {
    let mark = match outcome {
        Outcome::Passed => "✓",
        Outcome::Failed => "✗",
        Outcome::Flaky => "↻",
        Outcome::Skipped => "–",
    };
    let word = outcome.word();
    page.element("span", &[("class", &format!("badge {word}"))], &format!("{mark} {word}"));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use events::Event;
    use proptest::prelude::*;
    use roxmltree::{Document, ParsingOptions};

    use super::*;
    use crate::redact::base64;
    use crate::run::{Case, Evidence};

    fn document(page: &str) -> Document<'_> {
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        Document::parse_with_options(page, options).unwrap()
    }

    fn run(text: &str) -> Run {
        let (at_ms, text) = (5, || text.to_owned());
        let ended = |outcome| Event::StepEnded {
            at_ms,
            step: text(),
            outcome,
            took_ms: 3,
            message: text(),
        };
        let case = |outcome| Case {
            suite: text(),
            name: text(),
            outcome,
            took: Duration::from_millis(3),
            started_at: Some(1),
            output: format!("x\nstack backtrace:\n{}", text()),
            evidence: vec![Evidence::text(text(), text()), Evidence::file(text(), text())],
        };
        Run {
            title: text(),
            commit: format!("c{}", text()),
            facts: vec![(text(), text())],
            events: vec![
                Event::StepStarted { at_ms, step: text(), title: text(), estimate_ms: Some(1) },
                Event::StepProgress { at_ms, step: text(), message: text() },
                ended(events::Outcome::Failed),
                ended(events::Outcome::Done),
                Event::Note { at_ms, message: text() },
                Event::Object { at_ms, object: text(), state: text(), message: text() },
                Event::Error { at_ms, message: text(), code: 31 },
                Event::Result { at_ms, result: serde_json::json!({ text(): text() }) },
            ],
            problems: vec![crate::ndjson::Problem { line: 2, torn: true, message: text() }],
            cases: [Outcome::Passed, Outcome::Failed, Outcome::Flaky, Outcome::Skipped]
                .map(case)
                .into(),
            evidence: vec![Evidence::text(text(), text())],
            ..Run::default()
        }
    }

    /// The names of the elements in order: what markup in the input would change.
    fn shape(page: &str) -> Vec<String> {
        let document = document(page);
        let elements = document.descendants().filter(|it| it.is_element());
        elements.map(|it| it.tag_name().name().to_owned()).collect()
    }

    #[test]
    fn the_policy_allows_our_script_and_no_other() {
        let digest = ring::digest::digest(&ring::digest::SHA256, SCRIPT.as_bytes());
        let source = format!("script-src 'sha256-{}'", base64(digest.as_ref()));
        assert!(POLICY.contains(&source), "the policy must say {source}");
    }

    #[test]
    fn the_page_asks_for_nothing_from_outside() {
        let page = html(&run("https://example.com/x"));
        let document = document(&page);
        for node in document.descendants() {
            for name in ["src", "srcset", "href", "action", "data", "style", "onclick"] {
                let value = node.attribute(name).unwrap_or("#");
                let inside = value.starts_with('#') || value.starts_with("https%3A");
                assert!(inside, "{name}={value}");
            }
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }

    #[test]
    fn links_within_the_page_lead_somewhere_and_ids_are_unique() {
        let page = html(&run("x"));
        let document = document(&page);
        let mut ids: Vec<_> = document.descendants().filter_map(|it| it.attribute("id")).collect();
        for link in document.descendants().filter_map(|it| it.attribute("href")) {
            if let Some(id) = link.strip_prefix('#') {
                assert!(ids.contains(&id), "{link}");
            }
        }
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(all, ids.len());
    }

    #[test]
    fn headings_begin_with_one_h1_and_skip_no_level() {
        let levels: Vec<u32> = shape(&html(&run("x")))
            .iter()
            .filter_map(|it| it.strip_prefix('h')?.parse().ok())
            .collect();
        assert_eq!(levels[0], 1);
        assert_eq!(levels.iter().filter(|it| **it == 1).count(), 1);
        assert!(levels.windows(2).all(|it| it[1] <= it[0] + 1), "{levels:?}");
    }

    #[test]
    fn an_empty_run_is_a_page_that_says_so() {
        let page = html(&Run::default());
        assert!(page.contains("Nothing ran"));
        document(&page);
    }

    /// The relative luminance of `#rrggbb`, as WCAG defines it.
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    #[test]
    fn text_stands_out_from_what_is_behind_it() {
        let schemes: Vec<&str> = STYLE.split(":root {").skip(1).take(2).collect();
        assert_eq!(schemes.len(), 2, "light and dark");
        for scheme in schemes {
            let colour = |name: &str| {
                let (_, rest) = scheme.split_once(&format!("--{name}: ")).unwrap();
                luminance(&rest[..7])
            };
            let on = |behind: &str, texts: &[&str]| {
                for text in texts {
                    let (a, b) = (colour(text), colour(behind));
                    let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                    assert!(contrast >= 4.5, "{text} on {behind}: {contrast:.2}");
                }
            };
            on("card", &["ink", "soft", "link", "good", "bad", "warn", "calm"]);
            on("code", &["ink", "soft", "link", "good", "bad", "warn", "calm"]);
            for bar in ["ok", "fail", "wait", "same"] {
                on(bar, &["ink"]);
            }
        }
    }

    proptest! {
        // A page takes milliseconds to write and to read back in a debug build.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_figures_make_a_page(
            at_ms: u64, took_ms: u64, estimate_ms: Option<u64>, started_at: Option<u64>
        ) {
            let mut run = run("x");
            let (step, title) = ("s".to_owned(), "t".to_owned());
            let (object, state, message) = ("o".to_owned(), "late".to_owned(), String::new());
            run.started = Some(std::time::UNIX_EPOCH + Duration::from_secs(took_ms >> 12));
            run.events.push(Event::StepStarted { at_ms, step: step.clone(), title, estimate_ms });
            run.events.push(Event::Object { at_ms, object, state, message: message.clone() });
            let outcome = events::Outcome::Done;
            run.events.push(Event::StepEnded { at_ms, step, outcome, took_ms, message });
            run.cases[0].started_at = started_at;
            run.cases[0].took = Duration::from_millis(took_ms);
            document(&html(&run));
            prop_assert!(crate::junit::parse(&crate::junit::write(&run)).is_ok());
        }

        #[test]
        fn input_never_becomes_markup(
            text in prop_oneof![
                any::<String>(),
                Just("</pre><script>alert(1)</script>".to_owned()),
                Just("\"' onload='x".to_owned()),
                Just("]]>--><![CDATA[".to_owned()),
                "[\\x00-\\x7f]{1,40}",
            ]
        ) {
            // An x in front keeps the text from being empty, which leaves elements out.
            let page = html(&run(&format!("x{text}")));
            prop_assert_eq!(shape(&page), shape(&html(&run("x"))));
        }
    }
}
