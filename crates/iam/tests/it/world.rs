//! A small cloud for the tests: policies by resource name, and short names for everything.

use std::collections::BTreeMap;

use iam::{
    Binding, Caller, Condition, Decision, Lack, Policies, Policy, Principal, Question, Resource,
    Workload, decide,
};

pub(crate) const PROJECT: &str = "mlflow-dev";
pub(crate) const NUMBER: &str = "123456789012";
pub(crate) const GSA: &str = "mlflow@mlflow-dev.iam.gserviceaccount.com";
/// 2026-11-23T00:00:00Z
pub(crate) const NOW: i64 = 1_795_392_000;

#[derive(Default)]
pub(crate) struct World(BTreeMap<String, (Resource, Policy)>);

impl World {
    /// Sets a policy as the cloud would, so that a test cannot rest on one that is refused.
    pub(crate) fn with(mut self, resource: &Resource, bindings: Vec<Binding>) -> Self {
        let proposed = Policy::proposed(3, "", bindings);
        let policy = Policy::default().replaced_by(&proposed, "BwY=", resource.kind());
        let policy = policy.unwrap_or_else(|it| panic!("{resource}: {it}"));
        self.0.insert(resource.name().to_owned(), (resource.clone(), policy));
        self
    }

    /// Sets a policy unchecked.
    pub(crate) fn with_unchecked(mut self, resource: &Resource, bindings: Vec<Binding>) -> Self {
        let policy = Policy::new("BwY=", bindings);
        self.0.insert(resource.name().to_owned(), (resource.clone(), policy));
        self
    }

    pub(crate) fn ask(&self, caller: &Caller, permission: &str, resource: &Resource) -> Decision {
        decide(self, &Question { caller, permission, resource, now: NOW })
    }

    #[track_caller]
    pub(crate) fn lack(&self, caller: &Caller, permission: &str, resource: &Resource) -> Lack {
        match self.ask(caller, permission, resource) {
            Decision::Denied(lack) => lack,
            Decision::Allowed(grant) => panic!("allowed: {grant}"),
        }
    }
}

impl Policies for World {
    fn policy(&self, resource: &Resource) -> Option<&Policy> {
        self.0.get(resource.name()).map(|(_, policy)| policy)
    }

    fn others(&self, resource: &Resource, show: &mut dyn FnMut(&Resource, &Policy)) {
        let alike = self.0.values().filter(|(it, _)| it.kind() == resource.kind());
        alike.for_each(|(it, policy)| show(it, policy));
    }
}

pub(crate) fn project() -> Resource {
    Resource::project(PROJECT)
}

pub(crate) fn bucket() -> Resource {
    Resource::bucket(PROJECT, "artifacts")
}

pub(crate) fn object() -> Resource {
    Resource::object(PROJECT, "artifacts", "0/run/model.pkl")
}

pub(crate) fn account() -> Resource {
    Resource::service_account(PROJECT, GSA)
}

pub(crate) fn gsa() -> Caller {
    Principal::service_account(GSA).into()
}

pub(crate) fn user(email: &str) -> Caller {
    Principal::user(email).into()
}

pub(crate) fn pod(namespace: &str, kubernetes_sa: &str) -> Workload {
    let cluster = "https://container.googleapis.com/v1/projects/mlflow-dev/locations/europe-north1/\
                   clusters/mlflow";
    Workload {
        project_id: PROJECT.to_owned(),
        project_number: NUMBER.to_owned(),
        namespace: namespace.to_owned(),
        kubernetes_sa: kubernetes_sa.to_owned(),
        cluster: Some(cluster.to_owned()),
    }
}

pub(crate) fn workload(namespace: &str, kubernetes_sa: &str) -> Caller {
    Principal::Workload(pod(namespace, kubernetes_sa)).into()
}

pub(crate) fn gives(role: &str, member: &str) -> Binding {
    Binding::new(role, [member])
}

pub(crate) fn only_if(expression: &str) -> Condition {
    Condition { title: "a test".to_owned(), description: None, expression: expression.to_owned() }
}
