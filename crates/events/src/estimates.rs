//! How long each step took last time on this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Durations by step name, kept in one small file. A file that is missing or unreadable is no
/// estimate, never an error: nothing but a progress bar hangs on it.
#[derive(Debug)]
pub struct Estimates {
    file: PathBuf,
    known_ms: BTreeMap<String, u64>,
}

impl Estimates {
    /// Reads the file; `built_in` are figures for a machine that has none yet.
    #[must_use]
    pub fn load(file: PathBuf, built_in: &[(&str, u64)]) -> Self {
        let mut known_ms: BTreeMap<String, u64> =
            built_in.iter().map(|(step, ms)| ((*step).to_owned(), *ms)).collect();
        let stored = std::fs::read_to_string(&file).unwrap_or_default();
        let stored: BTreeMap<String, u64> = serde_json::from_str(&stored).unwrap_or_default();
        known_ms.extend(stored);
        Self { file, known_ms }
    }

    /// What the step took last time.
    #[must_use]
    pub fn of(&self, step: &str) -> Option<Duration> {
        self.known_ms.get(step).copied().map(Duration::from_millis)
    }

    /// Remembers what a step took, when that is worth an estimate (a second or more).
    pub fn record(&mut self, step: &str, took: Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if ms < 1000 || self.known_ms.get(step) == Some(&ms) {
            return;
        }
        self.known_ms.insert(step.to_owned(), ms);
        let temporary = self.file.with_extension(format!("{}.tmp", std::process::id()));
        let text = serde_json::to_string_pretty(&self.known_ms).unwrap_or_default();
        // Two commands may write at once; each renames a whole file of its own into place.
        if std::fs::write(&temporary, text).is_ok() {
            drop(std::fs::rename(&temporary, &self.file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_step_is_known_to_the_next_command() {
        let folder = std::env::temp_dir().join(format!("estimates-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("estimates.json");
        Estimates::load(file.clone(), &[]).record("build", Duration::from_secs(7));
        let again = Estimates::load(file, &[("build", 1), ("other", 2)]);
        assert_eq!(again.of("build"), Some(Duration::from_secs(7)));
        assert_eq!(again.of("other"), Some(Duration::from_millis(2)));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_unreadable_file_is_no_estimate() {
        let estimates = Estimates::load(PathBuf::from("/dev/null/x"), &[]);
        assert_eq!(estimates.of("build"), None);
    }
}
