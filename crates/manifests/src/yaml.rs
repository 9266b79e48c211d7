//! The only place that knows YAML.

use std::fmt;

use serde_json::Value;

/// Why a text is no YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line in the whole text, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// What the parser says.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// All documents of a text, or where the first of them that does not parse goes wrong.
pub fn parse(text: &str) -> Result<Vec<Value>, Fault> {
    documents(text).iter().map(|(line, text)| read(text, *line)).collect()
}

/// Each document with the number of its first line.
///
/// The reader of YAML counts lines from its own start and gives up at the first error; cut here, an
/// error has its document's number too.
pub(crate) fn documents(text: &str) -> Vec<(usize, String)> {
    let mut documents = vec![(1, String::new())];
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let marker = line.trim_end();
        if marker == "---" || marker.starts_with("--- #") {
            documents.push((index + 2, String::new()));
        } else if let Some(last) = documents.last_mut() {
            last.1.push_str(line);
        }
    }
    documents.retain(|it| it.1.lines().any(|it| !is_blank(it)));
    documents
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// One document that begins at that line of its text.
pub(crate) fn read(text: &str, first_line: usize) -> Result<Value, Fault> {
    serde_saphyr::from_str(text).map_err(|error| {
        let number = |it: u64| usize::try_from(it).unwrap_or_default();
        let place = error.location().map(|it| (number(it.line()), number(it.column())));
        let (line, column) = place.unwrap_or((1, 1));
        let message = error.without_snippet().to_string();
        // The place is told by its own fields; advice to the parser's caller is none to a person.
        let message = message.lines().next().unwrap_or_default();
        let message = message.split(" at line ").next().unwrap_or_default();
        let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
        let line = first_line + line.saturating_sub(1);
        Fault { line, column: column.max(1), message: message.to_owned() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = parse(text).unwrap_err().to_string();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_fault_has_its_line_and_column_in_the_whole_text() {
        check("kind: [A\nname: x\n", "2:5: illegal placement of ':' indicator");
        check(
            "a: 1\n---\nb:\n\t- c\n",
            "4:2: tabs disallowed within this context (block indentation)",
        );
        check("a: 1\n  b: 2\n", "2:4: mapping values are not allowed in this context");
        check("a: 1\na: 2\n", "2:1: duplicate mapping key: a");
        check("a: \"x\n", "1:4: unclosed quote");
    }

    #[test]
    fn documents_without_content_count_for_nothing() {
        assert_eq!(parse("---\n# only this\n---\na: 1\n").unwrap().len(), 1);
    }
}
