//! Where each kind lives on the server, known without asking.

use kube::{
    Client,
    core::{ApiResource, GroupVersionKind},
    discovery::{Scope, oneshot},
};

use crate::Error;

/// A kind and whether its objects live in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
}

/// The kinds our manifests use: apiVersion, kind, plural, namespaced.
///
/// Discovery would cost a round trip or two in every run for what has not changed in years.
const KNOWN: &[(&str, &str, &str, bool)] = &[
    ("v1", "Namespace", "namespaces", false),
    ("v1", "ServiceAccount", "serviceaccounts", true),
    ("v1", "ConfigMap", "configmaps", true),
    ("v1", "Secret", "secrets", true),
    ("v1", "Service", "services", true),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims", true),
    ("v1", "PersistentVolume", "persistentvolumes", false),
    ("v1", "Pod", "pods", true),
    ("v1", "ResourceQuota", "resourcequotas", true),
    ("v1", "LimitRange", "limitranges", true),
    ("apps/v1", "Deployment", "deployments", true),
    ("apps/v1", "StatefulSet", "statefulsets", true),
    ("apps/v1", "DaemonSet", "daemonsets", true),
    ("batch/v1", "Job", "jobs", true),
    ("batch/v1", "CronJob", "cronjobs", true),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", true),
    ("networking.k8s.io/v1", "Ingress", "ingresses", true),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", true),
    ("rbac.authorization.k8s.io/v1", "Role", "roles", true),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", true),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", false),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", false),
    ("storage.k8s.io/v1", "StorageClass", "storageclasses", false),
    ("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", false),
    ("coordination.k8s.io/v1", "Lease", "leases", true),
];

impl Kind {
    /// Looks a kind up in the table.
    pub(crate) fn known(api_version: &str, kind: &str) -> Option<Kind> {
        let (.., plural, namespaced) =
            KNOWN.iter().find(|it| it.0 == api_version && it.1 == kind)?;
        Some(Kind {
            resource: ApiResource::from_gvk_with_plural(&gvk(api_version, kind), plural),
            namespaced: *namespaced,
        })
    }

    /// Asks the server about a kind that is not in the table.
    pub(crate) async fn discover(
        client: &Client,
        api_version: &str,
        kind: &str,
    ) -> Result<Kind, Error> {
        match oneshot::pinned_kind(client, &gvk(api_version, kind)).await {
            Ok((resource, capabilities)) => {
                Ok(Kind { resource, namespaced: capabilities.scope == Scope::Namespaced })
            }
            Err(kube::Error::Discovery(_)) => Err(unknown(api_version, kind)),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(unknown(api_version, kind)),
            Err(source) => Err(Error::Request {
                verb: "look up kind",
                object: kind.to_owned(),
                source: Box::new(source),
            }),
        }
    }

    /// The path of the collection.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        let ApiResource { group, version, plural, .. } = &self.resource;
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        match namespace {
            Some(namespace) if self.namespaced => {
                format!("{root}/namespaces/{namespace}/{plural}")
            }
            _ => format!("{root}/{plural}"),
        }
    }
}

fn unknown(api_version: &str, kind: &str) -> Error {
    Error::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() }
}

fn gvk(api_version: &str, kind: &str) -> GroupVersionKind {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    GroupVersionKind::gvk(group, version, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_group_and_scope() {
        let path = |api_version, kind| Kind::known(api_version, kind).unwrap().path(Some("mlflow"));
        assert_eq!(path("apps/v1", "Deployment"), "/apis/apps/v1/namespaces/mlflow/deployments");
        assert_eq!(path("v1", "Service"), "/api/v1/namespaces/mlflow/services");
        assert_eq!(path("v1", "Namespace"), "/api/v1/namespaces");
        assert_eq!(
            path("storage.k8s.io/v1", "StorageClass"),
            "/apis/storage.k8s.io/v1/storageclasses"
        );
    }

    #[test]
    fn another_version_of_a_known_kind_is_not_assumed() {
        assert_eq!(Kind::known("apps/v1beta1", "Deployment"), None);
    }
}
