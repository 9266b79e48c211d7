//! Masking values that must not be shown.

use events::Event;
use serde_json::Value;

use crate::run::{Body, Evidence, Run};
use crate::text::clean;

const MASK: &str = "•••";

impl Run {
    /// Masks every one of `secrets` in every text of the run, plain and as the base64 of a
    /// Kubernetes Secret. Empty values are ignored.
    pub fn redact(&mut self, secrets: &[&str]) {
        let mut wanted: Vec<String> = secrets
            .iter()
            .filter(|it| !it.is_empty())
            .flat_map(|it| [clean(it), base64(it.as_bytes())])
            .filter(|it| !it.is_empty())
            .collect();
        // The longer ones first, or what a short one leaves of them would show.
        wanted.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        if wanted.is_empty() {
            return;
        }
        self.texts(&|text| mask(text, &wanted));
    }

    /// Runs `change` over every text from outside.
    fn texts(&mut self, change: &dyn Fn(&mut String)) {
        change(&mut self.title);
        change(&mut self.commit);
        for (name, value) in &mut self.facts {
            change(name);
            change(value);
        }
        self.events.iter_mut().for_each(|it| event(it, change));
        self.problems.iter_mut().for_each(|it| change(&mut it.message));
        for case in &mut self.cases {
            change(&mut case.suite);
            change(&mut case.name);
            change(&mut case.output);
            case.evidence.iter_mut().for_each(|it| evidence(it, change));
        }
        self.evidence.iter_mut().for_each(|it| evidence(it, change));
    }
}

/// Colours are taken out first: a sequence in the middle of a secret would hide it from the
/// search and then vanish on the page.
fn mask(text: &mut String, wanted: &[String]) {
    let mut masked = clean(text);
    for secret in wanted {
        masked = masked.replace(secret, MASK);
    }
    *text = masked;
}

fn evidence(evidence: &mut Evidence, change: &dyn Fn(&mut String)) {
    change(&mut evidence.title);
    match &mut evidence.body {
        Body::Text(it) | Body::File(it) => change(it),
    }
}

fn event(event: &mut Event, change: &dyn Fn(&mut String)) {
    match event {
        Event::StepStarted { step, title, .. } => {
            change(step);
            change(title);
        }
        Event::StepProgress { step, message, .. } | Event::StepEnded { step, message, .. } => {
            change(step);
            change(message);
        }
        Event::Note { message, .. } | Event::Error { message, .. } => change(message),
        Event::Object { object, state, message, .. } => {
            change(object);
            change(state);
            change(message);
        }
        Event::Result { result, .. } => value(result, change),
    }
}

fn value(json: &mut Value, change: &dyn Fn(&mut String)) {
    match json {
        Value::String(it) => change(it),
        Value::Array(items) => items.iter_mut().for_each(|it| value(it, change)),
        Value::Object(fields) => {
            for (mut key, mut field) in std::mem::take(fields) {
                change(&mut key);
                value(&mut field, change);
                fields.insert(key, field);
            }
        }
        Value::Number(it) => {
            let mut text = it.to_string();
            change(&mut text);
            if text != it.to_string() {
                *json = Value::String(text);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Case;
    use proptest::prelude::*;

    fn run(secret: &str) -> Run {
        let text = || format!("a{secret}b");
        let (at_ms, step) = (1, text());
        Run {
            title: text(),
            commit: text(),
            facts: vec![(text(), text())],
            events: vec![
                Event::StepStarted { at_ms, step: text(), title: text(), estimate_ms: None },
                Event::StepProgress { at_ms, step: text(), message: text() },
                Event::StepEnded {
                    at_ms,
                    step,
                    outcome: events::Outcome::Done,
                    took_ms: 1,
                    message: text(),
                },
                Event::Note { at_ms, message: text() },
                Event::Object { at_ms, object: text(), state: text(), message: text() },
                Event::Error { at_ms, message: text(), code: 1 },
                Event::Result { at_ms, result: serde_json::json!({ text(): [text()] }) },
            ],
            problems: vec![crate::ndjson::Problem { line: 1, torn: true, message: text() }],
            cases: vec![Case {
                suite: text(),
                name: text(),
                output: text(),
                evidence: vec![Evidence::text(text(), text()), Evidence::file(text(), text())],
                ..Case::default()
            }],
            evidence: vec![Evidence::text(text(), base64(secret.as_bytes()))],
            ..Run::default()
        }
    }

    #[test]
    fn base64_is_what_kubernetes_writes() {
        let written = ["", "f", "fo", "foo", "foob"].map(|it| base64(it.as_bytes()));
        assert_eq!(written, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }

    #[test]
    fn a_secret_with_colours_in_it_is_found() {
        let mut run = Run { title: "pw: hun\u{1b}[31mter2".into(), ..Run::default() };
        run.redact(&["hunter", "hunter2", ""]);
        assert_eq!(run.title, "pw: •••");
    }

    #[test]
    fn a_number_is_masked_too() {
        let result = serde_json::json!({ "pin": 480_213 });
        let mut run = Run { events: vec![Event::Result { at_ms: 0, result }], ..Run::default() };
        run.redact(&["480213"]);
        assert!(!format!("{run:?}").contains("480213"));
    }

    proptest! {
        #[test]
        fn no_secret_survives_in_any_field(secret in "[A-Z]{3}[a-z0-9+/=<&\"]{6,12}") {
            let mut run = run(&secret);
            run.redact(&[&secret]);
            let quoted = format!("{secret:?}");
            let mut escaped = crate::markup::Markup::default();
            escaped.text(&secret);
            let escaped = escaped.finish();
            let shown = format!("{run:?}");
            prop_assert!(!shown.contains(quoted.trim_matches('"')));
            for report in [crate::html(&run), crate::junit::write(&run)] {
                prop_assert!(!report.contains(&escaped));
                prop_assert!(!report.contains(&base64(secret.as_bytes())));
            }
        }
    }
}
