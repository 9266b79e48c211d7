//! A resource's policy in Google's JSON shape, and the rules for replacing it.

mod error;
mod rules;

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::index::Index;
use crate::resource::ResourceKind;

pub use error::PolicyError;

/// Who holds which role on one resource.
///
/// The fields are private because decisions are made from an index of the bindings, which is built
/// once; a policy changes by being [replaced](Policy::replaced_by).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Policy {
    #[serde(default, skip_serializing_if = "is_unset")]
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

/// The version that knows conditions.
const CONDITIONAL: i32 = 3;

impl Policy {
    /// A policy from a trusted place, such as a journal: nothing is checked. A role, a member or a
    /// condition that cannot be read grants nothing.
    pub fn new(etag: impl Into<String>, bindings: Vec<Binding>) -> Self {
        let conditional = bindings.iter().any(|it| it.condition.is_some());
        let version = if conditional { CONDITIONAL } else { 1 };
        Self { version, etag: etag.into(), bindings, index: OnceLock::new() }
    }

    /// As it was written by a caller: with the version and the etag that the caller claims.
    pub fn proposed(version: i32, etag: impl Into<String>, bindings: Vec<Binding>) -> Self {
        Self { version, etag: etag.into(), bindings, index: OnceLock::new() }
    }

    /// 1, or 3 with conditions; 0 where nobody said.
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

    /// Whether these bindings may stand on such a resource, and if not, why.
    pub fn check(&self, kind: ResourceKind) -> Result<(), PolicyError> {
        rules::check(&self.bindings, kind)
    }

    /// What `setIamPolicy` makes of this policy, or why it refuses.
    ///
    /// Without an etag the old policy is overwritten, whatever it was. Whether users, groups and
    /// service accounts exist is for the caller to check: see [`PolicyError::Missing`].
    pub fn replaced_by(
        &self,
        proposed: &Self,
        next_etag: impl Into<String>,
        kind: ResourceKind,
    ) -> Result<Self, PolicyError> {
        rules::check_version(self, proposed)?;
        if !proposed.etag.is_empty() && proposed.etag != self.etag {
            return Err(PolicyError::StaleEtag);
        }
        proposed.check(kind)?;
        rules::check_deleted(&self.bindings, &proposed.bindings)?;
        Ok(Self::new(next_etag, rules::tidy(&proposed.bindings)))
    }

    /// What `getIamPolicy` gives to a caller that asked for this version (0 when it did not say).
    ///
    /// A version below 3 cannot show conditions. Google then leaves them out and marks the role,
    /// `roles/viewer_withcond_…`, so that nobody takes the binding for an unconditional one.
    pub fn for_version(&self, requested: i32) -> Result<Self, PolicyError> {
        rules::check_known_version(requested)?;
        let conditional = self.bindings.iter().any(|it| it.condition.is_some());
        if requested >= CONDITIONAL || !conditional {
            return Ok(self.clone());
        }
        let bindings = self.bindings.iter().map(rules::without_condition).collect();
        Ok(Self::proposed(1, self.etag.clone(), bindings))
    }

    pub(crate) fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(&self.bindings))
    }

    fn is_conditional(&self) -> bool {
        self.bindings.iter().any(|it| it.condition.is_some())
    }
}

/// The policy of a resource that never had one: no bindings, and the etag that Google gives then.
impl Default for Policy {
    fn default() -> Self {
        Self::proposed(0, "ACAB", Vec::new())
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        (self.version, &self.etag, &self.bindings) == (other.version, &other.etag, &other.bindings)
    }
}

impl Eq for Policy {}

impl Binding {
    /// A binding without a condition.
    pub fn new<M: ToString>(role: impl Into<String>, members: impl IntoIterator<Item = M>) -> Self {
        let members = members.into_iter().map(|it| it.to_string()).collect();
        Self { role: role.into(), members, condition: None }
    }

    /// The same with a condition.
    #[must_use]
    pub fn when(self, condition: Condition) -> Self {
        Self { condition: Some(condition), ..self }
    }
}

/// Google leaves a version that nobody set out of its JSON.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_unset(version: &i32) -> bool {
    *version == 0
}
