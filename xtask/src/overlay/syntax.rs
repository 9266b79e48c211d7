//! The YAML that an environment is made of, judged before Kustomize reads a copy of it: an error
//! names the user's own file, with line and column.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use manifests::yaml;
use serde_json::Value;

const KUSTOMIZATION: &str = "kustomization.yaml";

/// Everything in the folder's YAML, and in the YAML that it names, that does not parse.
///
/// # Errors
/// A file cannot be read.
pub(super) fn check(root: &Path, folder: &str) -> anyhow::Result<Vec<String>> {
    let mut reading = Reading { root, seen: BTreeSet::new(), faults: Vec::new() };
    reading.folder(Path::new(folder))?;
    Ok(reading.faults)
}

struct Reading<'a> {
    root: &'a Path,
    seen: BTreeSet<PathBuf>,
    faults: Vec<String>,
}

impl Reading<'_> {
    fn folder(&mut self, folder: &Path) -> anyhow::Result<()> {
        let mut names = Vec::new();
        for document in self.file(&folder.join(KUSTOMIZATION))? {
            texts(&document, &mut names);
        }
        for name in names {
            let path = normal(&folder.join(name));
            if self.root.join(&path).is_dir() {
                if !self.seen.contains(&path.join(KUSTOMIZATION)) {
                    self.folder(&path)?;
                }
            } else if path.extension().is_some_and(|it| it == "yaml") {
                self.file(&path)?;
            }
        }
        Ok(())
    }

    /// What a file holds; nothing when it is not there, which Kustomize tells better, when it was read
    /// before, or when it does not parse.
    fn file(&mut self, path: &Path) -> anyhow::Result<Vec<Value>> {
        let whole = self.root.join(path);
        if !whole.is_file() || !self.seen.insert(path.to_owned()) {
            return Ok(Vec::new());
        }
        let text = std::fs::read_to_string(&whole)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(yaml::parse(&text).unwrap_or_else(|fault| {
            let lines: String = around(&text, fault.line).map(|it| format!("\n  | {it}")).collect();
            self.faults.push(format!("{}:{fault}{lines}", path.display()));
            Vec::new()
        }))
    }
}

/// The lines to look at. The parser may notice a line or two too late, or name where what it was
/// reading began.
fn around(text: &str, line: usize) -> impl Iterator<Item = &str> {
    let is_content = |it: &&str| !it.trim().is_empty() && !it.trim_start().starts_with('#');
    let before: Vec<&str> = text.lines().take(line.saturating_sub(1)).collect();
    let mut content = (0..before.len()).rev().filter(|it| is_content(&before[*it]));
    let first = content.nth(1).unwrap_or(0);
    text.lines().take(line + 1).skip(first)
}

/// Every text in a value: a kustomization names files and folders in fields of many kinds.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        // A patch written in place is no name.
        Value::String(text) if !text.contains('\n') => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|it| texts(it, found)),
        Value::Object(fields) => fields.values().for_each(|it| texts(it, found)),
        _ => {}
    }
}

/// The path without `..`, so that a file has one name.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_of_content_before_and_one_after_are_shown() {
        let text = "a: 1\nb: [2\n# why\nc: 3\n\nd: 4\ne: 5\nf: 6\n";
        let shown: Vec<&str> = around(text, 6).collect();
        assert_eq!(shown, ["b: [2", "# why", "c: 3", "", "d: 4", "e: 5"]);
        assert_eq!(around(text, 1).collect::<Vec<_>>(), ["a: 1", "b: [2"]);
        assert_eq!(around("", 1).count(), 0);
    }
}
