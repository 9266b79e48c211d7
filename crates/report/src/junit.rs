//! JUnit XML, in the dialect of Jenkins that cargo-nextest writes too.

mod read;
mod write;

pub use read::{Error, parse, parse_since};
pub use write::write;

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;
    use crate::run::{Case, Outcome, Run};
    use crate::text::clean;

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Passed),
            Just(Outcome::Failed),
            Just(Outcome::Flaky),
            Just(Outcome::Skipped)
        ]
    }

    prop_compose! {
        fn case()(
            suite in any::<String>(),
            name in any::<String>(),
            outcome in outcome(),
            took in 0..10_000_000_u64,
            started_at in prop::option::of(0..10_000_000_u64),
            output in any::<String>(),
        ) -> Case {
            let took = Duration::from_millis(took);
            let skipped = outcome == Outcome::Skipped;
            let output = if outcome == Outcome::Passed { String::new() } else { output };
            // What did not run has no time of its own.
            let started_at = if skipped { None } else { started_at };
            Case { suite, name, outcome, took, started_at, output, evidence: Vec::new() }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(cases in prop::collection::vec(case(), 0..6)) {
            let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
            let run = Run { started: Some(started), cases, ..Run::default() };
            let mut read = parse_since(&write(&run), Some(started)).unwrap();
            // Cases are written suite by suite, in the order in which the suites first appear.
            let mut wanted = run.cases.clone();
            let suites: Vec<String> = wanted.iter().map(|it| clean(&it.suite)).collect();
            wanted.sort_by_key(|case| suites.iter().position(|it| *it == clean(&case.suite)));
            prop_assert_eq!(read.len(), wanted.len());
            for (read, wanted) in read.iter_mut().zip(wanted) {
                prop_assert_eq!(&read.suite, &clean(&wanted.suite));
                prop_assert_eq!(&read.name, &clean(&wanted.name));
                prop_assert_eq!(read.outcome, wanted.outcome);
                prop_assert_eq!(read.took, wanted.took);
                prop_assert_eq!(read.started_at, wanted.started_at);
                let output = clean(&wanted.output);
                prop_assert!(read.output == output.trim() || wanted.outcome == Outcome::Flaky);
            }
        }

        #[test]
        fn no_input_makes_the_reader_panic(text in any::<String>(), attribute in "[^<&\"]*") {
            drop(parse(&text));
            let xml = format!(
                "<testsuites timestamp=\"{attribute}\"><testcase time=\"{attribute}\" \
                 timestamp=\"{attribute}\"/></testsuites>"
            );
            drop(parse(&xml));
        }
    }
}
