//! Who is named in a binding, in the text forms that Google uses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::principal::{Caller, Principal, Workload};

/// One entry of a binding's `members`.
///
/// Addresses are lower-cased when they are read, as Google does, so text forms compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Member {
    /// `allUsers`: everybody, with or without credentials.
    AllUsers,
    /// `allAuthenticatedUsers`: every Google account and service account.
    ///
    /// Not workloads: Google's documentation of principal identifiers excludes federated identities.
    AllAuthenticatedUsers,
    /// `user:EMAIL`.
    User(String),
    /// `serviceAccount:EMAIL`.
    ServiceAccount(String),
    /// `serviceAccount:PROJECT.svc.id.goog[NAMESPACE/KUBERNETES_SA]`.
    Workload {
        /// Id of the project whose pool it is.
        project_id: String,
        /// Namespace of the Kubernetes service account.
        namespace: String,
        /// Name of the Kubernetes service account.
        kubernetes_sa: String,
    },
    /// `group:EMAIL`; nobody is known to be in a group, so it covers nobody.
    Group(String),
    /// `domain:DOMAIN`: the Google accounts of a domain.
    Domain(String),
    /// `projectOwner:`, `projectEditor:` or `projectViewer:` with a project: those who hold the
    /// basic role there. Only a bucket's policy knows it.
    HoldersOf(BasicRole, String),
    /// `principal://…/subject/ns/NAMESPACE/sa/KUBERNETES_SA`.
    Subject {
        /// The workload identity pool.
        pool: Pool,
        /// Namespace of the Kubernetes service account.
        namespace: String,
        /// Name of the Kubernetes service account.
        kubernetes_sa: String,
    },
    /// `principalSet://…/namespace/NAMESPACE`: all workloads of a namespace.
    Namespace(Pool, String),
    /// `principalSet://…/kubernetes.cluster/https://…`: all workloads of one cluster.
    Cluster(Pool, String),
    /// `principalSet://…/*`: all workloads of a pool.
    Everyone(Pool),
    /// `deleted:user:EMAIL?uid=UID` and its like: a member that is gone, kept until it is removed.
    Deleted(String),
}

/// The basic role that a `projectOwner:`, `projectEditor:` or `projectViewer:` member stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BasicRole {
    /// `roles/owner`.
    Owner,
    /// `roles/editor`.
    Editor,
    /// `roles/viewer`.
    Viewer,
}

/// The workload identity pool of a project's clusters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pool {
    /// Number of the project.
    pub project_number: String,
    /// Id of the project; the pool is `PROJECT_ID.svc.id.goog`.
    pub project_id: String,
}

/// Why a text is no member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// No known prefix. The words are those of Cloud Storage and IAM, seen in public issues.
    #[error("The member {0} is of an unknown type. Please set a valid type prefix for the member.")]
    UnknownType(String),
    /// An address without a name or a domain.
    #[error("Invalid {kind} ({value}).")]
    Invalid {
        /// `service account`, `user`, `group` or `domain`.
        kind: &'static str,
        /// The text after the prefix.
        value: String,
    },
    /// A form that Google knows and this crate cannot evaluate, so it must not be set.
    #[error("The member {0} is of a form that is not supported here.")]
    Unsupported(String),
}

impl BasicRole {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Editor, Self::Viewer];

    /// Name of the role, `roles/owner`.
    pub fn role(self) -> &'static str {
        match self {
            Self::Owner => "roles/owner",
            Self::Editor => "roles/editor",
            Self::Viewer => "roles/viewer",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Owner => "projectOwner:",
            Self::Editor => "projectEditor:",
            Self::Viewer => "projectViewer:",
        }
    }
}

impl Member {
    /// Whether a binding with this member means the caller.
    ///
    /// False for [`Member::HoldersOf`], which only the project's policy can answer, and for groups.
    pub fn covers(&self, caller: &Caller) -> bool {
        let principal = match (self, caller) {
            (Self::AllUsers, _) => return true,
            (_, Caller::Anonymous) => return false,
            (_, Caller::Known(principal)) => principal,
        };
        match (self, principal) {
            (Self::User(email), Principal::User { email: it })
            | (Self::ServiceAccount(email), Principal::ServiceAccount { email: it }) => email == it,
            (Self::Domain(domain), Principal::User { email }) => {
                email.rsplit_once('@').is_some_and(|(_, it)| it == domain)
            }
            (Self::AllAuthenticatedUsers, Principal::User { .. })
            | (Self::AllAuthenticatedUsers, Principal::ServiceAccount { .. }) => true,
            (member, Principal::Workload(workload)) => member.covers_workload(workload),
            _ => false,
        }
    }

