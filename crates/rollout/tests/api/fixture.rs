//! A namespace of a test's own, and a deploy in one call.

use std::{collections::BTreeMap, error::Error as StdError, process};

use kube::Client;
use manifests::Bundle;
use rollout::{
    Applied, Error, Holder, Options, Owner, Plan, Pruned, Rollout, Server, Step, Target, Waiter,
    plan,
};
use serde_json::{Value, json};

use crate::{bundle::bundle, control_plane};

/// One test's cluster.
pub(crate) struct Cluster {
    pub(crate) server: Server,
    pub(crate) owner: Owner,
    client: Client,
}

/// Runs a test in a namespace named after it.
pub(crate) fn with_cluster<F: Future<Output = ()>>(test: &str, body: impl FnOnce(Cluster) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("make a runtime").block_on(async {
        let client = control_plane::client();
        // The server may outlive this process and meet the next run of the same test.
        let namespace = format!("{test}-{}", process::id());
        let owner = Owner { environment: "kind".to_owned(), namespace };
        body(Cluster { server: Server::new(client.clone()), owner, client }).await;
    });
}

pub(crate) fn holder(identity: &str) -> Holder {
    Holder { identity: identity.to_owned(), is_gone: |_| false }
}

/// Finds everything healthy at once, and remembers what it was asked about.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) waves: Vec<(u32, Vec<Target>)>,
    /// The wave that never becomes healthy.
    pub(crate) broken: Option<u32>,
}

impl Waiter for Recorder {
    async fn wait(
        &mut self,
        wave: u32,
        targets: &[Target],
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        self.waves.push((wave, targets.to_vec()));
        if self.broken == Some(wave) { Err("it crashes".into()) } else { Ok(()) }
    }
}

/// Everything that a whole deploy tells.
pub(crate) struct Deployed {
    pub(crate) plan: Plan,
    pub(crate) applied: Applied,
    pub(crate) pruned: Pruned,
    pub(crate) waiter: Recorder,
    pub(crate) steps: Vec<Step>,
}

impl Cluster {
    pub(crate) fn ns(&self) -> &str {
        &self.owner.namespace
    }

    pub(crate) async fn plan(&self, values: &[Value]) -> Result<Plan, Error> {
        self.plan_with(values, Options::default()).await
    }

    pub(crate) async fn plan_with(
        &self,
        values: &[Value],
        options: Options,
    ) -> Result<Plan, Error> {
        let bundle: Bundle = bundle(values.iter().cloned());
        plan(&self.server, &bundle, &self.owner, options).await
    }

    /// Plans, applies, prunes.
    pub(crate) async fn deploy(&self, values: &[Value]) -> Result<Deployed, Error> {
        self.deploy_with(values, Options::default(), Recorder::default()).await
    }

    pub(crate) async fn deploy_with(
        &self,
        values: &[Value],
        options: Options,
        mut waiter: Recorder,
    ) -> Result<Deployed, Error> {
        let plan = self.plan_with(values, options).await?;
        let mut rollout = Rollout::begin(&self.server, &plan, &holder("test")).await?;
        let mut steps = Vec::new();
        let applied = rollout.apply(&mut waiter, &mut |step| steps.push(step)).await;
        let pruned = match &applied {
            Ok(_) => rollout.prune().await,
            Err(_) => Ok(Pruned::default()),
        };
        rollout.end().await?;
        Ok(Deployed { applied: applied?, pruned: pruned?, plan, waiter, steps })
    }

    /// Sends a request as somebody else would; a failure is part of the answer.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Value {
        let (method, kind) = match method {
            "APPLY" => ("PATCH", "application/apply-patch+yaml"),
            "PATCH" => ("PATCH", "application/merge-patch+json"),
            _ => (method, "application/json"),
        };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = hyper::Request::builder().method(method).uri(path);
        let request = request.header("Content-Type", kind).body(body).expect("a request");
        match self.client.request_text(request).await {
            Ok(text) => serde_json::from_str(&text).expect("the server speaks JSON"),
            Err(kube::Error::Api(status)) => json!(status),
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.send("GET", path, Value::Null).await
    }

    /// The path of a collection of the namespace.
    pub(crate) fn path(&self, root: &str, plural_and_name: &str) -> String {
        format!("{root}/namespaces/{}/{plural_and_name}", self.ns())
    }

    pub(crate) async fn core(&self, plural_and_name: &str) -> Value {
        self.get(&self.path("/api/v1", plural_and_name)).await
    }

    /// Every object of the kinds that the tests use, by kind and name, with its resourceVersion.
    pub(crate) async fn versions(&self) -> BTreeMap<String, String> {
        let kinds = [
            ("/api/v1", "serviceaccounts"),
            ("/api/v1", "configmaps"),
            ("/api/v1", "secrets"),
            ("/api/v1", "services"),
            ("/api/v1", "persistentvolumeclaims"),
            ("/apis/apps/v1", "deployments"),
            ("/apis/batch/v1", "jobs"),
            ("/apis/networking.k8s.io/v1", "networkpolicies"),
            ("/apis/policy/v1", "poddisruptionbudgets"),
            ("/apis/rbac.authorization.k8s.io/v1", "roles"),
            ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
            ("/apis/coordination.k8s.io/v1", "leases"),
        ];
        let mut versions = BTreeMap::new();
        for (root, plural) in kinds {
            let list = self.get(&self.path(root, plural)).await;
            for item in list["items"].as_array().expect("a list") {
                let metadata = &item["metadata"];
                let name = metadata["name"].as_str().expect("a name");
                let version = metadata["resourceVersion"].as_str().expect("a version");
                versions.insert(format!("{plural}/{name}"), version.to_owned());
            }
        }
        let namespace = self.get(&format!("/api/v1/namespaces/{}", self.ns())).await;
        let version = namespace["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        versions.insert("namespace".to_owned(), version.to_owned());
        versions
    }
}

/// The refusals of an error, as `object field code`.
pub(crate) fn refused(result: Result<Plan, Error>) -> Vec<String> {
    match result {
        Err(Error::Refused { refusals }) => refusals
            .iter()
            .map(|it| {
                let field = it.field.as_deref().unwrap_or("-");
                format!("{} {field} {}", it.object, json!(it.code).as_str().expect("a code"))
            })
            .collect(),
        Err(error) => panic!("another error: {error}"),
        Ok(plan) => panic!("not refused: {plan:?}"),
    }
}
