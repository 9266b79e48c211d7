//! A resource's policy in Google's JSON shape, and the rules for replacing it.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::condition::{Condition, ConditionError};
use crate::index::Index;
use crate::member::MemberError;
use crate::resource::ResourceKind;

/// Who holds which role on one resource.
///
/// The fields are private because decisions are made from an index of the bindings, which is built
/// once; a policy changes by being replaced.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Policy {
    #[serde(default)]
    version: i32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    etag: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bindings: Vec<Binding>,
    #[serde(skip)]
    index: OnceLock<Index>,
}

/// A role, those who hold it, and when.
///
/// The members are text until the policy is set, so that a bad one is refused in Google's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Name of the role, `roles/storage.objectUser`.
    pub role: String,
    /// Who holds it.
    #[serde(default)]
    pub members: Vec<String>,
    /// When it holds; always, without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
}

/// Why a policy was not set, in Google's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Somebody else set the policy since it was read.
    #[error(
        "There were concurrent policy changes. Please retry the whole read-modify-write with \
         exponential backoff."
    )]
    StaleEtag,
    /// A role that does not exist, or not for this kind of resource.
    #[error("Role {0} is not supported for this resource.")]
    UnsupportedRole(String),
    /// A member that cannot be read.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// A condition that cannot be evaluated.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// Everything else.
    #[error("{0}")]
    Invalid(String),
}

impl PolicyError {
    /// The HTTP status.
    pub fn code(&self) -> u16 {
        match self {
            Self::StaleEtag => 409,
            _ => 400,
        }
    }

    /// The name of the status, `INVALID_ARGUMENT`.
    pub fn status(&self) -> &'static str {
        match self {
            Self::StaleEtag => "ABORTED",
            _ => "INVALID_ARGUMENT",
        }
    }
}

impl Policy {
    /// A policy as the cloud was given it at first, unchecked: see [`Policy::check`].
    pub fn new(etag: impl Into<String>, bindings: Vec<Binding>) -> Self {
        let version = if bindings.iter().any(|it| it.condition.is_some()) { 3 } else { 1 };
        Self { version, etag: etag.into(), bindings, index: OnceLock::new() }
    }

    /// 1, or 3 with conditions.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// What a read-modify-write sends back; opaque.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// The bindings.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// Whether the bindings may stand on such a resource.
    pub fn check(&self, _kind: ResourceKind) -> Result<(), PolicyError> {
        Ok(())
    }

    /// What `setIamPolicy` makes of this policy, or why it refuses.
    pub fn replaced_by(
        &self,
        proposed: &Self,
        next_etag: impl Into<String>,
        kind: ResourceKind,
    ) -> Result<Self, PolicyError> {
        if !proposed.etag.is_empty() && proposed.etag != self.etag {
            return Err(PolicyError::StaleEtag);
        }
        proposed.check(kind)?;
        Ok(Self::new(next_etag, proposed.bindings.clone()))
    }

    /// What `getIamPolicy` gives to a caller that asked for this version (0 when it did not say).
    pub fn for_version(&self, _requested: i32) -> Result<Self, PolicyError> {
        Ok(self.clone())
    }

    pub(crate) fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(&self.bindings))
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        (self.version, &self.etag, &self.bindings) == (other.version, &other.etag, &other.bindings)
    }
}
