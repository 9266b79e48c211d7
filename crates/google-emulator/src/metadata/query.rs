//! What the part after the question mark asks for.

use percent_encoding::percent_decode_str;
use std::{collections::BTreeSet, time::Duration};

/// The scopes of a token for which the caller asked none: those of a GKE node pool by default.
pub(crate) const DEFAULT_SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
];
/// More scopes than any client asks for; what is above is cut off, so that nobody can ask for
/// thousands of them again and again.
const MOST_SCOPES: usize = 64;
/// The longest that a change is waited for when the caller names no time.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

/// The parameters that the metadata server knows. Others are disregarded, as on Compute Engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// The whole directory at once.
    pub(crate) recursive: bool,
    /// `alt=text` or `alt=json`; a value is text otherwise, a whole directory JSON.
    pub(crate) form: Option<Form>,
    /// Answer when the value has changed, and not before.
    pub(crate) wait_for_change: bool,
    /// What the caller has seen last; when it is outdated, there is nothing to wait for.
    pub(crate) last_etag: Option<String>,
    /// How long to wait at most.
    pub(crate) timeout: Option<Duration>,
    /// Of an access token.
    pub(crate) scopes: BTreeSet<String>,
    /// Of an identity token.
    pub(crate) audience: Option<String>,
    /// Text for a caller who asked for something that cannot be.
    pub(crate) mistake: Option<&'static str>,
}

impl Query {
    /// Reads it. Never fails: what cannot be read is said in [`Query::mistake`].
    pub(crate) fn parse(text: &str) -> Query {
        let mut query = Query::default();
        for pair in text.split('&').filter(|it| !it.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            query.take(&decode(name), decode(value));
        }
        query
    }

    fn take(&mut self, name: &str, value: String) {
        match name {
            "recursive" => self.recursive = value.eq_ignore_ascii_case("true"),
            "wait_for_change" => self.wait_for_change = value.eq_ignore_ascii_case("true"),
            "alt" => match value.as_str() {
                "json" => self.form = Some(Form::Json),
                "text" => self.form = Some(Form::Text),
                _ => self.mistake = Some("Invalid value for parameter `alt`"),
            },
            "last_etag" => self.last_etag = Some(value),
            "timeout_sec" => match value.parse::<u64>() {
                Ok(seconds) => self.timeout = Some(Duration::from_secs(seconds).min(LONGEST_WAIT)),
                Err(_) => self.mistake = Some("Invalid value for parameter `timeout_sec`"),
            },
            "scopes" => {
                let scopes = value.split(',').map(str::trim).filter(|it| !it.is_empty());
                let free = MOST_SCOPES.saturating_sub(self.scopes.len());
                self.scopes.extend(scopes.map(str::to_owned).take(free));
            }
            "audience" => self.audience = Some(value.trim().to_owned()).filter(|it| !it.is_empty()),
            _ => {}
        }
    }

    /// The scopes of the token that is asked for, sorted, without doubles.
    pub(crate) fn token_scopes(&self) -> Vec<String> {
        if self.scopes.is_empty() {
            return DEFAULT_SCOPES.map(str::to_owned).to_vec();
        }
        self.scopes.iter().cloned().collect()
    }

    /// How long a change is waited for.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.timeout.unwrap_or(LONGEST_WAIT)
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_clients_write_them() {
        let it = Query::parse("recursive=true&alt=text&scopes=b%2Ca,a&audience=https%3A%2F%2Fx");
        assert!(it.recursive);
        assert_eq!(it.form, Some(Form::Text));
        assert_eq!(it.token_scopes(), ["a", "b"]);
        assert_eq!(it.audience.as_deref(), Some("https://x"));
        assert!(Query::parse("recursive=True").recursive);
        assert!(!Query::parse("recursive=1&recursive=false").recursive);
    }

    #[test]
    fn no_scopes_are_the_default_scopes() {
        assert_eq!(Query::parse("").token_scopes(), DEFAULT_SCOPES);
        assert_eq!(Query::parse("scopes=").token_scopes(), DEFAULT_SCOPES);
        assert_eq!(Query::parse("scopes=,%20,").token_scopes(), DEFAULT_SCOPES);
    }

    #[test]
    fn a_parameter_that_cannot_be_is_told() {
        assert_eq!(Query::parse("alt=xml").mistake, Some("Invalid value for parameter `alt`"));
        assert!(Query::parse("timeout_sec=-1").mistake.is_some());
        assert_eq!(Query::parse("timeout_sec=99999999").longest_wait(), LONGEST_WAIT);
    }

    #[test]
    fn scopes_are_limited() {
        let many: Vec<String> = (0..1000).map(|it| it.to_string()).collect();
        let text = format!("scopes={}&scopes={}", many.join(","), many.join(","));
        assert_eq!(Query::parse(&text).scopes.len(), MOST_SCOPES);
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_without_panic(text in ".*") {
            let query = Query::parse(&text);
            assert!(query.token_scopes().len() <= MOST_SCOPES);
        }
    }
}
