//! What goes wrong on purpose, because a test asked for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

/// A rule: the next `times` calls that match meet the fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Host, or any.
    #[serde(default)]
    pub host: Option<String>,
    /// Beginning of the path, or any.
    #[serde(default)]
    pub path: Option<String>,
    /// HTTP method, or any.
    #[serde(default)]
    pub method: Option<String>,
    /// How many calls still meet it.
    #[serde(default = "once")]
    pub times: u32,
    /// What they meet.
    pub fault: Fault,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// The call waits, and is served then.
    Latency {
        /// For this long.
        milliseconds: u64,
    },
    /// The connection is closed without an answer.
    Reset {},
    /// The call is answered with an error in the form of its API.
    Status {
        /// 429, 503, …
        code: u16,
        /// The words; Google's usual ones when empty.
        #[serde(default)]
        message: String,
    },
}

impl Fault {
    /// The time to wait, if it is about that.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        match self {
            Self::Latency { milliseconds } => Some(Duration::from_millis(*milliseconds)),
            _ => None,
        }
    }

    /// Whether the rule makes sense; the reason when not.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Latency { milliseconds } if *milliseconds > 600_000 => {
                Err("a latency is at most 600000 milliseconds".to_owned())
            }
            Self::Status { code, .. } => match StatusCode::from_u16(*code) {
                Ok(status) if status.is_client_error() || status.is_server_error() => Ok(()),
                _ => Err(format!("`{code}` is not the status of an error")),
            },
            _ => Ok(()),
        }
    }
}

fn once() -> u32 {
    1
}

/// The rules that are in force. They are not kept over a restart.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Rule>>);

impl Faults {
    /// Adds a rule behind the others.
    pub fn add(&self, rule: Rule) {
        self.rules().push(rule);
    }

    /// Ends all of them.
    pub fn clear(&self) {
        self.rules().clear();
    }

    /// The rules that are left.
    #[must_use]
    pub fn list(&self) -> Vec<Rule> {
        self.rules().clone()
    }

    /// The fault that this call meets: of the first rule that matches, which counts it.
    #[must_use]
    pub fn meet(&self, host: &str, path: &str, method: &Method) -> Option<Fault> {
        let mut rules = self.rules();
        let matches = |rule: &Rule| {
            rule.host.as_ref().is_none_or(|it| it == host)
                && rule.path.as_ref().is_none_or(|it| path.starts_with(it))
                && rule.method.as_ref().is_none_or(|it| it.eq_ignore_ascii_case(method.as_str()))
        };
        let at = rules.iter().position(|rule| rule.times > 0 && matches(rule))?;
        let fault = rules[at].fault.clone();
        rules[at].times -= 1;
        rules.retain(|rule| rule.times > 0);
        Some(fault)
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Vec<Rule>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_meets_the_calls_that_match_and_no_more_than_it_says() {
        let faults = Faults::default();
        let rule = r#"{"host":"h","path":"/a","times":2,"fault":{"status":{"code":503}}}"#;
        faults.add(serde_json::from_str(rule).unwrap());
        let meet = |host, path| faults.meet(host, path, &Method::GET).is_some();
        assert_eq!([meet("x", "/a"), meet("h", "/b")], [false, false]);
        assert_eq!([meet("h", "/a/1"), meet("h", "/a"), meet("h", "/a")], [true, true, false]);
        assert_eq!(faults.list(), []);
    }
}
