//! What goes to stdout: results. The story goes to stderr through the log.
#![expect(clippy::print_stderr, reason = "this is the one place that prints")]

use std::io::Write;
use std::process::ExitCode;

use crate::context::Context;
use crate::exit;

/// Prints a result: `value` as the last NDJSON event under `--json`, else `text`.
pub(crate) fn result(context: &Context, text: &str, value: serde_json::Value) {
    if context.log.is_json() {
        context.log.result(value);
    } else if !text.is_empty() {
        print(text);
    }
}

/// Prints text to stdout. A reader who has gone away ends the output, not the work.
pub(crate) fn print(text: &str) {
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    drop(write!(std::io::stdout(), "{text}{newline}"));
}

/// An error before there is a log to tell it to.
pub(crate) fn early_error(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(exit::code(error))
}

/// Lines up the columns of a table.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