    fn covers_workload(&self, it: &Workload) -> bool {
        match self {
            Self::Workload { project_id, namespace, kubernetes_sa } => {
                (project_id, namespace, kubernetes_sa)
                    == (&it.project_id, &it.namespace, &it.kubernetes_sa)
            }
            Self::Subject { pool, namespace, kubernetes_sa } => {
                pool.has(it) && (namespace, kubernetes_sa) == (&it.namespace, &it.kubernetes_sa)
            }
            Self::Namespace(pool, namespace) => pool.has(it) && *namespace == it.namespace,
            Self::Cluster(pool, cluster) => pool.has(it) && it.cluster.as_ref() == Some(cluster),
            Self::Everyone(pool) => pool.has(it),
            _ => false,
        }
    }

    /// Every member that [covers](Self::covers) the caller: what an index is asked for.
    pub(crate) fn covering(caller: &Caller) -> Vec<Self> {
        let mut members = vec![Self::AllUsers];
        match caller {
            Caller::Anonymous => {}
            Caller::Known(Principal::User { email }) => {
                members.extend([Self::AllAuthenticatedUsers, Self::User(email.clone())]);
                let domain = email.rsplit_once('@').map(|(_, domain)| domain.to_owned());
                members.extend(domain.map(Self::Domain));
            }
            Caller::Known(Principal::ServiceAccount { email }) => {
                members.extend([Self::AllAuthenticatedUsers, Self::ServiceAccount(email.clone())]);
            }
            Caller::Known(Principal::Workload(it)) => {
                let (namespace, kubernetes_sa) = (it.namespace.clone(), it.kubernetes_sa.clone());
                let pool = Pool {
                    project_number: it.project_number.clone(),
                    project_id: it.project_id.clone(),
                };
                members.extend([
                    Self::Workload {
                        project_id: it.project_id.clone(),
                        namespace: namespace.clone(),
                        kubernetes_sa: kubernetes_sa.clone(),
                    },
                    Self::Namespace(pool.clone(), namespace.clone()),
                    Self::Everyone(pool.clone()),
                    Self::Subject { pool: pool.clone(), namespace, kubernetes_sa },
                ]);
                members.extend(it.cluster.clone().map(|cluster| Self::Cluster(pool, cluster)));
            }
        }
        members
    }
}

impl Pool {
    fn has(&self, workload: &Workload) -> bool {
        (&self.project_number, &self.project_id) == (&workload.project_number, &workload.project_id)
    }
}

const POOLS: &str = "//iam.googleapis.com/projects/";
const POOL_ENDING: &str = ".svc.id.goog";

impl FromStr for Member {
    type Err = MemberError;

    fn from_str(text: &str) -> Result<Self, MemberError> {
        let address = |kind, value: &str| {
            let value = value.to_lowercase();
            let (name, domain) = value.split_once('@').unwrap_or_default();
            let good = is_word(name) && is_word(domain) && !domain.contains('@');
            if good { Ok(value) } else { Err(MemberError::Invalid { kind, value }) }
        };
        if let Some(basic) = BasicRole::ALL.into_iter().find(|it| text.starts_with(it.prefix())) {
            let project = &text[basic.prefix().len()..];
            let error = MemberError::Invalid { kind: "project", value: project.to_owned() };
            return is_word(project)
                .then(|| Self::HoldersOf(basic, project.to_owned()))
                .ok_or(error);
        }
        let (prefix, value) = text.split_once(':').unwrap_or((text, ""));
        match prefix {
            "allUsers" if prefix == text => Ok(Self::AllUsers),
            "allAuthenticatedUsers" if prefix == text => Ok(Self::AllAuthenticatedUsers),
            "user" => address("user", value).map(Self::User),
            "group" => address("group", value).map(Self::Group),
            "serviceAccount" => match workload(value) {
                Some(member) => Ok(member),
                None => address("service account", value).map(Self::ServiceAccount),
            },
            "domain" => {
                let value = value.to_lowercase();
                let good = is_word(&value) && !value.contains('@');
                if good {
                    Ok(Self::Domain(value))
                } else {
                    Err(MemberError::Invalid { kind: "domain", value })
                }
            }
            "deleted" => deleted(value).ok_or_else(|| MemberError::UnknownType(text.to_owned())),
            "principal" => subject(value).ok_or_else(|| MemberError::Unsupported(text.to_owned())),
            "principalSet" => set(value).ok_or_else(|| MemberError::Unsupported(text.to_owned())),
            _ => Err(MemberError::UnknownType(text.to_owned())),
        }
    }
}

/// A part of a name: something, and nothing that could be mistaken for the text around it.
fn is_word(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '[' | ']' | '?');
    !text.is_empty() && !text.contains(odd)
}

