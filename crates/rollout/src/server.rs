//! The few requests a rollout makes, on one connection pool, each with a time limit.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use kube::{
    Client,
    api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    client::Body,
    core::Request,
};
use manifests::ObjectId;
use serde_json::Value;

use crate::{
    Error, MANAGER,
    kinds::Kind,
    object::{id_of, meta},
};

/// How many requests are under way at once.
///
/// Over HTTP/1.1 each one in flight is a connection with a TLS handshake, 5 ms on either side. On
/// two cores, eight at once were no faster than four.
const IN_FLIGHT: usize = 4;

/// The longest that one request may take.
const LIMIT: Duration = Duration::from_secs(30);

type Built = Result<hyper::Request<Vec<u8>>, kube::core::request::Error>;

/// An API server, and the kinds we asked it about.
#[derive(Clone)]
pub struct Server {
    client: Client,
    discovered: Arc<Mutex<HashMap<(String, String), Kind>>>,
}

/// How an object is applied.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mode {
    pub(crate) dry_run: bool,
    pub(crate) force: bool,
}

impl Server {
    /// Wraps a client. The caller decides which cluster it talks to.
    pub fn new(client: Client) -> Server {
        Server { client, discovered: Arc::default() }
    }

    /// Where objects of this kind live.
    pub(crate) async fn kind(&self, api_version: &str, kind: &str) -> Result<Kind, Error> {
        if let Some(known) = Kind::known(api_version, kind) {
            return Ok(known);
        }
        let key = (api_version.to_owned(), kind.to_owned());
        let cached = || self.discovered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = cached().get(&key).cloned() {
            return Ok(found);
        }
        let found = Kind::discover(&self.client, api_version, kind).await?;
        cached().insert(key, found.clone());
        Ok(found)
    }

    /// The live object, or `None`.
    pub(crate) async fn get(&self, id: &ObjectId) -> Result<Option<Value>, Error> {
        let request = self.path(id).await?.get(&id.name, &GetParams::default());
        match self.send("read", id, request).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The live objects of a kind that carry the labels.
    pub(crate) async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<Value>, Error> {
        let what = &kind.resource.plural;
        let params = ListParams::default().labels(selector);
        let request = Request::new(kind.path(namespace)).list(&params);
        let mut list = self.send("list", what, request).await?;
        let mut items = match list["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        // The server leaves apiVersion and kind out of the items of a list.
        for item in &mut items {
            item["apiVersion"] = kind.resource.api_version.clone().into();
            item["kind"] = kind.resource.kind.clone().into();
        }
        Ok(items)
    }

    /// Server-side apply. Returns the object as it is, or would be, afterwards.
    pub(crate) async fn apply(&self, object: &Value, mode: Mode) -> Result<Value, Error> {
        let id = id_of(object)?;
        let params = PatchParams {
            dry_run: mode.dry_run,
            force: mode.force,
            field_manager: Some(MANAGER.to_owned()),
            field_validation: Some(kube::api::ValidationDirective::Strict),
        };
        let request = self.path(&id).await?.patch(&id.name, &params, &Patch::Apply(object));
        let verb = if mode.dry_run { "dry-run" } else { "apply" };
        self.send(verb, &id, request).await
    }

    /// Merges a patch into a live object.
    pub(crate) async fn merge(&self, id: &ObjectId, patch: &Value) -> Result<Value, Error> {
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let request = self.path(id).await?.patch(&id.name, &params, &Patch::Merge(patch));
        self.send("patch", id, request).await
    }

    /// Creates an object that must not exist yet.
    pub(crate) async fn create(&self, object: &Value, dry_run: bool) -> Result<Value, Error> {
        let id = id_of(object)?;
        let params = PostParams { dry_run, field_manager: Some(MANAGER.to_owned()) };
        let request = self.path(&id).await?.create(&params, object.to_string().into_bytes());
        self.send("create", &id, request).await
    }

    /// Replaces the version of an object that `object` was read from, and only that.
    pub(crate) async fn replace(&self, object: &Value) -> Result<Value, Error> {
        let id = id_of(object)?;
        let params = PostParams { dry_run: false, field_manager: Some(MANAGER.to_owned()) };
        let body = object.to_string().into_bytes();
        let request = self.path(&id).await?.replace(&id.name, &params, body);
        self.send("replace", &id, request).await
    }

    /// Deletes the very object that was read: a successor of the same name is left alone.
    ///
    /// Its dependents are collected in the background, so the name is free at once.
    pub(crate) async fn delete(&self, live: &Value) -> Result<(), Error> {
        let id = id_of(live)?;
        let same = Preconditions {
            uid: meta(live, "uid").map(str::to_owned),
            resource_version: meta(live, "resourceVersion").map(str::to_owned),
        };
        let params = DeleteParams::background().preconditions(same);
        let request = self.path(&id).await?.delete(&id.name, &params);
        match self.send("delete", &id, request).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads an object together with the server's clock, in HTTP's notation.
    ///
    /// Comparing our own clock with times that another machine wrote would break with their skew.
    pub(crate) async fn get_at(&self, id: &ObjectId) -> Result<(Option<Value>, String), Error> {
        let request = self.path(id).await?.get(&id.name, &GetParams::default());
        let request = request.map_err(kube::Error::BuildRequest);
        let answer = async {
            let response = self.client.send(request?.map(Body::from)).await?;
            let date = response.headers().get("date").and_then(|it| it.to_str().ok());
            let date = date.unwrap_or_default().to_owned();
            let bytes = response.into_body().collect_bytes().await?;
            let value: Value = serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError)?;
            Ok::<_, kube::Error>((value, date))
        };
        let (value, date) = limited("read", &id.to_string(), answer).await?;
        if value["kind"] != "Status" {
            return Ok((Some(value), date));
        }
        if value["code"] == 404 {
            return Ok((None, date));
        }
        let status = serde_json::from_value(value).map_err(kube::Error::SerdeError);
        let source = status.map_or_else(|it| it, |it| kube::Error::Api(Box::new(it)));
        Err(Error::Request { verb: "read", object: id.to_string(), source: Box::new(source) })
    }

    /// The client, for what is not a single request.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    async fn path(&self, id: &ObjectId) -> Result<Request, Error> {
        let kind = self.kind(&id.api_version, &id.kind).await?;
        Ok(Request::new(kind.path(id.namespace.as_deref())))
    }

    async fn send(
        &self,
        verb: &'static str,
        object: &impl ToString,
        request: Built,
    ) -> Result<Value, Error> {
        let answer = async {
            let request = request.map_err(kube::Error::BuildRequest)?;
            self.client.request(request).await
        };
        limited(verb, &object.to_string(), answer).await
    }
}

/// Runs the futures, a few at once, and returns their results in order.
pub(crate) async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    stream::iter(futures).buffered(IN_FLIGHT).collect().await
}

async fn limited<T>(
    verb: &'static str,
    object: &str,
    answer: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    let object = || object.to_owned();
    match tokio::time::timeout(LIMIT, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Request { verb, object: object(), source: Box::new(source) }),
        Err(_) => Err(Error::Silent { verb, object: object(), limit_s: LIMIT.as_secs() }),
    }
}
