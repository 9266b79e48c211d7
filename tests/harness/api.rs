//! The tests' own look at the cluster: JSON by path, so that no model of ours stands in between.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use health::tunnel::{Address, Tunnel};
use health::{Kind, Observed, Target, Watcher, exec};
use hyper::Request;
use kube::Client;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{Answer, LIMIT, NAMESPACE};

/// A client of the cluster's API server.
pub struct Api {
    runtime: Runtime,
    client: Client,
}

impl Api {
    /// Connects by a kubeconfig.
    ///
    /// # Errors
    /// The API server does not answer.
    pub fn connect(kubeconfig: &Path, context: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(health::connect(kubeconfig, context))?;
        Ok(Self { runtime, client })
    }

    /// An object, when it exists.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn get(&self, path: &str) -> anyhow::Result<Option<Value>> {
        match self.send(Request::get(path), Vec::new()) {
            Ok(object) => Ok(Some(object)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An object that must exist.
    ///
    /// # Errors
    /// It does not.
    pub fn need(&self, path: &str) -> anyhow::Result<Value> {
        self.get(path)?.with_context(|| format!("`{path}` does not exist"))
    }

    /// The members of a list.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let list = self.need(path)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// The pods with a label, those that are going away left out.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn pods(&self, labels: &str) -> anyhow::Result<Vec<Value>> {
        let labels = labels.replace('=', "%3D");
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={labels}");
        let mut pods = self.list(&path)?;
        pods.retain(|it| it["metadata"]["deletionTimestamp"].is_null());
        Ok(pods)
    }

    /// Creates an object.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn create(&self, path: &str, object: &Value) -> anyhow::Result<Value> {
        let request = Request::post(path).header("Content-Type", "application/json");
        self.send(request, serde_json::to_vec(object)?)
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn merge(&self, path: &str, patch: &Value) -> anyhow::Result<Value> {
        let path = format!("{path}?fieldManager=somebody");
        let request = Request::patch(path).header("Content-Type", "application/merge-patch+json");
        self.send(request, serde_json::to_vec(patch)?)
    }

    /// Deletes an object or a whole list; what is gone already is well.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn delete(&self, path: &str) -> anyhow::Result<()> {
        match self.send(Request::delete(path), Vec::new()) {
            Err(error) if status(&error) != Some(404) => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs a command in the first pod with that label.
    ///
    /// # Errors
    /// It failed, or there is no pod.
    pub fn exec(&self, labels: &str, argv: &[&str]) -> anyhow::Result<String> {
        let pods = self.pods(labels)?;
        let pod = pods.first().and_then(|it| it["metadata"]["name"].as_str());
        let pod = pod.with_context(|| format!("no pod has `{labels}`"))?;
        let command =
            exec::Command { namespace: NAMESPACE, pod, container: None, argv, limit: LIMIT };
        let output = self.runtime.block_on(exec::exec(&self.client, &command))?;
        if output.code != Some(0) {
            bail!("{argv:?} in `{pod}` ended with {:?}: {}", output.code, output.stderr);
        }
        Ok(output.stdout)
    }

    /// Asks a Service over HTTP, through a port-forward.
    ///
    /// # Errors
    /// There is no answer.
    pub fn ask(
        &self,
        address: Address,
        method: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("host", "localhost"), ("content-type", "application/json")];
        self.runtime.block_on(async {
            let mut tunnel = Tunnel::open(self.client.clone(), address, LIMIT).await?;
            let answer = tunnel.http(method, path, &headers, body).await?;
            Ok(Answer { status: answer.status.as_u16(), body: answer.text() })
        })
    }

    /// What PostgreSQL answers, a row a line, asked past MLflow.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub fn sql(&self, query: &str) -> anyhow::Result<Vec<String>> {
        let script = "exec psql --no-psqlrc --tuples-only --no-align --field-separator=' ' \
            --username \"$POSTGRES_USER\" --dbname \"$POSTGRES_DB\" --command \"$0\"";
        let rows = self.exec("app=postgres", &["sh", "-c", script, query])?;
        Ok(rows.lines().filter(|it| !it.is_empty()).map(str::to_owned).collect())
    }

