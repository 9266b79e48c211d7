//! Kustomize's `.env` files: read strictly, and edited without touching anything else.
//!
//! Kustomize itself is lenient where it hurts: it keeps quotes and trailing blanks as part of the
//! value, and takes the value of a line without `=` from the caller's environment. Those are
//! refused here, so that a file means the same to Kustomize and to its reader.

use std::fmt;

use serde::Serialize;

/// What a `.env` file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvFile {
    /// Its path, for messages.
    pub path: String,
    /// Its lines `KEY=VALUE`, in order.
    pub entries: Vec<Entry>,
}

/// One line `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The part before the first `=`.
    pub key: String,
    /// The rest of the line, as it is.
    pub value: String,
    /// The line's number, from 1.
    pub line: usize,
}

/// What is wrong with a setting: where, what, and how to put it right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file's path.
    pub file: String,
    /// The line's number, unless the whole file is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The key, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|it| format!(":{it}")).unwrap_or_default();
        let key = self.key.as_ref().map(|it| format!("`{it}` ")).unwrap_or_default();
        write!(f, "{}{line}: {key}{}\nhint: {}", self.file, self.message, self.hint)
    }
}

impl std::error::Error for Problem {}

impl EnvFile {
    /// Reads a file's text; all problems, and every entry that could be read.
    pub fn parse(path: &str, text: &str) -> (EnvFile, Vec<Problem>) {
        let mut file = EnvFile { path: path.to_owned(), entries: Vec::new() };
        let mut problems = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line_number = index + 1;
            let text = line.trim_start();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match file.entry(line_number, text) {
                Ok(entry) => file.entries.push(entry),
                Err(problem) => problems.push(*problem),
            }
        }
        (file, problems)
    }

    /// The entry of a key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|it| it.key == key)
    }

    /// A problem in this file.
    pub(crate) fn problem(
        &self,
        line: Option<usize>,
        key: Option<&str>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Problem {
        Problem {
            file: self.path.clone(),
            line,
            key: key.map(str::to_owned),
            message: message.into(),
            hint: hint.into(),
        }
    }

    fn entry(&self, line: usize, text: &str) -> Result<Entry, Box<Problem>> {
        let refuse = |key: Option<&str>, message: String, hint: String| {
            Err(Box::new(self.problem(Some(line), key, message, hint)))
        };
        let Some((key, value)) = text.split_once('=') else {
            let word = text.trim_end();
            let message = format!("`{word}` is not a setting: it has no `=`");
            return refuse(None, message, "write KEY=VALUE, or begin the line with #".to_owned());
        };
        if !is_key(key) {
            let message = format!("`{key}` is not a name for a setting");
            let hint = "a name has letters, digits and _ only, with no blank before the =";
            return refuse(None, message, hint.to_owned());
        }
        if value.trim() != value {
            let message = "has blanks around its value, which Kustomize would keep".to_owned();
            return refuse(Some(key), message, format!("write {key}={}", value.trim()));
        }
        if let Some(bare) = quoted(value) {
            let message = "has quotes, which Kustomize would keep as part of the value".to_owned();
            return refuse(Some(key), message, format!("write {key}={bare}"));
        }
        if let Some(first) = self.get(key) {
            let message = format!("is set twice, first in line {}", first.line);
            return refuse(Some(key), message, "remove one of the two lines".to_owned());
        }
        Ok(Entry { key: key.to_owned(), value: value.to_owned(), line })
    }
}

/// The text with the key set to the value; comments, order and all other lines stay as they are.
pub fn set(text: &str, key: &str, value: &str) -> String {
    let is_entry = |line: &str| line.trim_start().split_once('=').is_some_and(|it| it.0 == key);
    let mut found = false;
    let mut edited = String::with_capacity(text.len() + value.len());
    for line in text.split_inclusive('\n') {
        if is_entry(line.trim_start_matches('\u{feff}')) && !found {
            found = true;
            edited.push_str(&format!("{key}={value}"));
            edited.push_str(line_end(line));
        } else {
            edited.push_str(line);
        }
    }
    if !found {
        if !edited.is_empty() && !edited.ends_with('\n') {
            edited.push('\n');
        }
        edited.push_str(&format!("{key}={value}\n"));
    }
    edited
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|it: char| it.is_ascii_digit())
        && text.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
}

fn quoted(value: &str) -> Option<&str> {
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
}

fn line_end(line: &str) -> &str {
    let content = line.trim_end_matches(['\r', '\n']);
    &line[content.len()..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problems(text: &str) -> Vec<String> {
        EnvFile::parse("params.env", text).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn comments_and_empty_lines_are_no_entries() {
        let (file, problems) = EnvFile::parse("f", "\u{feff}# a\n\n  # b\nA=1\n  B=x=y\r\nC=\n");
        assert_eq!(problems, []);
        let seen: Vec<_> =
            file.entries.iter().map(|it| (it.key.as_str(), it.value.as_str(), it.line)).collect();
        assert_eq!(seen, [("A", "1", 4), ("B", "x=y", 5), ("C", "", 6)]);
    }

    #[test]
    fn every_malformed_line_is_named_with_its_number_and_the_fix() {
        let found = problems("A\nB =1\nC=\"x\"\nD=1 \nE=1\nE=2\n1F=3\n");
        assert_eq!(
            found,
            [
                "params.env:1: `A` is not a setting: it has no `=`\n\
                 hint: write KEY=VALUE, or begin the line with #",
                "params.env:2: `B ` is not a name for a setting\n\
                 hint: a name has letters, digits and _ only, with no blank before the =",
                "params.env:3: `C` has quotes, which Kustomize would keep as part of the value\n\
                 hint: write C=x",
                "params.env:4: `D` has blanks around its value, which Kustomize would keep\n\
                 hint: write D=1",
                "params.env:6: `E` is set twice, first in line 5\n\
                 hint: remove one of the two lines",
                "params.env:7: `1F` is not a name for a setting\n\
                 hint: a name has letters, digits and _ only, with no blank before the =",
            ]
        );
    }

    #[test]
    fn an_edit_leaves_every_other_line_alone() {
        let text = "# PROJECT_ID=no\nPROJECT_ID=old\r\n\nREGION=r";
        assert_eq!(set(text, "PROJECT_ID", "new"), "# PROJECT_ID=no\nPROJECT_ID=new\r\n\nREGION=r");
        assert_eq!(set(text, "TAG", "dev"), format!("{text}\nTAG=dev\n"));
        assert_eq!(set("", "TAG", "dev"), "TAG=dev\n");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
            let (file, problems) = EnvFile::parse("f", &text);
            prop_assert!(file.entries.len() + problems.len() <= text.lines().count());
        }

        #[test]
        fn what_was_set_is_read_back_and_nothing_else_changes(
            lines in prop::collection::vec("(#.{0,10}|[A-D]=[a-z]{0,4}|)", 0..8),
            key in "[A-E]",
            value in "[a-z:/.-]{1,12}",
        ) {
            let text = lines.join("\n");
            let before = EnvFile::parse("f", &text).0;
            let after = EnvFile::parse("f", &set(&text, &key, &value)).0;
            prop_assert_eq!(after.get(&key).map(|it| it.value.as_str()), Some(value.as_str()));
            for entry in before.entries.iter().filter(|it| it.key != key) {
                prop_assert_eq!(after.get(&entry.key), Some(entry));
            }
        }
    }
}
