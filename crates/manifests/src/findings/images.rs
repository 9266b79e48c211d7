//! Images that are not one certain build, or one that nobody maintains any more.

use crate::{Bundle, Code, Finding, pods};

/// Images past their end: name, the first version that is not, and what to use.
const RETIRED: &[(&str, &[u32], &str)] = &[
    ("gce-proxy", &[u32::MAX], "the v1 proxy is retired: use cloud-sql-proxy 2"),
    ("cloudsql-proxy", &[u32::MAX], "the v1 proxy is retired: use cloud-sql-proxy 2"),
    ("cloud-sql-proxy", &[2], "the v1 proxy is retired: use cloud-sql-proxy 2"),
    ("mlflow", &[3, 5], "before 3.5 MLflow does not check the Host header: use 3.17"),
    ("postgres", &[14], "PostgreSQL 13 had its last release in November 2025: use 15 or later"),
];

pub(super) fn check(bundle: &Bundle) -> Vec<Finding> {
    let mut findings = Vec::new();
    for template in pods::templates(bundle) {
        for container in template.containers() {
            let field = format!("{}.image", container.path);
            let mut find = |code, message: String, hint: &str| {
                findings.push(Finding::of(code, template.object, &field, message, hint));
            };
            let Some(image) = container.image() else {
                let message = "has no image".to_owned();
                find(Code::UnpinnedImage, message, "name one in the overlay");
                continue;
            };
            if image.digest.is_none() && matches!(image.tag, None | Some("latest" | "")) {
                let message = format!("`{}` means another image tomorrow", image.name);
                find(Code::UnpinnedImage, message, "write the tag of one build, or a digest");
            }
            if let Some(hint) = image.tag.and_then(|tag| retired(image.name, tag)) {
                let message = format!("`{}` is past its end of life", image.name);
                find(Code::RetiredImage, message, hint);
            }
        }
    }
    findings
}

fn retired(name: &str, tag: &str) -> Option<&'static str> {
    let (_, least, hint) = RETIRED.iter().find(|it| it.0 == name)?;
    // A content hash or `dev` has no version to judge.
    let version: Vec<u32> =
        tag.trim_start_matches('v').split(['.', '-']).map_while(|it| it.parse().ok()).collect();
    let dotted = tag.contains('.') || tag.len() <= 2;
    (dotted && !version.is_empty() && version.as_slice() < *least).then_some(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers_and_hashes_are_not_versions() {
        for (name, tag) in [
            ("mlflow", "2.4.0"),
            ("mlflow", "v3.4.1"),
            ("postgres", "13"),
            ("postgres", "13.3-alpine"),
            ("gce-proxy", "1.25.0-alpine"),
        ] {
            assert!(retired(name, tag).is_some(), "{name}:{tag}");
        }
        for (name, tag) in [
            ("mlflow", "3.17.2"),
            ("mlflow", "dev"),
            ("mlflow", "1234567890ab"),
            ("postgres", "15"),
            ("cloud-sql-proxy", "2.27.0"),
            ("other", "0.1"),
        ] {
            assert!(retired(name, tag).is_none(), "{name}:{tag}");
        }
    }
}