    /// Watches the namespace until what is seen satisfies the test.
    ///
    /// # Errors
    /// It never did within the limit.
    pub fn watch(
        &self,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&Observed) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        self.runtime.block_on(async {
            let mut watcher = Watcher::open(self.client.clone(), NAMESPACE).await?;
            while !is_so(watcher.snapshot()) {
                anyhow::ensure!(Instant::now() < deadline, "{what}: not so within {limit:?}");
                // A target that never exists makes the wait last for its whole time; the watches go
                // on underneath.
                let step = Instant::now() + Duration::from_millis(100);
                let never = [Target::new(Kind::Deployment, "never")];
                watcher.wait(&never, step, |_| {}).await?;
            }
            Ok(())
        })
    }

    /// Every object of the namespace but its Events, as `Kind/name` with the object.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn everything(&self) -> anyhow::Result<Vec<(String, Value)>> {
        let mut groups = vec!["/api/v1".to_owned()];
        for group in self.need("/apis")?["groups"].as_array().into_iter().flatten() {
            let version = group["preferredVersion"]["groupVersion"].as_str();
            groups.push(format!("/apis/{}", version.context("a group has a version")?));
        }
        let mut all = Vec::new();
        for group in groups {
            for resource in self.need(&group)?["resources"].as_array().into_iter().flatten() {
                let name = resource["name"].as_str().unwrap_or_default();
                let verbs = resource["verbs"].as_array().cloned().unwrap_or_default();
                let is_listed = resource["namespaced"] == true && verbs.contains(&"list".into());
                if !is_listed || name.contains('/') || name == "events" {
                    continue;
                }
                for object in self.list(&format!("{group}/namespaces/{NAMESPACE}/{name}"))? {
                    let object_name = object["metadata"]["name"].as_str().unwrap_or_default();
                    all.push((format!("{name}/{object_name}"), object));
                }
            }
        }
        Ok(all)
    }

    /// Waits until a DaemonSet has exactly this many pods, and all of them are ready.
    ///
    /// # Errors
    /// It never had within the limit.
    pub fn wait_for_daemon_set(
        &self,
        namespace: &str,
        name: &str,
        ready: i64,
    ) -> anyhow::Result<()> {
        let kind = resource("apps", "DaemonSet", "daemonsets");
        let sets: kube::Api<DynamicObject> =
            kube::Api::namespaced_with(self.client.clone(), namespace, &kind);
        let is_so = |set: Option<&DynamicObject>| {
            set.is_some_and(|set| {
                let status = &set.data["status"];
                let is_current = status["observedGeneration"] == json!(set.metadata.generation);
                let counts = ["desiredNumberScheduled", "currentNumberScheduled", "numberReady"];
                is_current && counts.iter().all(|it| status[it] == ready)
            })
        };
        let waiting = await_condition(sets, name, is_so);
        self.runtime
            .block_on(async { tokio::time::timeout(LIMIT, waiting).await })
            .with_context(|| format!("daemonset/{name} has not {ready} ready pods"))??;
        Ok(())
    }

    /// Takes the namespace away with everything in it.
    ///
    /// # Errors
    /// It was still there when the time was up.
    pub fn remove_namespace(&self) -> anyhow::Result<()> {
        let namespace = format!("/api/v1/namespaces/{NAMESPACE}");
        if self.get(&namespace)?.is_none() {
            return Ok(());
        }
        // The namespace's own deletion would grant each pod its grace, up to two minutes, and its
        // controller would look again only after half of that.
        let now = "?propagationPolicy=Background&gracePeriodSeconds=0";
        for list in ["apis/apps/v1", "apis/batch/v1"] {
            let kind = if list.contains("apps") { "deployments" } else { "jobs" };
            self.delete(&format!("/{list}/namespaces/{NAMESPACE}/{kind}{now}"))?;
        }
        self.delete(&format!("{namespace}/pods{now}"))?;
        self.delete(&namespace)?;
        let namespaces: kube::Api<DynamicObject> =
            kube::Api::all_with(self.client.clone(), &resource("", "Namespace", "namespaces"));
        let gone = |it: Option<&DynamicObject>| it.is_none();
        let waiting = await_condition(namespaces, NAMESPACE, gone);
        self.runtime
            .block_on(async { tokio::time::timeout(LIMIT, waiting).await })
            .context("the namespace does not go away")??;
        Ok(())
    }

    fn send(&self, request: hyper::http::request::Builder, body: Vec<u8>) -> anyhow::Result<Value> {
        let request = request.body(body)?;
        let what = format!("{} {}", request.method(), request.uri());
        let asking = self.client.request::<Value>(request);
        self.runtime
            .block_on(async { tokio::time::timeout(LIMIT, asking).await })
            .with_context(|| format!("{what}: no answer"))?
            .with_context(|| what)
    }
}

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// The HTTP status of a refusal.
fn status(error: &anyhow::Error) -> Option<u16> {
    match error.downcast_ref::<kube::Error>()? {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
