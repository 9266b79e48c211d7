//! Commands that texts tell a person to type: what they select is there in every environment that
//! they are printed for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::machine::{Machine, files};

const ENVIRONMENTS: [&str; 4] = ["gcp", "gcp-cloudsql", "kind", "kind-cloudsql"];
/// Where texts for people are written.
const SOURCES: [&str; 7] =
    ["README.md", "ARCHITECTURE.md", "docs", "xtask/src", "crates", "deploy/images", "fake-gcs"];

/// What commands can select in an environment, as they write it.
fn selectable(machine: &Machine, environment: &str) -> BTreeSet<String> {
    let events = machine.xtask(&format!("render --env {environment} --json")).run().good().events();
    let objects = events.last().unwrap()["result"]["objects"].as_array().unwrap().clone();
    let mut found = BTreeSet::new();
    for object in &objects {
        let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
        // `deploy/` would be a folder more often.
        let aliases: &[&str] = match kind {
            "Service" => &["svc", "service"],
            "Deployment" => &["deployment"],
            "Job" => &["job"],
            "Secret" => &["secret"],
            _ => &[],
        };
        found.extend(aliases.iter().map(|alias| format!("{alias}/{name}")));
        let app = text(object, "/spec/template/metadata/labels/app");
        if !app.is_empty() {
            found.insert(format!("app={app}"));
        }
    }
    found
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What a command selects, as it writes it. Names that are put in when it is printed are no text.
fn selections(line: &str) -> Vec<&str> {
    let is_part = |it: char| it.is_ascii_alphanumeric() || "-./=_{}".contains(it);
    let words = line.split(|it: char| !is_part(it));
    let kinds = ["svc/", "service/", "deployment/", "job/", "secret/", "app="];
    let is_selection =
        |it: &&str| kinds.iter().any(|kind| it.len() > kind.len() && it.starts_with(kind));
    words.filter(is_selection).filter(|it| !it.contains('{') && !it.contains("./")).collect()
}

/// The environments that a line is about: the one it names, or all.
fn environments(line: &str) -> Vec<&str> {
    let named = line.split("--env ").nth(1).and_then(|it| it.split_whitespace().next());
    named.map_or(ENVIRONMENTS.to_vec(), |it| vec![it])
}

#[test]
fn every_command_that_is_printed_selects_what_is_there() {
    let machine = Machine::with_kustomize();
    let selectable: Vec<_> = ENVIRONMENTS.map(|it| (it, selectable(&machine, it))).into();
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let (mut findings, mut n_checked) = (Vec::new(), 0);
    for source in SOURCES.iter().map(|it| root.join(it)) {
        let is_text = |it: &Path| !it.ancestors().any(|it| it.ends_with("tests"));
        let paths = if source.is_file() { vec![source.clone()] } else { files(&source) };
        for path in paths.into_iter().filter(|it| is_text(it)) {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines = text.lines().enumerate();
            let is_command =
                |line: &str| ["kubectl", "cargo xtask"].iter().any(|it| line.contains(it));
            for (index, line) in lines.filter(|it| is_command(it.1)) {
                for (wanted, environment) in selections(line)
                    .into_iter()
                    .flat_map(|it| environments(line).into_iter().map(move |env| (it, env)))
                {
                    n_checked += 1;
                    let there = selectable.iter().find(|it| it.0 == environment);
                    if !there.is_some_and(|it| it.1.contains(wanted)) {
                        let place = format!("{}:{}", path.display(), index + 1);
                        findings.push(format!("{place}: no `{wanted}` in `{environment}`"));
                    }
                }
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    assert!(n_checked >= 3, "the texts are no longer found: {n_checked}");
}

#[test]
fn why_a_container_ended_is_in_its_pods_status() {
    let machine = Machine::with_kustomize();
    for environment in ENVIRONMENTS {
        let ended = machine.xtask(&format!("render --env {environment}")).run().good();
        let count = |words: &str| ended.stdout.matches(words).count();
        let n_containers = count("imagePullPolicy:");
        assert!(n_containers >= 3, "{environment}: {n_containers} containers");
        assert_eq!(
            count("terminationMessagePolicy: FallbackToLogsOnError"),
            n_containers,
            "{environment}"
        );
    }
}
