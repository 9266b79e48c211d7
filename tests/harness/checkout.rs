//! A copy of the checkout that a test may change: what the command line reads of it, and no more.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// What decides the content hashes of images and overlays.
const PARTS: [&str; 7] = [
    "crates/google-emulator",
    "crates/iam",
    "crates/runtime-wrapper",
    "crates/watch",
    "deploy",
    "fake-gcs",
    "tools",
];

/// A copy in a temporary folder, removed with the value.
pub struct Checkout {
    /// The folder, for `MLFLOW_GKE_ROOT`.
    pub root: PathBuf,
}

impl Checkout {
    /// Copies the checkout.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn copy(from: &Path, name: &str) -> anyhow::Result<Self> {
        let name = format!("mlflow-gke-e2e-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        drop(std::fs::remove_dir_all(&root));
        let checkout = Self { root };
        for part in PARTS {
            copy_folder(&from.join(part), &checkout.root.join(part))?;
        }
        let lock = "Cargo.lock";
        std::fs::copy(from.join(lock), checkout.root.join(lock)).context("copy Cargo.lock")?;
        Ok(checkout)
    }

    /// Replaces a text that must be in the file.
    ///
    /// # Errors
    /// It is not.
    pub fn replace(&self, path: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let file = self.root.join(path);
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {path}"))?;
        ensure!(text.contains(from), "`{path}` has no `{from}`");
        std::fs::write(file, text.replacen(from, to, 1)).with_context(|| format!("write {path}"))
    }

    /// Writes a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        std::fs::write(self.root.join(path), text).with_context(|| format!("write {path}"))
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // A temporary folder that stays behind harms nobody.
        drop(std::fs::remove_dir_all(&self.root));
    }
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            // What a build left is neither wanted nor small.
            if entry.file_name() != "target" {
                copy_folder(&entry.path(), &target)?;
            }
        } else {
            std::fs::copy(entry.path(), &target)
                .with_context(|| format!("copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}
