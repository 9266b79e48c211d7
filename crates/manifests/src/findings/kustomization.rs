//! Faults of a `kustomization.yaml` itself, which do not show in what it renders.

use super::{Code, Finding};

/// Fields that Kustomize gave up, with what took their place.
const DEPRECATED: &[(&str, &str)] = &[
    ("bases", "resources"),
    ("patchesStrategicMerge", "patches"),
    ("patchesJson6902", "patches"),
    ("commonLabels", "labels"),
    ("vars", "replacements"),
    ("imageTags", "images"),
];

/// Every deprecated field and every secret that is written in a kustomization's text.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |code, field: String, message: String, hint: String| {
        findings.push(Finding { code, object: path.to_owned(), field, message, hint });
    };
    for (index, line) in text.lines().enumerate() {
        let place = format!("line {}", index + 1);
        let Some((key, rest)) = line.split_once(':') else { continue };
        if let Some((_, instead)) = DEPRECATED.iter().find(|it| it.0 == key) {
            let message = format!("`{key}` is deprecated");
            find(Code::DeprecatedField, place, message, format!("use `{instead}`"));
        } else if key.trim_start_matches([' ', '-']) == "env" && !rest.trim().is_empty() {
            let message = "`env` of a generator is deprecated".to_owned();
            find(Code::DeprecatedField, place, message, "use `envs`".to_owned());
        } else if key == "secretGenerator" {
            let message = "makes a Secret out of files in git".to_owned();
            let hint = "let a Job in the cluster make it".to_owned();
            find(Code::SecretInTheOpen, place, message, hint);
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deprecated_fields_and_generated_secrets_are_named_with_their_line() {
        let text = "bases:\n  - ../base\nconfigMapGenerator:\n  - name: a\n    env: params.env\n\
                    secretGenerator:\n  - name: s\n";
        let found: Vec<_> =
            check("k.yaml", text).iter().map(|it| format!("{} {}", it.field, it.code)).collect();
        assert_eq!(
            found,
            ["line 1 deprecated-field", "line 5 deprecated-field", "line 6 secret-in-the-open"]
        );
    }

    #[test]
    fn a_modern_kustomization_has_no_findings() {
        let text =
            "resources:\n  - ../base\npatches:\n  - patch: |-\n      env:\n        - name: A\n";
        assert_eq!(check("k.yaml", text), []);
    }
}
