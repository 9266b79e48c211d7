//! When a binding holds: the part of Google's expression language that can be evaluated here.

use serde::{Deserialize, Serialize};

/// A binding's condition, in Google's JSON shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Condition {
    /// What people call it.
    #[serde(default)]
    pub title: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The expression, such as `resource.name.startsWith("projects/_/buckets/b/objects/runs/")`.
    pub expression: String,
}

/// An expression that was read and can be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression;

/// What an expression can ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `resource.name`, without the service in front.
    pub resource_name: &'a str,
    /// `resource.type`.
    pub resource_type: &'a str,
    /// `resource.service`.
    pub resource_service: &'a str,
    /// `request.time`, in seconds since 1970.
    pub now: i64,
}

/// Why a condition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Not an expression.
    #[error("{0}")]
    Syntax(String),
}

impl Condition {
    /// The expression, or why it cannot be evaluated.
    pub fn check(&self) -> Result<Expression, ConditionError> {
        Err(ConditionError::Syntax(self.expression.clone()))
    }
}

impl Expression {
    /// Whether it is true of these attributes.
    pub fn holds(&self, _attributes: &Attributes<'_>) -> bool {
        false
    }
}
