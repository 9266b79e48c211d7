//! What can go wrong between a rendered bundle and a running deployment.

use std::fmt;

use kube::core::Status;
use manifests::ObjectId;
use serde::Serialize;

/// One reason why an object cannot be rolled out as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The object at fault.
    pub object: ObjectId,
    /// The field at fault, when the server names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What kind of refusal it is.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// The kinds of refusal. Scripts may rely on the spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Another field manager owns the field.
    Conflict,
    /// The field cannot change and the object must not be replaced.
    Immutable,
    /// The server finds the object malformed.
    Invalid,
    /// The object belongs to another environment.
    OtherEnvironment,
    /// The namespace is missing or going away.
    Namespace,
    /// Pod Security admission refuses the pod.
    PodSecurity,
    /// A resource quota or limit range refuses the pod.
    Quota,
    /// The service account does not exist.
    ServiceAccount,
    /// The priority class or runtime class does not exist.
    Class,
    /// The server refuses for a reason we don't know, such as a webhook.
    Denied,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if let Some(field) = &self.field {
            write!(f, " {field}")?;
        }
        write!(f, ": {}\nhint: {}", self.message, self.hint)
    }
}

/// The errors of this crate. Every message fits after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with something that has no apiVersion, kind or name.
    #[error("understand the API server: not a Kubernetes object: `{start}`")]
    NotAnObject {
        /// How the answer starts.
        start: String,
    },
    /// The server has no such kind.
    #[error(
        "look up kind `{kind}` of {api_version}: the server does not know it\nhint: is its CustomResourceDefinition installed? `kubectl api-resources` lists the kinds"
    )]
    UnknownKind {
        /// apiVersion as written.
        api_version: String,
        /// kind as written.
        kind: String,
    },
    /// A request failed.
    #[error("{verb} `{object}`")]
    Request {
        /// What we asked for.
        verb: &'static str,
        /// The object, or what else the request was about.
        object: String,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// The server did not answer in time.
    #[error(
        "{verb} `{object}`: no answer within {limit_s} s\nhint: is the cluster up? `cargo xtask status` tells"
    )]
    Silent {
        /// What we asked for.
        verb: &'static str,
        /// The object, or what else the request was about.
        object: String,
        /// How long we waited.
        limit_s: u64,
    },
    /// The server would refuse part of the plan. Nothing was written.
    #[error("plan the rollout, nothing was changed\n{}", lines(.refusals))]
    Refused {
        /// Every reason, not only the first.
        refusals: Vec<Refusal>,
    },
    /// Somebody else is deploying.
    #[error(
        "start the rollout: `{holder}` is deploying to namespace {namespace} right now\nhint: wait for it to end; if it is gone, the lease ends by itself in {expires_s} s"
    )]
    Busy {
        /// Who holds the lease.
        holder: String,
        /// The namespace.
        namespace: String,
        /// When the lease ends unless it is renewed.
        expires_s: i64,
    },
    /// The lease was lost while we were writing.
    #[error(
        "go on with the rollout: the lease in namespace {namespace} was lost\nhint: another deploy took over; look at `cargo xtask status`, then deploy again"
    )]
    LeaseLost {
        /// The namespace.
        namespace: String,
    },
    /// Somebody deployed between our plan and our first write.
    #[error(
        "start the rollout: the cluster changed after the plan was made\nhint: run the same command again"
    )]
    Stale,
    /// The inventory cannot be read.
    #[error(
        "read the inventory `configmap/{name}`\nhint: delete the ConfigMap to start anew; nothing is pruned until objects are listed again"
    )]
    Inventory {
        /// The ConfigMap.
        name: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A wave did not become healthy.
    #[error("see wave {wave} become healthy")]
    Unhealthy {
        /// The wave.
        wave: u32,
        /// What the waiter found.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// The server's answer, when the error is one.
    pub(crate) fn status(&self) -> Option<&Status> {
        match self {
            Error::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }

    /// True for a stale resourceVersion and for an object that another writer created first.
    pub(crate) fn is_race(&self) -> bool {
        self.status().is_some_and(|it| it.is_conflict() || it.is_already_exists())
    }
}

fn lines(refusals: &[Refusal]) -> String {
    refusals.iter().map(Refusal::to_string).collect::<Vec<_>>().join("\n")
}
