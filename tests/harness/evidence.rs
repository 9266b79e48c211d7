//! What a failed test leaves: how the cluster was at that moment, before the next test changes it.
#![expect(clippy::print_stderr, reason = "the path of the evidence belongs to the test's output")]

use std::path::Path;
use std::time::Duration;

use crate::{Scene, run};

/// Evidence must not make a failure hang.
const LIMIT: Duration = Duration::from_secs(30);

/// What is asked, and the file for the answer.
const QUESTIONS: [(&str, &[&str]); 5] = [
    ("status.txt", &["status", "--env", "kind"]),
    ("events.txt", &["events", "--env", "kind"]),
    ("mlflow.log", &["logs", "--env", "kind", "--tail", "1000"]),
    ("postgres.log", &["logs", "--env", "kind", "--selector", "app=postgres", "--tail", "1000"]),
    ("render.yaml", &["render", "--env", "kind"]),
];

/// Writes the evidence when a test fails, by an error or by a panic.
pub(crate) struct Guard<'a> {
    scene: &'a Scene,
}

impl<'a> Guard<'a> {
    pub(crate) fn new(scene: &'a Scene) -> Self {
        Self { scene }
    }

    /// Ends the watch over a test that did not panic.
    pub(crate) fn end(self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        if let Err(error) = &result {
            write(self.scene, &format!("{error:?}\n"));
        }
        result
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            write(self.scene, "the test panicked; its output has the message\n");
        }
    }
}

fn write(scene: &Scene, why: &str) {
    let folder = match scene.evidence() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("no evidence could be kept: {error:#}");
            return;
        }
    };
    keep(&folder, "failure.txt", why);
    for (file, arguments) in QUESTIONS {
        let text = run(scene.xtask(arguments), LIMIT)
            .map_or_else(|error| format!("{error:#}\n"), |run| run.text());
        keep(&folder, file, &text);
    }
    let objects =
        ["get", "--namespace=mlflow", "pods,deployments,replicasets,jobs,pvc", "--output=yaml"];
    let text = run(scene.kubectl(&objects), LIMIT)
        .map_or_else(|error| format!("{error:#}\n"), |run| run.text());
    keep(&folder, "objects.yaml", &text);
    eprintln!("evidence of `{}` is in {}", scene.name, folder.display());
}

fn keep(folder: &Path, file: &str, text: &str) {
    if let Err(error) = std::fs::write(folder.join(file), text) {
        eprintln!("cannot keep {file}: {error}");
    }
}
