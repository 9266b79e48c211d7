//! The way to fake-gcs-server: requests that are written here, never the caller's own.

use std::{collections::HashSet, sync::Mutex, sync::PoisonError, time::Duration};

use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::{Value, json};

use super::{
    failure::Failure,
    sessions::Sessions,
    text::{Query, percent_encode},
};
use crate::body::{self, Body};

/// The name under which fake-gcs-server knows itself; links in its answers are made of it.
const UPSTREAM_HOST: &str = "storage.googleapis.com";
/// The most that is read of an answer that has to be understood here.
const ANSWER_LIMIT: usize = 4 << 20;

/// Headers that are the caller's business with the gateway, or that would give a call another
/// meaning upstream.
const NOT_FORWARDED: [&str; 16] = [
    "authorization",
    "connection",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-goog-content-sha256",
    "x-goog-user-project",
    "x-http-method-override",
];

/// What this surface keeps beside the cloud's state: connections, and the uploads that are open.
pub struct Backend {
    client: Client<HttpConnector, Body>,
    /// Buckets that are known to be upstream; a world's buckets are made at their first use.
    made: Mutex<HashSet<String>>,
    /// Resumable uploads.
    pub(super) sessions: Sessions,
}

impl Default for Backend {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(3)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        Self { client, made: Mutex::default(), sessions: Sessions::default() }
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Backend")
    }
}

/// A request for upstream.
pub(super) struct Outgoing {
    method: Method,
    path: String,
    query: Query,
    headers: HeaderMap,
    body: Body,
}

impl Outgoing {
    /// A request without a body.
    pub(super) fn new(method: Method, path: String) -> Self {
        let (query, headers) = (Query::default(), HeaderMap::new());
        Self { method, path, query, headers, body: body::empty() }
    }

    /// A call of the JSON API on an object.
    pub(super) fn object(method: Method, bucket: &str, object: &str) -> Self {
        Self::new(method, object_path("storage", bucket, object))
    }

    /// The bytes of an object.
    pub(super) fn download(method: Method, bucket: &str, object: &str) -> Self {
        Self::new(method, object_path("download/storage", bucket, object))
    }

    /// An upload to a bucket.
    pub(super) fn upload(method: Method, bucket: &str) -> Self {
        Self::new(method, format!("/upload/storage/v1/b/{}/o", percent_encode(bucket)))
    }

    /// The same request with a query.
    #[must_use]
    pub(super) fn query(self, query: Query) -> Self {
        Self { query, ..self }
    }

    /// The same request with the caller's headers, as far as they are for the store.
    #[must_use]
    pub(super) fn headers(mut self, headers: &HeaderMap) -> Self {
        let kept = headers.iter().filter(|(name, _)| {
            let name = name.as_str();
            !NOT_FORWARDED.contains(&name)
                && !name.starts_with("x-forwarded-")
                && !name.starts_with("x-goog-upload-")
        });
        for (name, value) in kept {
            self.headers.append(name, value.clone());
        }
        self
    }

    /// The same request with a body.
    #[must_use]
    pub(super) fn body(self, body: Body) -> Self {
        Self { body, ..self }
    }

    /// The same request with a body in JSON, instead of the caller's.
    #[must_use]
    pub(super) fn json(mut self, value: &Value) -> Self {
        let text = value.to_string();
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
        self.body(body::full(text))
    }
}

fn object_path(api: &str, bucket: &str, object: &str) -> String {
    format!("/{api}/v1/b/{}/o/{}", percent_encode(bucket), percent_encode(object))
}

impl Backend {
    /// Sends a request upstream; the answer's body streams.
    ///
    /// # Errors
    /// 503 when upstream doesn't answer.
    pub(super) async fn send(
        &self,
        upstream: Option<&hyper::Uri>,
        outgoing: Outgoing,
    ) -> Result<Response<Incoming>, Failure> {
        let base = upstream.ok_or_else(|| Failure::backend_error("no upstream is configured"))?;
        let authority = base.authority().map_or("", |it| it.as_str());
        let Outgoing { method, path, query, headers, body } = outgoing;
        let separator = if query.pairs().is_empty() { "" } else { "?" };
        let uri = format!("http://{authority}{path}{separator}{}", query.render());
        let mut request = Request::new(body);
        *request.uri_mut() = uri
            .parse()
            .map_err(|error| Failure::backend_error(format!("`{uri}` is no address: {error}")))?;
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, HeaderValue::from_static(UPSTREAM_HOST));
        let https = HeaderValue::from_static("https");
        request.headers_mut().insert(HeaderName::from_static("x-forwarded-proto"), https);
        let answer = self.client.request(request).await;
        answer.map_err(|error| Failure::backend_error(chain(&error)))
    }

    /// Makes sure that a bucket of the state is upstream too.
    ///
    /// # Errors
    /// 503 when upstream doesn't answer.
    pub(super) async fn ensure(
        &self,
        upstream: Option<&hyper::Uri>,
        bucket: &str,
    ) -> Result<(), Failure> {
        if lock(&self.made).contains(bucket) {
            return Ok(());
        }
        self.make(upstream, bucket).await?;
        Ok(())
    }

    /// Makes a bucket upstream; false when there is one already.
    ///
    /// # Errors
    /// 503 when upstream doesn't answer.
    pub(super) async fn make(
        &self,
        upstream: Option<&hyper::Uri>,
        bucket: &str,
    ) -> Result<bool, Failure> {
        let outgoing = Outgoing::new(Method::POST, "/storage/v1/b".to_owned());
        let answer = self.send(upstream, outgoing.json(&json!({ "name": bucket }))).await?;
        let status = answer.status();
        if !status.is_success() && status != StatusCode::CONFLICT {
            let why = read(answer).await.map(|it| it.to_string()).unwrap_or_default();
            return Err(Failure::backend_error(format!("making bucket `{bucket}`: {why}")));
        }
        lock(&self.made).insert(bucket.to_owned());
        Ok(status.is_success())
    }

    /// Forgets that a bucket is upstream.
    pub(super) fn forget(&self, bucket: &str) {
        lock(&self.made).remove(bucket);
    }

    /// Forgets everything that it knows of upstream.
    pub(super) fn forget_all(&self) {
        lock(&self.made).clear();
        self.sessions.clear();
    }
}

/// Reads a small answer whole; one that isn't JSON is null.
///
/// # Errors
/// 503 when it breaks off.
pub(super) async fn read(answer: Response<Incoming>) -> Result<Value, Failure> {
    let limited = http_body_util::Limited::new(answer.into_body(), ANSWER_LIMIT);
    let bytes = limited.collect().await.map_err(Failure::backend_error)?.to_bytes();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |it| it.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
