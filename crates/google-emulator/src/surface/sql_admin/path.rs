//! What a request's path and query ask for.

use percent_encoding::percent_decode_str;

/// A project and what is meant in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) project: String,
    pub(super) target: Target,
}

/// Instances come first in each variant that has one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Instances,
    Instance(String),
    /// `connectSettings`, `restart`, …, behind a slash or a colon.
    Verb(String, String),
    Databases(String),
    Database(String, String),
    Users(String),
    User(String, String),
    Operations,
    Operation(String),
}

/// Both addresses of the API: `/sql/v1beta4/…` of the older clients and `/v1/…` of the newer.
pub(super) fn parse(path: &str) -> Option<Place> {
    let rest = ["/sql/v1beta4/", "/sql/v1/", "/v1beta4/", "/v1/"]
        .into_iter()
        .find_map(|it| path.strip_prefix(it))?;
    let parts: Vec<String> = rest.split('/').map(decoded).collect::<Option<_>>()?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let ["projects", project, parts @ ..] = parts.as_slice() else { return None };
    if project.is_empty() {
        return None;
    }
    Some(Place { project: (*project).to_owned(), target: target(parts)? })
}

fn target(parts: &[&str]) -> Option<Target> {
    let own = |it: &&str| (*it).to_owned();
    Some(match parts {
        ["instances"] => Target::Instances,
        ["instances", name] => match name.rsplit_once(':') {
            Some((name, verb)) => Target::Verb(name.to_owned(), verb.to_owned()),
            None => Target::Instance(own(name)),
        },
        ["instances", instance, "databases"] => Target::Databases(own(instance)),
        ["instances", instance, "databases", name] => Target::Database(own(instance), own(name)),
        ["instances", instance, "users"] => Target::Users(own(instance)),
        ["instances", instance, "users", name] => Target::User(own(instance), own(name)),
        ["instances", instance, verb] => Target::Verb(own(instance), own(verb)),
        ["operations"] => Target::Operations,
        ["operations", name] => Target::Operation(own(name)),
        _ => return None,
    })
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

/// Lower-case letters, digits and hyphens, a letter first (documentation of instance settings).
pub(super) fn is_instance_name(name: &str) -> bool {
    name.len() <= 98
        && name.starts_with(|it: char| it.is_ascii_lowercase())
        && name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-')
        && !name.ends_with('-')
}

/// The query of a request.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn new(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(&value.replace('+', " "))?))
        });
        Self(pairs.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// One page of rows, and the token of the next. The token is the name of the last row.
    pub(super) fn page<T>(&self, rows: Vec<(String, T)>) -> (Vec<T>, Option<String>) {
        let most = self.get("maxResults").and_then(|it| it.parse().ok()).filter(|it| *it > 0);
        let most: usize = most.unwrap_or(500).min(1000);
        let after = self.get("pageToken").filter(|it| !it.is_empty());
        let mut rest = rows
            .into_iter()
            .skip_while(|(name, _)| after.is_some_and(|after| name.as_str() <= after));
        let page: Vec<(String, T)> = rest.by_ref().take(most).collect();
        let more = rest.next().is_some();
        let token = page.last().filter(|_| more).map(|(name, _)| name.clone());
        (page.into_iter().map(|(_, row)| row).collect(), token)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_read_in_both_versions() {
        let target = |path: &str| parse(path).map(|it| it.target);
        for base in ["/sql/v1beta4", "/v1"] {
            assert_eq!(
                target(&format!("{base}/projects/p/instances/i/databases/a%2Fb")),
                Some(Target::Database("i".into(), "a/b".into()))
            );
            assert_eq!(
                target(&format!("{base}/projects/p/instances/i:generateEphemeralCert")),
                Some(Target::Verb("i".into(), "generateEphemeralCert".into()))
            );
        }
        let place = parse("/sql/v1beta4/projects/example.com:p/instances/i/connectSettings");
        assert_eq!(place.unwrap().project, "example.com:p");
        assert_eq!(parse("/sql/v1beta4/flags"), None);
        assert_eq!(parse("/sql/v1beta4/projects//instances"), None);
    }

    #[test]
    fn names_of_instances_follow_googles_rules() {
        for right in ["mlflow", "a", "a-1"] {
            assert!(is_instance_name(right), "{right}");
        }
        for wrong in ["", "Mlflow", "1a", "a_b", "a-", "mlflow\r", "../x"] {
            assert!(!is_instance_name(wrong), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn pages_together_are_all_rows(count in 0_usize..40, most in 1_usize..9) {
            let rows: Vec<(String, usize)> = (0..count).map(|it| (format!("{it:03}"), it)).collect();
            let (mut seen, mut token) = (Vec::new(), None::<String>);
            loop {
                let text = format!("maxResults={most}&pageToken={}", token.unwrap_or_default());
                let (page, next) = Query::new(Some(&text)).page(rows.clone());
                seen.extend(page);
                token = next;
                if token.is_none() { break; }
            }
            prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }

        #[test]
        fn no_path_makes_it_panic(path in "/(sql/v1beta4|v1)/[ -~]{0,60}") {
            let _ = parse(&path);
        }
    }
}
