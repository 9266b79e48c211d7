//! Containers that do not say what they need: the scheduler guesses, and neighbours pay.

use crate::{Bundle, Code, Finding, pods};

pub(super) fn check(bundle: &Bundle) -> Vec<Finding> {
    let mut findings = Vec::new();
    for template in pods::templates(bundle) {
        for container in template.containers() {
            for (kind, name) in [
                ("requests", "cpu"),
                ("requests", "memory"),
                ("limits", "cpu"),
                ("limits", "memory"),
            ] {
                let found = container.value.pointer(&format!("/resources/{kind}/{name}"));
                if found.is_none() {
                    let field = format!("{}.resources.{kind}.{name}", container.path);
                    let message = "is missing".to_owned();
                    let hint = "write what was measured, with room to spare";
                    let code = Code::MissingResources;
                    findings.push(Finding::of(code, template.object, &field, message, hint));
                }
            }
        }
    }
    findings
}
