//! A script of cases, and what it says about each.

use anyhow::Context as _;
use serde_json::Value;

/// A script of `tests/google/clients`.
pub struct Script {
    /// What it judges, as the page of cases names it.
    pub surface: &'static str,
    /// The file, and the arguments after it.
    pub words: &'static [&'static str],
    /// Who a client is, by the beginning of a case's name; the empty beginning is the rest's.
    pub clients: &'static [(&'static str, &'static str)],
}

impl Script {
    /// The last file among the words, without its ending: the script that has the cases.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.words.last().map_or("", |it| it.trim_end_matches(".py"))
    }

    /// Who asks in a case, and the case without that.
    pub(super) fn client<'a>(&self, case: &'a Case) -> (&'static str, &'a str) {
        let asked = case.client.as_deref().unwrap_or(&case.name);
        let found = self.clients.iter().find(|(part, _)| asked.starts_with(part));
        let Some((part, client)) = found else { return ("", &case.name) };
        (client, case.name.strip_prefix(part).unwrap_or(&case.name))
    }
}

/// A case that ran: one line of JSON.
pub(super) struct Case {
    pub(super) name: String,
    client: Option<String>,
    is_good: bool,
    detail: String,
}

impl Case {
    /// All cases of a script's output; something else in it is an error.
    pub(super) fn parse(text: &str) -> anyhow::Result<Vec<Self>> {
        let cases = text.lines().map(|line| {
            let row: Value = serde_json::from_str(line).with_context(|| format!("`{line}`"))?;
            let text = |key: &str| row[key].as_str().map(str::to_owned);
            let name = text("name").or_else(|| text("case")).context("a case has a name")?;
            Ok(Self {
                name,
                client: text("client"),
                is_good: row["ok"].as_bool().context("a case is good or bad")?,
                detail: text("detail").unwrap_or_default(),
            })
        });
        cases.collect()
    }

    /// What is wrong, unless all is well.
    pub(super) fn failure(&self) -> Option<String> {
        (!self.is_good).then(|| format!("  {}: {}", self.name, self.detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: Script = Script {
        surface: "it",
        words: &["lab.py", "it.py"],
        clients: &[("go_", "Go"), ("https", "HTTPS"), ("", "curl")],
    };

    #[test]
    fn a_case_has_its_client_by_name_or_by_its_own_word() {
        let text = r#"{"name": "go_a", "ok": true}
{"case": "b", "client": "https", "ok": false, "detail": "why"}
{"name": "c", "ok": true, "detail": "12 ms"}"#;
        let cases = Case::parse(text).unwrap();
        let found: Vec<_> = cases.iter().map(|it| SCRIPT.client(it)).collect();
        assert_eq!(found, [("Go", "a"), ("HTTPS", "b"), ("curl", "c")]);
        let failures: Vec<_> = cases.iter().filter_map(Case::failure).collect();
        assert_eq!(failures, ["  b: why"]);
        assert_eq!(SCRIPT.name(), "it");
    }

    #[test]
    fn a_line_that_is_no_case_is_not_passed_over() {
        assert!(Case::parse("{\"name\": \"a\"}").is_err());
        assert!(Case::parse("Traceback").is_err());
        assert!(Case::parse("").unwrap().is_empty());
    }
}
