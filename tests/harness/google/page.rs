//! The published page of cases, `docs/conformance.md`: it says what ran, or the tests fail.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use super::script::{Case, Script};

/// Whoever sets it has the page written anew instead of checked.
const WRITE: &str = "MLFLOW_GKE_WRITE_CONFORMANCE";

const HEAD: &str = "\
# What real clients prove of the emulated Google Cloud

Each line below is a case: a real client does something and gets what Google would answer, the refusals word by word.
`cargo xtask test --class google` runs them without a cluster (`--class gcloud` those of gcloud), and fails when this page
tells of other cases than those that ran; with `MLFLOW_GKE_WRITE_CONFORMANCE=1` it writes the page.

";

/// Cases by surface and client.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page(BTreeMap<String, Vec<(String, Vec<String>)>>);

impl Page {
    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut section = None;
        for line in text.lines() {
            if let Some(surface) = line.strip_prefix("## ") {
                section = Some(page.0.entry(surface.to_owned()).or_default());
            } else if let (Some(clients), Some(client)) = (&mut section, line.strip_prefix("### "))
            {
                clients.push((client.to_owned(), Vec::new()));
            } else if let (Some(clients), Some(case)) = (&mut section, line.strip_prefix("- "))
                && let Some((_, cases)) = clients.last_mut()
            {
                cases.push(case.to_owned());
            }
        }
        page
    }

    fn render(&self) -> String {
        let mut text = format!("{HEAD}| surface | client | cases |\n| --- | --- | --- |\n");
        let mut total = 0;
        for (surface, clients) in &self.0 {
            for (client, cases) in clients {
                total += cases.len();
                let _ = writeln!(text, "| {surface} | {client} | {} |", cases.len());
            }
        }
        let _ = writeln!(text, "| all | | {total} |");
        for (surface, clients) in &self.0 {
            let _ = write!(text, "\n## {surface}\n");
            for (client, cases) in clients {
                let _ = write!(text, "\n### {client}\n\n");
                for case in cases {
                    let _ = writeln!(text, "- {case}");
                }
            }
        }
        text
    }
}

fn section(script: &Script, cases: &[Case]) -> Vec<(String, Vec<String>)> {
    let mut clients: Vec<(String, Vec<String>)> = Vec::new();
    for case in cases {
        let (client, name) = script.client(case);
        let name = name.replace('_', " ");
        match clients.iter_mut().find(|(it, _)| it == client) {
            Some((_, names)) => names.push(name),
            None => clients.push((client.to_owned(), vec![name])),
        }
    }
    clients
}

fn is_written() -> bool {
    std::env::var_os(WRITE).is_some_and(|it| !it.is_empty())
}

fn path() -> PathBuf {
    crate::root().join("docs/conformance.md")
}

/// Checks that the page tells of these cases, or writes them.
pub(super) fn tell(script: &Script, cases: &[Case]) -> anyhow::Result<()> {
    let section = section(script, cases);
    if is_written() {
        return write(script, section);
    }
    let page = Page::parse(&std::fs::read_to_string(path()).context("read docs/conformance.md")?);
    let told = page.0.get(script.surface).map(Vec::as_slice).unwrap_or_default();
    ensure!(
        told == section,
        "docs/conformance.md tells of other cases of {} than those that ran\nhint: {WRITE}=1 cargo xtask test --class google --class gcloud, and look at the difference",
        script.surface
    );
    Ok(())
}

/// The scripts take turns, whoever runs them.
fn write(script: &Script, section: Vec<(String, Vec<String>)>) -> anyhow::Result<()> {
    let folder = crate::root().join("target");
    std::fs::create_dir_all(&folder).context("create target")?;
    let lock = File::create(folder.join("conformance.lock")).context("open the lock")?;
    lock.lock().context("lock the page")?;
    let mut page = Page::parse(&std::fs::read_to_string(path()).unwrap_or_default());
    page.0.insert(script.surface.to_owned(), section);
    std::fs::write(path(), page.render()).context("write docs/conformance.md")
}

/// Fails when the page is not as it is written: its figures are the numbers of its cases, and no
/// surface is on it that nobody judges. While it is being written there is nothing to check.
///
/// # Errors
/// That, or there is no page.
pub fn adds_up(scripts: &[&Script]) -> anyhow::Result<()> {
    if is_written() {
        return Ok(());
    }
    let text = std::fs::read_to_string(path()).context("read docs/conformance.md")?;
    let page = Page::parse(&text);
    ensure!(text == page.render(), "docs/conformance.md was changed by hand\nhint: {WRITE}=1");
    let judged = |surface: &String| scripts.iter().any(|it| it.surface == surface);
    let stray: Vec<_> = page.0.keys().filter(|it| !judged(it)).collect();
    ensure!(stray.is_empty(), "docs/conformance.md tells of {stray:?}, which no script judges");
    ensure!(page.0.len() == scripts.len(), "docs/conformance.md lacks a surface");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let cases = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let mut page = Page::default();
        page.0.insert(
            "B".to_owned(),
            vec![("curl".to_owned(), cases(&["a", "b"])), ("Go".to_owned(), cases(&["c"]))],
        );
        page.0.insert("A".to_owned(), vec![("curl".to_owned(), cases(&["d"]))]);
        let text = page.render();
        assert!(text.contains("| B | curl | 2 |\n| B | Go | 1 |\n| all | | 4 |\n"), "{text}");
        assert_eq!(Page::parse(&text), page);
    }
}
