//! A call with everything that answering it takes: who asks, for what, with which body.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use hyper::{Response, body::Incoming, http::request::Parts};
use iam::{Caller, Principal, Resource};
use serde_json::{Map, Value};

use super::{
    call::{Api, Call, Operation},
    failure::{Failure, Kind},
    needs::{LIST, Need, needs, writes, writes_objects},
    signed_url::{self, Signed, SignedUrl},
    upstream::Outgoing,
};
use crate::{
    authorize::{Context, STORAGE, caller},
    body::{self, Body, JSON_LIMIT},
    clock,
    cloud::Cloud,
    error::Error,
    signing,
    state::Bucket,
};

/// Scopes that cover reading only.
const READ_ONLY: [&str; 2] = [
    "https://www.googleapis.com/auth/devstorage.read_only",
    "https://www.googleapis.com/auth/cloud-platform.read-only",
];
/// The scope that covers objects, and no policies.
const READ_WRITE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// A call that is to be answered.
pub(super) struct Asked {
    /// The cloud.
    pub(super) cloud: Arc<Cloud>,
    /// The caller, known by a token, a signature, or not at all.
    pub(super) context: Context,
    /// What is asked for.
    pub(super) call: Call,
    /// The request's head.
    pub(super) parts: Parts,
    /// The host that the request is for.
    pub(super) host: String,
    /// The request's body, until somebody takes it.
    pub(super) body: Option<Body>,
}

/// A call whose caller isn't who they say.
pub(super) struct Refused {
    pub(super) parts: Parts,
    pub(super) body: Body,
    pub(super) failure: Failure,
}

impl Asked {
    /// Finds out who asks.
    pub(super) fn new(
        cloud: &Arc<Cloud>,
        parts: Parts,
        host: String,
        call: Call,
        body: Body,
    ) -> Result<Self, Box<Refused>> {
        match identify(cloud, &parts, &host, &call) {
            Ok(context) => {
                let cloud = Arc::clone(cloud);
                Ok(Self { cloud, context, call, parts, host, body: Some(body) })
            }
            Err(failure) => Err(Box::new(Refused { parts, body, failure })),
        }
    }

    /// Refuses what the caller may not do, as far as that is known from the request's head.
    pub(super) async fn authorize(&self) -> Result<(), Failure> {
        let operation = &self.call.operation;
        if let Operation::Unknown(_) = operation {
            return Ok(());
        }
        self.context.require_enabled().map_err(|it| from_error(&it))?;
        self.check_scopes()?;
        let (bucket, object) = (self.call.bucket.as_str(), self.call.object.as_str());
        if !bucket.is_empty() {
            self.bucket_for_objects(bucket)?;
        }
        for need in needs(operation) {
            self.need(*need, bucket, object)?;
        }
        if !bucket.is_empty() && !matches!(operation, Operation::DeleteBucket) {
            self.cloud.storage.ensure(self.cloud.upstreams.storage.as_ref(), bucket).await?;
        }
        Ok(())
    }

    /// A bucket that objects may be read from or written to, as the operation does.
    pub(super) fn bucket_for_objects(&self, name: &str) -> Result<Arc<Bucket>, Failure> {
        let bucket = self.bucket(name)?;
        if bucket.read_only && writes_objects(&self.call.operation) {
            let text = format!("The emulated bucket {name} is read-only, as a test asked for.");
            let xml = ("AccessDenied", "Access denied.");
            return Err(
                Failure::new(403, "forbidden", xml, text).because("the bucket is read-only")
            );
        }
        Ok(bucket)
    }

    /// A bucket of the state.
    pub(super) fn bucket(&self, name: &str) -> Result<Arc<Bucket>, Failure> {
        if let Some(bucket) = self.cloud.state().buckets.shared(name) {
            return Ok(bucket);
        }
        // Names of buckets are public at Google, but the JSON API asks who is there first.
        if self.context.caller == Caller::Anonymous && self.call.api != Api::Xml {
            let need = needs(&self.call.operation).first();
            let need =
                need.map_or(("storage.buckets.get", Kind::Bucket), |it| (it.permission, it.kind));
            return Err(Failure::anonymous(need.0, need.1));
        }
        Err(Failure::no_bucket())
    }

    /// Refuses when the caller lacks a permission.
    pub(super) fn need(&self, need: Need, bucket: &str, object: &str) -> Result<(), Failure> {
        let resource = self.resource(need.kind, bucket, object);
        let refuse = |_| match &self.context.caller {
            Caller::Anonymous => Failure::anonymous(need.permission, need.kind),
            caller @ Caller::Known(_) => {
                Failure::denied(&caller.to_string(), need.permission, need.kind)
            }
        };
        self.context.check(need.permission, &resource).map(drop).map_err(refuse)
    }

    /// Whether the caller has a permission; a no is no refusal, and not in the log.
    pub(super) fn may(&self, need: Need, bucket: &str, object: &str) -> bool {
        let resource = self.resource(need.kind, bucket, object);
        !self.context.granted(&[need.permission], &resource).is_empty()
    }

