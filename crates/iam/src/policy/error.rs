//! Why a policy is refused, in Google's words where they are known.

use crate::condition::ConditionError;
use crate::member::MemberError;

/// Why a policy was not set or not shown.
///
/// The words were seen in public issues of Terraform's provider, of Google's client libraries and
/// of k8s-config-connector, or are quoted from Google's reference; those that are our own say so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Somebody else set the policy since it was read.
    ///
    /// Cloud Storage alone answers 412 `conditionNotMet` with `Precondition Failed` instead.
    #[error(
        "There were concurrent policy changes. Please retry the whole read-modify-write with \
         exponential backoff."
    )]
    StaleEtag,
    /// A predefined role that does not exist, or not for this kind of resource.
    #[error("Role {0} is not supported for this resource.")]
    UnsupportedRole(String),
    /// A custom role that does not exist; this cloud has none.
    #[error("Role ({0}) does not exist in the resource's hierarchy.")]
    MissingRole(String),
    /// A member that cannot be read.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// A user, group or service account that does not exist.
    #[error("{kind} {email} does not exist.")]
    Missing {
        /// `User`, `Group` or `Service account`.
        kind: &'static str,
        /// The address.
        email: String,
    },
    /// A condition that cannot be evaluated.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// A condition on owner, editor or viewer.
    #[error(
        "LintValidationUnits/BindingRoleAllowConditionCheck Error: Conditions can't be set on \
         primitive roles"
    )]
    ConditionOnBasicRole,
    /// Conditions, or their removal, by a caller that does not know them.
    #[error(
        "Specified policy version ({specified}) cannot be less than the existing policy version \
         ({existing}). For more information, please refer to \
         https://cloud.google.com/iam/docs/policies#versions"
    )]
    OldVersion {
        /// What the caller sent.
        specified: i32,
        /// What it must send.
        existing: i32,
    },
    /// A role as a caller of version 1 sees it, `roles/viewer_withcond_…`, is written back.
    #[error(
        "Policy cannot contain both conditions and condition hashes. Please update your client to \
         request version 3 policy. For more information, please refer to \
         https://cloud.google.com/iam/help/allow-policies/versions."
    )]
    ConditionHash,
    /// What Google refuses without a reason: `allUsers` on a project, a version that is none.
    #[error("Request contains an invalid argument.")]
    InvalidArgument,
    /// More than Google's documented quota; the words are ours.
    #[error("The policy's number of {what} is larger than the maximum allowed size {limit}.")]
    TooMany {
        /// Which part.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
}

impl PolicyError {
    /// The HTTP status.
    pub fn code(&self) -> u16 {
        match self {
            Self::StaleEtag => 409,
            Self::Condition(ConditionError::Unsupported(_))
            | Self::Member(MemberError::Unsupported(_)) => 501,
            _ => 400,
        }
    }

    /// The name of the status, such as `INVALID_ARGUMENT`.
    pub fn status(&self) -> &'static str {
        match self.code() {
            409 => "ABORTED",
            501 => "UNIMPLEMENTED",
            _ => "INVALID_ARGUMENT",
        }
    }
}