/// `PROJECT.svc.id.goog[NAMESPACE/KUBERNETES_SA]`
fn workload(text: &str) -> Option<Member> {
    let (pool, names) = text.strip_suffix(']')?.split_once('[')?;
    let project_id = pool.strip_suffix(POOL_ENDING)?;
    let (namespace, kubernetes_sa) = names.split_once('/')?;
    [project_id, namespace, kubernetes_sa].into_iter().all(is_word).then(|| Member::Workload {
        project_id: project_id.to_owned(),
        namespace: namespace.to_owned(),
        kubernetes_sa: kubernetes_sa.to_owned(),
    })
}

/// `//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/REST`
fn pool(text: &str) -> Option<(Pool, &str)> {
    let (number, rest) = text.strip_prefix(POOLS)?.split_once('/')?;
    let rest = rest.strip_prefix("locations/global/workloadIdentityPools/")?;
    let (pool, rest) = rest.split_once('/')?;
    let project_id = pool.strip_suffix(POOL_ENDING)?;
    let good = !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit());
    (good && is_word(project_id)).then(|| {
        let (project_number, project_id) = (number.to_owned(), project_id.to_owned());
        (Pool { project_number, project_id }, rest)
    })
}

fn subject(text: &str) -> Option<Member> {
    let (pool, rest) = pool(text)?;
    let (namespace, kubernetes_sa) = rest.strip_prefix("subject/ns/")?.split_once("/sa/")?;
    (is_word(namespace) && is_word(kubernetes_sa)).then(|| Member::Subject {
        pool,
        namespace: namespace.to_owned(),
        kubernetes_sa: kubernetes_sa.to_owned(),
    })
}

fn set(text: &str) -> Option<Member> {
    let (pool, rest) = pool(text)?;
    if rest == "*" {
        return Some(Member::Everyone(pool));
    }
    if let Some(namespace) = rest.strip_prefix("namespace/") {
        return is_word(namespace).then(|| Member::Namespace(pool, namespace.to_owned()));
    }
    let cluster = rest.strip_prefix("kubernetes.cluster/")?;
    let path = cluster.strip_prefix("https://container.googleapis.com/v1/projects/")?;
    let parts: Vec<&str> = path.split('/').collect();
    let [project, "locations", location, "clusters", name] = parts[..] else { return None };
    let good = [project, location, name].into_iter().all(is_word);
    good.then(|| Member::Cluster(pool, cluster.to_owned()))
}

/// `user:EMAIL?uid=UID`, and the same with `serviceAccount` and `group`.
fn deleted(text: &str) -> Option<Member> {
    let (kind, rest) = text.split_once(':')?;
    let (email, uid) = rest.split_once("?uid=")?;
    let good = matches!(kind, "user" | "serviceAccount" | "group") && is_word(email);
    let good = good && !uid.is_empty() && uid.bytes().all(|it| it.is_ascii_digit());
    good.then(|| Member::Deleted(format!("{kind}:{}?uid={uid}", email.to_lowercase())))
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { project_number, project_id } = self;
        write!(
            f,
            "{POOLS}{project_number}/locations/global/workloadIdentityPools/{project_id}\
             {POOL_ENDING}"
        )
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllUsers => f.write_str("allUsers"),
            Self::AllAuthenticatedUsers => f.write_str("allAuthenticatedUsers"),
            Self::User(email) => write!(f, "user:{email}"),
            Self::ServiceAccount(email) => write!(f, "serviceAccount:{email}"),
            Self::Workload { project_id, namespace, kubernetes_sa } => {
                write!(f, "serviceAccount:{project_id}{POOL_ENDING}[{namespace}/{kubernetes_sa}]")
            }
            Self::Group(email) => write!(f, "group:{email}"),
            Self::Domain(domain) => write!(f, "domain:{domain}"),
            Self::HoldersOf(basic, project) => write!(f, "{}{project}", basic.prefix()),
            Self::Subject { pool, namespace, kubernetes_sa } => {
                write!(f, "principal:{pool}/subject/ns/{namespace}/sa/{kubernetes_sa}")
            }
            Self::Namespace(pool, namespace) => {
                write!(f, "principalSet:{pool}/namespace/{namespace}")
            }
            Self::Cluster(pool, cluster) => {
                write!(f, "principalSet:{pool}/kubernetes.cluster/{cluster}")
            }
            Self::Everyone(pool) => write!(f, "principalSet:{pool}/*"),
            Self::Deleted(rest) => write!(f, "deleted:{rest}"),
        }
    }
}

impl TryFrom<String> for Member {
    type Error = MemberError;

    fn try_from(text: String) -> Result<Self, MemberError> {
        text.parse()
    }
}

impl From<Member> for String {
    fn from(member: Member) -> Self {
        member.to_string()
    }
}