    fn resource(&self, kind: Kind, bucket: &str, object: &str) -> Resource {
        let world = &self.cloud.world;
        let state = self.cloud.state();
        let project = state.buckets.get(bucket).map_or(&world.project.id, |it| &it.project);
        match kind {
            Kind::Bucket => Resource::bucket(project, bucket),
            Kind::Object => Resource::object(project, bucket, object),
            Kind::Project => {
                let named = match &self.call.operation {
                    Operation::GetServiceAccount { project } => Some(project.as_str()),
                    _ => self.call.query.get("project"),
                };
                // A number is as good as an id; what is neither is a project without any binding.
                let named = named.filter(|it| !world.is_project(it));
                Resource::project(named.unwrap_or(&world.project.id))
            }
        }
    }

    /// 404 of an object, for a caller who may know which objects there are; 403 for others.
    pub(super) fn no_object(&self, bucket: &str, object: &str) -> Failure {
        match self.need(LIST, bucket, "") {
            Ok(()) => Failure::no_object(bucket, object),
            Err(failure) => failure,
        }
    }

    /// Sends a request to the storage server.
    pub(super) async fn send(&self, outgoing: Outgoing) -> Result<Response<Incoming>, Failure> {
        self.cloud.storage.send(self.cloud.upstreams.storage.as_ref(), outgoing).await
    }

    /// The body as a JSON object; no body is an empty one.
    pub(super) async fn json(&mut self) -> Result<Map<String, Value>, Failure> {
        let Some(body) = self.body.take() else { return Ok(Map::new()) };
        let bytes = whole(body, JSON_LIMIT).await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_slice(&bytes).map_err(|error| Failure::parse_error().because(error))
    }

    /// A header's value, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|it| it.to_str().ok())
    }

    /// Seconds since the epoch.
    pub(super) fn now(&self) -> u64 {
        clock::seconds(self.cloud.now())
    }

    fn check_scopes(&self) -> Result<(), Failure> {
        let Some(token) = &self.context.token else { return Ok(()) };
        let operation = &self.call.operation;
        let policy = matches!(operation, Operation::SetBucketPolicy | Operation::GetBucketPolicy);
        let covers = |scope: &String| {
            let scope = scope.as_str();
            let reads_alone = READ_ONLY.contains(&scope) && writes(operation);
            let lacks_policies = scope == READ_WRITE && policy;
            !reads_alone && !lacks_policies
        };
        if token.scopes.iter().any(covers) {
            return Ok(());
        }
        Err(no_scope().because(format!("scopes are {}", token.scopes.join(" "))))
    }
}

/// A body as a whole, up to a limit. Boxed, or the compiler can't tell that a batch may move
/// between threads.
pub(super) fn whole(body: Body, limit: usize) -> BoxFuture<'static, Result<Bytes, Failure>> {
    Box::pin(async move { body::bytes(body, limit).await.map_err(|_| Failure::too_large()) })
}

/// 403 of a token whose scopes don't cover a call (seen in public logs).
fn no_scope() -> Failure {
    let xml = ("AccessDenied", "Access denied.");
    Failure::new(403, "forbidden", xml, "Provided scope(s) are not authorized")
}

/// Core's errors in Cloud Storage's words.
pub(super) fn from_error(error: &Error) -> Failure {
    match (error.status.as_u16(), error.reason) {
        (401, _) => Failure::bad_token(),
        (403, "insufficientPermissions") => no_scope(),
        (status, reason) => {
            let xml = ("AccessDenied", "Access denied.");
            Failure::new(status, reason, xml, error.message.clone())
        }
    }
}

fn identify(
    cloud: &Arc<Cloud>,
    parts: &Parts,
    host: &str,
    call: &Call,
) -> Result<Context, Failure> {
    let signed = match call.api {
        Api::Xml => signed_url::read(&call.query, clock::seconds(cloud.now()))?,
        _ => None,
    };
    if let Some(url) = signed {
        verify(cloud, parts, host, call, &url)?;
        let caller = Caller::Known(Principal::service_account(&url.signer));
        let method = format!("{} {}", parts.method, parts.uri.path());
        let cloud = Arc::clone(cloud);
        return Ok(Context { cloud, api: &STORAGE, caller, token: None, method });
    }
    let other = parts.headers.get("authorization").and_then(|it| it.to_str().ok());
    if other.is_some_and(|it| it.starts_with("GOOG") || it.starts_with("AWS4-")) {
        return Err(Failure::not_implemented("signatures by HMAC keys (`Authorization`)"));
    }
    caller(cloud, &STORAGE, parts).map_err(|error| from_error(&error))
}

/// Checks a signed URL with the key that the emulated IAM signs with.
fn verify(
    cloud: &Cloud,
    parts: &Parts,
    host: &str,
    call: &Call,
    url: &SignedUrl,
) -> Result<(), Failure> {
    let mut headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .filter(|(name, _)| name.as_str() != "host")
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    headers.push(("host".to_owned(), host.to_owned()));
    let signed = Signed {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: &call.query,
        headers: &headers,
        bucket: &call.bucket,
        object: &call.object,
    };
    let (string, request) = url.string_to_sign(&signed)?;
    let state = cloud.state();
    let alive = state.accounts.get(&url.signer).is_some_and(|it| !it.disabled);
    let fits = alive && signing::verify(&state, &url.signer, string.as_bytes(), &url.signature);
    let mismatch = || {
        url.mismatch(&string, &request)
            .because("the signature does not fit, or its account is gone")
    };
    fits.then_some(()).ok_or_else(mismatch)
}
