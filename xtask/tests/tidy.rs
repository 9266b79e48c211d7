//! What holds for every file of the repository, checked on the text alone.

use std::fs;
use std::path::{Path, PathBuf};

/// A function is at most a screen and a half; forty lines is the aim.
const FUNCTION_LINES: usize = 70;
/// Lines of a file before its tests.
const FILE_LINES: usize = 400;

/// Which workspace crates each crate may use. A new edge is a decision: write it down in docs/adr.
const EDGES: [(&str, &[&str]); 14] = [
    ("crates/cluster", &["events", "process"]),
    ("crates/events", &[]),
    ("crates/google-emulator", &["iam", "process", "watch"]),
    ("crates/health", &["watch"]),
    ("crates/iam", &[]),
    ("crates/manifests", &[]),
    ("crates/process", &[]),
    ("crates/report", &["events"]),
    ("crates/rollout", &["manifests"]),
    ("crates/runtime-wrapper", &[]),
    ("fuzz", &["google-emulator", "iam"]),
    ("crates/watch", &[]),
    ("tests", &["health", "process"]),
    (
        "xtask",
        &["cluster", "events", "health", "manifests", "process", "report", "rollout", "watch"],
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the repository")
}

/// Files with this ending that are not built, by their path from the top.
fn files(ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder can be read").map(Result::unwrap) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if entry.file_type().expect("a file has a type").is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                let relative =
                    path.strip_prefix(root()).expect("below the top").display().to_string();
                found.push((relative, fs::read_to_string(&path).expect("a text")));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} files below {}", root().display());
    found
}

#[track_caller]
fn check(findings: &[String]) {
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let silent = files(".rs").into_iter().filter(|(_, text)| !text.starts_with("//! "));
    check(
        &silent
            .map(|(path, _)| format!("{path}:1: begins with no `//!` sentence"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn no_function_is_longer_than_a_screen_and_a_half() {
    let mut findings = Vec::new();
    for (path, text) in files(".rs") {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let body = line.trim_start();
            let indent = line.len() - body.len();
            let is_function = ["fn ", "pub fn ", "pub(crate) fn ", "async fn ", "pub async fn "]
                .iter()
                .any(|it| body.starts_with(it));
            // A trait's function without a body ends in a semicolon.
            let mut ends = lines[start..].iter().filter(|it| it.ends_with(['{', ';', '}']));
            if !is_function || ends.next().is_none_or(|it| it.ends_with(';')) {
                continue;
            }
            let end = " ".repeat(indent) + "}";
            let length = lines[start..].iter().position(|it| *it == end).map_or(0, |it| it + 1);
            if length > FUNCTION_LINES {
                findings.push(format!("{path}:{}: a function of {length} lines", start + 1));
            }
        }
    }
    check(&findings);
}

#[test]
fn no_file_is_longer_than_can_be_kept_in_mind() {
    let length = |text: &str| {
        text.lines().take_while(|it| !it.trim_start().starts_with("#[cfg(test)]")).count()
    };
    let sources = files(".rs").into_iter().filter(|(path, _)| !path.contains("tests/"));
    let long = sources.filter(|(_, text)| length(text) > FILE_LINES);
    check(&long.map(|(path, text)| format!("{path}: {} lines", length(&text))).collect::<Vec<_>>());
}

#[test]
fn no_test_is_left_out() {
    let attributes = [concat!("#[", "ignore"), concat!("#[", "should_panic")];
    let mut findings = Vec::new();
    for (path, text) in files(".rs") {
        let found = attributes.iter().filter(|it| text.contains(**it));
        findings.extend(found.map(|it| format!("{path}: {it}]")));
    }
    check(&findings);
}

#[test]
fn crates_use_each_other_in_one_direction() {
    let names: Vec<&str> =
        EDGES.iter().filter_map(|(folder, _)| folder.strip_prefix("crates/")).collect();
    let mut findings = Vec::new();
    for (path, text) in files("Cargo.toml") {
        let Some(folder) = path.strip_suffix("/Cargo.toml") else { continue };
        let Some((_, allowed)) = EDGES.iter().find(|(it, _)| *it == folder) else {
            findings.push(format!("{path}: a crate that the table of edges does not know"));
            continue;
        };
        let used = text.lines().filter_map(|line| {
            let name = line.split(['.', ' ', '=']).next()?;
            names.contains(&name).then_some(name)
        });
        let wrong = used.filter(|name| !allowed.contains(name));
        findings.extend(wrong.map(|name| format!("{path}: uses `{name}`")));
    }
    check(&findings);
}

#[test]
fn readme_tells_every_environment() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let mut folders: Vec<String> = fs::read_dir(root().join("deploy/mlflow/env"))
        .expect("the environments")
        .map(|it| it.expect("a folder").file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    assert_eq!(folders, ["gcp", "gcp-cloudsql", "kind", "kind-cloudsql"]);
    let missing = folders.iter().filter(|it| !readme.contains(&format!("| `{it}` |")));
    check(&missing.map(|it| format!("README.md: no row for `{it}`")).collect::<Vec<_>>());
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let mut names: Vec<String> = fs::read_dir(root().join("docs/adr"))
        .expect("the decisions")
        .map(|it| it.expect("a file").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let wrong = names
        .iter()
        .enumerate()
        .filter(|(index, name)| !name.starts_with(&format!("{:04}-", index + 1)));
    check(&wrong.map(|(_, name)| format!("docs/adr/{name}: out of order")).collect::<Vec<_>>());
}
