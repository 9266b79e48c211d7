//! Everything that is wrong with a bundle, found before a cluster sees it.
//!
//! Each check is a function that takes the bundle and returns all it finds.

use std::fmt;

use serde::Serialize;

use crate::{Bundle, Object, ObjectId};

mod access;
mod images;
pub mod kustomization;
mod order;
mod pod_security;
mod references;
mod resources;
mod secrets;
mod values;

/// What kind of fault a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// An object needs another that nobody provides.
    DanglingReference,
    /// A selector chooses nothing.
    EmptySelector,
    /// A value is still to be written.
    Placeholder,
    /// The bucket is somebody else's.
    ForeignBucket,
    /// A Cloud SQL instance is written with dots.
    DottedInstance,
    /// A password, key or token stands in a manifest.
    SecretInTheOpen,
    /// An image may be another one tomorrow.
    UnpinnedImage,
    /// An image is past its end of life.
    RetiredImage,
    /// Pod Security `restricted` would refuse the pod, or is not enforced.
    PodSecurity,
    /// A container may write to its image.
    WritableRoot,
    /// A container does not say what it needs.
    MissingResources,
    /// A Service is reachable from outside of the cluster.
    Exposure,
    /// A database is reachable by every pod.
    OpenDatabase,
    /// A pod that uses Google has no Google identity.
    MissingIdentity,
    /// A kind or version that the API server does not know.
    UnservedKind,
    /// A pod is called ready when it is not.
    BlindProbe,
    /// Something starts before what it needs.
    Order,
    /// An argument that the program cannot take.
    MalformedArgument,
    /// A field of a kustomization that Kustomize gave up.
    DeprecatedField,
}

/// One fault: what, where, and how to put it right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What kind of fault.
    pub code: Code,
    /// The object, or the file.
    pub object: String,
    /// The field in it.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Finding {
    fn new(
        code: Code,
        object: &ObjectId,
        field: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Finding {
        Finding {
            code,
            object: object.to_string(),
            field: field.into(),
            message: message.into(),
            hint: hint.into(),
        }
    }

    fn of(code: Code, object: &Object, field: &str, message: String, hint: &str) -> Finding {
        Finding::new(code, &object.id, field, message, hint)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One spelling, serde's, for people and for programs.
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => f.write_str(&name),
            _ => write!(f, "{self:?}"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {} [{}]\nhint: {}",
            self.object, self.field, self.message, self.code, self.hint
        )
    }
}

/// Every fault of a bundle, in the order of the objects' names.
pub fn check(bundle: &Bundle) -> Vec<Finding> {
    let checks: &[fn(&Bundle) -> Vec<Finding>] = &[
        references::check,
        values::check,
        secrets::check,
        images::check,
        pod_security::check,
        resources::check,
        access::check,
        order::check,
    ];
    let mut findings: Vec<Finding> = checks.iter().flat_map(|it| it(bundle)).collect();
    findings.sort_by(|a, b| (&a.object, a.code, &a.field).cmp(&(&b.object, b.code, &b.field)));
    findings.dedup();
    findings
}
