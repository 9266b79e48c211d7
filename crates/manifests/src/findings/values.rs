//! Values that somebody forgot to write, or wrote in the wrong form.

use serde_json::Value;

use crate::{
    Bundle, Code, Finding, Object,
    settings::{self, placeholder},
};

pub(super) fn check(bundle: &Bundle) -> Vec<Finding> {
    bundle.objects.iter().flat_map(of_object).collect()
}

fn of_object(object: &Object) -> Vec<Finding> {
    let mut findings = Vec::new();
    walk(&object.value, "", &mut |path, text| findings.extend(judge(object, path, text)));
    findings
}

fn judge(object: &Object, path: &str, text: &str) -> Option<Finding> {
    // `$(NAME)` is Kubernetes' own expansion, scripts have `$NAME`: only whole words count there.
    let is_script = text.contains('\n') || text.contains("$(");
    if let Some(word) = placeholder(text).filter(|it| !is_script || !it.starts_with(['$', '<'])) {
        let message = format!("still holds the placeholder `{word}`");
        let hint = "write your own value in the environment's .env files";
        return Some(Finding::of(Code::Placeholder, object, path, message, hint));
    }
    if settings::foreign_bucket(text) {
        let message = format!("`{text}` is a bucket of somebody else");
        let hint =
            "write your own bucket as DEFAULT_ARTIFACT_ROOT in deploy/mlflow/base/config.env";
        return Some(Finding::of(Code::ForeignBucket, object, path, message, hint));
    }
    // The v1 proxy takes `-instances=INSTANCE=tcp:PORT`.
    let instance = text.split('=').find_map(|it| settings::undotted(it).map(|fixed| (it, fixed)));
    instance.map(|(dotted, fixed)| {
        let message = format!("`{dotted}` has dots, which the proxy takes for a host name");
        Finding::new(Code::DottedInstance, &object.id, path, message, format!("write {fixed}"))
    })
}

/// Calls `each` with the path and the text of every string in a value.
pub(super) fn walk(value: &Value, path: &str, each: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => each(path, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let place = match item.get("name").and_then(Value::as_str) {
                    Some(name) => format!("{path}[name={name}]"),
                    None => format!("{path}[{index}]"),
                };
                walk(item, &place, each);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields {
                let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(item, &place, each);
            }
        }
        _ => {}
    }
}
