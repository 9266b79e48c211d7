//! Reads what the example `decide` of the crate `iam` prints.

use anyhow::ensure;

use crate::bench::measure::{Reach, Row, Unit};

/// What a decision may take.
const REACH: Reach = Reach::AtMost(10.0);

/// A row for each question, with the values of all runs.
///
/// # Errors
/// The runs tell of no question, or of different ones.
pub(super) fn rows(texts: &[String]) -> anyhow::Result<Vec<Row>> {
    let runs: Vec<Vec<(&str, f64)>> =
        texts.iter().map(|text| text.lines().filter_map(question).collect()).collect();
    let names: Vec<&str> = runs.iter().take(1).flatten().map(|it| it.0).collect();
    ensure!(!names.is_empty(), "`decide` tells of no decision");
    let mut rows = Vec::new();
    for name in names {
        let found = |run: &Vec<(&str, f64)>| run.iter().find(|it| it.0 == name).map(|it| it.1);
        let values: Vec<f64> = runs.iter().filter_map(found).collect();
        ensure!(values.len() == runs.len(), "not every run of `decide` tells of `{name}`");
        let what = format!("decision, 1,000 bindings of 3 members: {name}");
        rows.push(Row::of(what, Unit::Microseconds, &values).reach(REACH));
    }
    Ok(rows)
}

/// The question of a line and the microseconds of its decision.
fn question(line: &str) -> Option<(&str, f64)> {
    let (decided, _) = line.split_once(" ns ")?;
    let (name, nanoseconds) = decided.rsplit_once(' ')?;
    Some((name.trim_end(), nanoseconds.parse::<f64>().ok()? / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(nanoseconds: u32) -> String {
        format!(
            "policy of 1000 bindings, 3 members each, a tenth with a condition\n\
             allowed, first binding             {nanoseconds:>8} ns   scan     123456 ns\n\
             the index itself                        950 us   once for each setIamPolicy\n"
        )
    }

    #[test]
    fn each_question_is_a_row_of_all_runs() {
        let found = rows(&[text(500), text(700), text(600)]).unwrap();
        let what = "decision, 1,000 bindings of 3 members: allowed, first binding";
        let expected = Row::of(what.to_owned(), Unit::Microseconds, &[0.5, 0.6, 0.7]);
        assert_eq!(found, [expected.reach(REACH)]);
    }

    #[test]
    fn runs_that_differ_are_refused() {
        assert!(rows(&[]).is_err());
        assert!(rows(&["nothing".to_owned()]).is_err());
        assert!(rows(&[text(500), String::new()]).is_err());
    }
}
