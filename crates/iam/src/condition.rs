//! When a binding holds: the part of Google's expression language that can be evaluated here.
//!
//! A condition that this module cannot evaluate is refused when it is set. To ignore it would grant
//! what the real cloud denies.

mod parse;
mod time;

use serde::{Deserialize, Serialize};

/// A binding's condition, in Google's JSON shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
pub struct Expression(Node);

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
///
/// The words are ours: what Google's compiler says of an expression is not documented.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Not an expression.
    #[error("Condition expression cannot be read at character {at}: expected {expected}.")]
    Syntax {
        /// Characters before the place.
        at: usize,
        /// What could stand there.
        expected: &'static str,
    },
    /// Google's language knows it, this crate does not.
    #[error(
        "Condition expression uses `{0}`, which is not emulated; resource.name, resource.type and \
         resource.service with ==, !=, in, startsWith and endsWith are, and request.time with <, \
         <=, > and >= timestamp(\"…\")."
    )]
    Unsupported(String),
    /// Longer than Google allows: the numbers are those of its documentation of quotas.
    #[error("Condition {what} is larger than the maximum allowed size {limit}.")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// How much of it is allowed.
        limit: usize,
    },
    /// Google requires a title.
    #[error("Condition title must not be empty.")]
    Untitled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    Text(Attribute, Test),
    Time(Order, time::Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    Name,
    Type,
    Service,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Is(String),
    IsNot(String),
    StartsWith(String),
    EndsWith(String),
    In(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Before,
    NotAfter,
    After,
    NotBefore,
}

const TITLE: usize = 100;
const DESCRIPTION: usize = 256;

impl Condition {
    /// The expression, or why the condition is refused.
    pub fn check(&self) -> Result<Expression, ConditionError> {
        let description = self.description.as_deref().unwrap_or_default();
        if self.title.is_empty() {
            return Err(ConditionError::Untitled);
        }
        if self.title.chars().count() > TITLE {
            return Err(ConditionError::TooLarge { what: "title", limit: TITLE });
        }
        if description.chars().count() > DESCRIPTION {
            return Err(ConditionError::TooLarge { what: "description", limit: DESCRIPTION });
        }
        self.expression.parse()
    }
}

impl std::str::FromStr for Expression {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        parse::expression(text).map(Self)
    }
}

impl Expression {
    /// Whether it is true of these attributes.
    pub fn holds(&self, attributes: &Attributes<'_>) -> bool {
        self.0.holds(attributes)
    }
}

impl Node {
    fn holds(&self, attributes: &Attributes<'_>) -> bool {
        match self {
            Self::Any(nodes) => nodes.iter().any(|it| it.holds(attributes)),
            Self::All(nodes) => nodes.iter().all(|it| it.holds(attributes)),
            Self::Not(node) => !node.holds(attributes),
            Self::Text(attribute, test) => test.holds(match attribute {
                Attribute::Name => attributes.resource_name,
                Attribute::Type => attributes.resource_type,
                Attribute::Service => attributes.resource_service,
            }),
            Self::Time(order, then) => {
                let now = time::Instant::at(attributes.now);
                match order {
                    Order::Before => now < *then,
                    Order::NotAfter => now <= *then,
                    Order::After => now > *then,
                    Order::NotBefore => now >= *then,
                }
            }
        }
    }
}

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Is(text) => value == text,
            Self::IsNot(text) => value != text,
            Self::StartsWith(text) => value.starts_with(text.as_str()),
            Self::EndsWith(text) => value.ends_with(text.as_str()),
            Self::In(texts) => texts.iter().any(|it| it == value),
        }
    }
}
