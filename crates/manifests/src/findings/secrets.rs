//! Passwords, keys and tokens that stand in a manifest, and so in git.
//!
//! No message repeats the value it is about.

use serde_json::Value;

use super::values::walk;
use crate::{Bundle, Code, Finding, Object, pods};

const HINT: &str = "let a Job in the cluster make it, and refer to the Secret by name";

pub(super) fn check(bundle: &Bundle) -> Vec<Finding> {
    let mut findings: Vec<Finding> = bundle.objects.iter().flat_map(of_object).collect();
    for template in pods::templates(bundle) {
        for container in template.containers() {
            let named = container.literals().into_iter().filter(|it| is_secret_name(it.0));
            findings.extend(named.map(|(name, value)| {
                let field = format!("{}.env[name={name}].value", container.path);
                finding(template.object, field, &kind_of(value, "a literal"))
            }));
            let words: Vec<_> = container.words().collect();
            findings.extend(arguments(&words).map(|it| {
                let field = format!("{}.args", container.path);
                finding(template.object, field, &format!("argument `{it}` carries a secret"))
            }));
        }
    }
    findings
}

fn of_object(object: &Object) -> Vec<Finding> {
    let mut findings = Vec::new();
    let entries = |field: &str| {
        let map = object.value.get(field).and_then(Value::as_object);
        map.into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
    };
    if object.id.kind == "Secret" {
        for field in ["data", "stringData"] {
            findings.extend(entries(field).map(|(key, value)| {
                finding(object, format!("{field}.{key}"), &kind_of(&value, "in the manifest"))
            }));
        }
        return findings;
    }
    if object.id.kind == "ConfigMap" {
        findings.extend(
            entries("data")
                .filter(|it| is_secret_name(&it.0))
                .map(|it| finding(object, format!("data.{}", it.0), "a secret in a ConfigMap")),
        );
    }
    walk(&object.value, "", &mut |path, text| {
        if has_credentials(text) || text.contains("PRIVATE KEY-----") {
            findings.push(finding(object, path.to_owned(), "a secret inside a text"));
        }
    });
    findings
}

fn finding(object: &Object, field: String, message: &str) -> Finding {
    Finding::new(Code::SecretInTheOpen, &object.id, field, message, HINT)
}

fn kind_of(value: &str, otherwise: &str) -> String {
    let kind = if value.is_empty() { "empty" } else { otherwise };
    format!("a secret value, {kind}")
}

/// Whether a variable or a key of this name holds a secret itself, not the place of one.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_uppercase().replace(['-', '.'], "_");
    let last = name.rsplit('_').next().unwrap_or_default();
    let about = ["PASSWORD", "PASSWD", "PGPASSWORD", "SECRET", "TOKEN", "CREDENTIALS"];
    about.contains(&last)
        || ["SECRET_KEY", "PRIVATE_KEY", "API_KEY", "ACCESS_KEY"]
            .iter()
            .any(|it| name.ends_with(it))
}

/// The flags that carry a secret, as `--password=x` or `--password x`, without the value.
fn arguments<'a>(words: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    words.iter().enumerate().filter_map(|(index, word)| {
        let (flag, value) = word.split_once('=').map_or((*word, None), |it| (it.0, Some(it.1)));
        let next = words.get(index + 1).filter(|it| !it.starts_with('-'));
        let is_flag = flag.starts_with('-') && is_secret_name(flag.trim_start_matches('-'));
        (is_flag && (value.is_some() || next.is_some())).then_some(flag)
    })
}

/// `scheme://user:password@host`; `$(NAME)` in place of the password is a reference.
fn has_credentials(text: &str) -> bool {
    text.split_whitespace().any(|word| {
        let Some((_, rest)) = word.split_once("://") else { return false };
        let authority = rest.split(['/', '?']).next().unwrap_or(rest);
        let Some((user, _)) = authority.rsplit_once('@') else { return false };
        user.split_once(':').is_some_and(|it| !it.1.is_empty() && !it.1.starts_with("$("))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_secret_is_not_the_name_of_its_place() {
        for name in
            ["PGPASSWORD", "POSTGRES_PASSWORD", "api-token", "MLFLOW_FLASK_SERVER_SECRET_KEY"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["POSTGRES_PASSWORD_FILE", "SECRET_NAME", "SECRET_NAMESPACE", "PGUSER"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn a_password_in_a_uri_is_seen_and_a_reference_is_not() {
        assert!(has_credentials("postgresql://mlflow:pass@postgres:5432/mlflow"));
        assert!(has_credentials("--backend-store-uri mysql+pymysql://u:p@h/d"));
        assert!(!has_credentials("postgresql://mlflow:$(PASSWORD)@postgres/mlflow"));
        assert!(!has_credentials("http://fake-gcs-server:4443/a@b:c"));
        assert!(!has_credentials("postgresql+psycopg2://"));
    }

    #[test]
    fn a_flag_is_named_without_its_value() {
        let words = ["run", "--password=x", "--token", "y", "--secret", "--port=1"];
        assert_eq!(arguments(&words).collect::<Vec<_>>(), ["--password", "--token"]);
    }
}
