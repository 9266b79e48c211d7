//! What libFuzzer says of its run.

/// Lines before its report that tell which promise was broken.
const LAST_WORDS: usize = 8;

/// A run's figures, and its finding.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Inputs that were tried.
    executions: u64,
    /// Of them in a second.
    executions_per_second: u64,
    /// Edges between basic blocks that some input took.
    edges: u64,
    /// Inputs that each took a way of their own.
    corpus: u64,
    /// The file with the input that broke a promise.
    pub(super) finding: Option<String>,
    /// Whether its report has begun, which says nothing of the promise.
    reports: bool,
    words: Vec<String>,
}

impl Said {
    /// Takes a line.
    pub(super) fn hear(&mut self, line: &str) {
        if let Some((name, value)) = line.strip_prefix("stat::").and_then(|it| it.split_once(':')) {
            let value = value.trim().parse().unwrap_or(0);
            match name {
                "number_of_executed_units" => self.executions = value,
                "average_exec_per_sec" => self.executions_per_second = value,
                _ => {}
            }
            return;
        }
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.finding = Some(path.trim().to_owned());
        }
        if line.starts_with('#') {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |name| {
                words.iter().position(|it| *it == name).and_then(|at| words.get(at + 1).copied())
            };
            let number = |text: &str| text.split('/').next()?.parse().ok();
            self.edges = after("cov:").and_then(number).unwrap_or(self.edges);
            self.corpus = after("corp:").and_then(number).unwrap_or(self.corpus);
            return;
        }
        self.reports |= line.starts_with("==");
        if !self.reports && !line.trim().is_empty() && !line.starts_with("INFO: ") {
            self.words.push(line.to_owned());
        }
    }

    /// What it was like, in a line.
    pub(super) fn summary(&self) -> String {
        let Self { executions, executions_per_second, edges, corpus, .. } = self;
        let found = if self.finding.is_some() { "1 finding" } else { "no finding" };
        format!(
            "{executions} executions, {executions_per_second} a second; {edges} edges, {corpus} inputs; {found}"
        )
    }

    /// The same for machines.
    pub(super) fn value(&self, target: &str) -> serde_json::Value {
        serde_json::json!({
            "target": target,
            "executions": self.executions,
            "executions_per_second": self.executions_per_second,
            "edges": self.edges,
            "corpus": self.corpus,
            "finding": self.finding,
        })
    }

    /// What was said before the end, without the report.
    pub(super) fn last_words(&self) -> String {
        self.words[self.words.len().saturating_sub(LAST_WORDS)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Said {
        let mut said = Said::default();
        text.lines().for_each(|it| said.hear(it));
        said
    }

    #[test]
    fn a_quiet_run_has_its_figures() {
        let said = heard(
            "INFO: Running with entropic power schedule (0xFF, 100).\n\
             #11\tINITED cov: 120 ft: 130 corp: 4/1Kb exec/s: 0 rss: 40Mb\n\
             #9000\tDONE   cov: 321 ft: 800 corp: 57/9Kb lim: 1024 exec/s: 3000 rss: 60Mb\n\
             stat::number_of_executed_units: 9000\n\
             stat::average_exec_per_sec:     3000\n",
        );
        assert_eq!(
            said.summary(),
            "9000 executions, 3000 a second; 321 edges, 57 inputs; no finding"
        );
        assert_eq!(said.finding, None);
    }

    #[test]
    fn a_finding_has_its_place_and_the_words_of_its_panic() {
        let said = heard(
            "#11\tNEW    cov: 120 ft: 130 corp: 4/1Kb exec/s: 0 rss: 40Mb\n\
             thread '<unnamed>' panicked at policy.rs:1:2:\n\
             assertion failed\n\
             ==7== ERROR: libFuzzer: deadly signal\n\
             artifact_prefix='/x/'; Test unit written to /x/crash-1\n\
             stat::number_of_executed_units: 12\n",
        );
        assert_eq!(said.finding.as_deref(), Some("/x/crash-1"));
        assert_eq!(
            said.last_words(),
            "thread '<unnamed>' panicked at policy.rs:1:2:\nassertion failed"
        );
        assert!(said.summary().ends_with("1 finding"));
    }
}
