//! Who asks: a Google account, a service account or a Kubernetes workload.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whoever sent a request, with or without credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Caller {
    /// No credentials were sent.
    Anonymous,
    /// The credentials were checked and belong to this principal.
    Known(Principal),
}

/// An identity that credentials prove.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Principal {
    /// A Google account.
    User {
        /// Address of the account, in lower case.
        email: String,
    },
    /// A Google service account.
    ServiceAccount {
        /// Address of the service account, in lower case.
        email: String,
    },
    /// A pod, known by its Kubernetes service account through Workload Identity.
    Workload(Workload),
}

/// A Kubernetes service account as a member of its project's workload identity pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Workload {
    /// The project whose pool vouches for the workload.
    pub project_id: String,
    /// The same project by its number, which `principal://` names use.
    pub project_number: String,
    /// Namespace of the Kubernetes service account.
    pub namespace: String,
    /// Name of the Kubernetes service account.
    pub kubernetes_sa: String,
    /// The cluster's issuer, `https://container.googleapis.com/v1/projects/…/clusters/…`, where
    /// it is known; only a binding for a whole cluster looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

impl Workload {
    /// The workload identity pool, `PROJECT.svc.id.goog`.
    pub fn pool(&self) -> String {
        format!("{}.svc.id.goog", self.project_id)
    }

    /// The name that a binding gives the workload directly:
    /// `principal://…/workloadIdentityPools/PROJECT.svc.id.goog/subject/ns/NS/sa/SA`.
    pub fn subject(&self) -> String {
        format!(
            "principal://iam.googleapis.com/projects/{}/locations/global/workloadIdentityPools/\
             {}/subject/ns/{}/sa/{}",
            self.project_number,
            self.pool(),
            self.namespace,
            self.kubernetes_sa
        )
    }
}

impl Principal {
    /// A Google account by its address.
    pub fn user(email: impl AsRef<str>) -> Self {
        Self::User { email: email.as_ref().to_lowercase() }
    }

    /// A Google service account by its address.
    pub fn service_account(email: impl AsRef<str>) -> Self {
        Self::ServiceAccount { email: email.as_ref().to_lowercase() }
    }
}

impl From<Principal> for Caller {
    fn from(principal: Principal) -> Self {
        Self::Known(principal)
    }
}

/// As Google prints a caller: `anonymous caller` or the principal.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Cloud Storage begins its refusals with "Anonymous caller does not have …".
            Self::Anonymous => f.write_str("Anonymous caller"),
            Self::Known(principal) => principal.fmt(f),
        }
    }
}

/// As Google prints a principal: the address, or `PROJECT.svc.id.goog[ns/ksa]` for a workload.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { email } | Self::ServiceAccount { email } => f.write_str(email),
            Self::Workload(workload) => workload.fmt(f),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.svc.id.goog[{}/{}]", self.project_id, self.namespace, self.kubernetes_sa)
    }
}
