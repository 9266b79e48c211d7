//! Reading the log of events back from NDJSON.

use std::fmt;

use events::Event;

/// A line of the log that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line's number, from 1.
    pub line: usize,
    /// Whether the log breaks off here, as that of a killed run does.
    pub torn: bool,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.torn {
            write!(f, "the log breaks off in line {}: {}", self.line, self.message)
        } else {
            write!(f, "line {} of the log is no event: {}", self.line, self.message)
        }
    }
}

/// The events of a log, and the lines that are none. A killed run leaves a last line without an
/// end; that is reported and costs nothing else.
#[must_use]
pub fn parse(log: &str) -> (Vec<Event>, Vec<Problem>) {
    let mut events = Vec::new();
    let mut problems = Vec::new();
    for (index, line) in log.split_inclusive('\n').enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str(line) {
            Ok(event) => events.push(event),
            Err(error) => problems.push(Problem {
                line: index + 1,
                torn: !line.ends_with('\n'),
                message: error.to_string(),
            }),
        }
    }
    (events, problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOTE: &str = r#"{"event":"note","at_ms":3,"message":"hi"}"#;

    #[test]
    fn a_torn_last_line_is_reported_and_the_rest_is_kept() {
        let (events, problems) = parse(&format!("{NOTE}\n\n{NOTE}\n{}", &NOTE[..20]));
        assert_eq!(events.len(), 2);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].torn);
        assert_eq!(problems[0].line, 4);
        assert!(problems[0].to_string().starts_with("the log breaks off in line 4: EOF"));
    }

    #[test]
    fn a_whole_last_line_needs_no_line_end() {
        assert_eq!(parse(NOTE).0.len(), 1);
        assert!(parse(NOTE).1.is_empty());
    }

    #[test]
    fn an_unknown_event_is_a_problem_and_not_a_tear() {
        let (events, problems) = parse(&format!("{{\"event\":\"new\"}}\n{NOTE}\r\n"));
        assert_eq!(events.len(), 1);
        assert!(!problems[0].torn);
    }

    proptest! {
        #[test]
        fn every_line_is_an_event_a_problem_or_blank(
            lines in prop::collection::vec("[^\n]{0,30}", 0..8),
            good in 0..3_usize,
        ) {
            let log = format!("{}{}", format!("{NOTE}\n").repeat(good), lines.join("\n"));
            let (events, problems) = parse(&log);
            let filled = lines.iter().filter(|it| !it.trim().is_empty()).count();
            prop_assert_eq!(events.len() + problems.len(), good + filled);
        }
    }
}
