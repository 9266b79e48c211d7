//! What a verdict rests on, so that its first line names the object, the field and the fix.

use std::fmt;

/// Why something is not well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// The object it was seen on, as kubectl takes it: `pod/mlflow-7d4b-x`.
    pub object: String,
    /// The container in question.
    pub container: Option<String>,
    /// The field of the manifest to look at, such as `image` or `resources.limits.memory`.
    pub field: Option<String>,
    /// One word, Kubernetes' own where there is one.
    pub reason: String,
    /// One line for people.
    pub message: String,
    /// The exit code of the last run.
    pub exit_code: Option<i64>,
    /// The last lines of its log, when somebody has fetched them.
    pub log: Vec<String>,
    /// The next command to type, or the next thing to do.
    pub hint: String,
}

impl Cause {
    /// A cause with its object, its word and its line.
    pub fn new(
        object: impl Into<String>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Cause {
        Cause {
            object: object.into(),
            reason: reason.into(),
            message: message.into(),
            ..Cause::default()
        }
    }

    pub(super) fn container(self, name: &str) -> Cause {
        Cause { container: Some(name.to_owned()), ..self }
    }

    pub(super) fn field(self, field: &str) -> Cause {
        Cause { field: Some(field.to_owned()), ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Cause {
        Cause { hint: hint.into(), ..self }
    }

    /// The name of the pod, when the object is one.
    pub fn pod(&self) -> Option<&str> {
        self.object.strip_prefix("pod/")
    }
}

impl fmt::Display for Cause {
    /// One line, without the log and the hint, which are lines of their own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if let Some(container) = &self.container {
            write!(f, " container {container}")?;
        }
        if let Some(field) = &self.field {
            write!(f, " field {field}")?;
        }
        write!(f, ": {}", self.reason)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}
