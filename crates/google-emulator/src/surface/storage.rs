//! Cloud Storage: the gateway in front of the storage server.
//!
//! A request is read once (`call`), authorized (`asked`, `needs`), and written anew for the
//! server behind (`upstream`). Bodies of objects stream in both directions. Buckets and their
//! policies are in the cloud's state.

mod asked;
mod batch;
mod buckets;
pub mod call;
mod copies;
mod digests;
pub mod failure;
pub mod multipart;
mod multipart_uploads;
pub mod names;
mod needs;
mod objects;
mod policies;
mod range;
mod resumable;
mod sessions;
pub mod signed_url;
pub mod text;
mod uploads;
mod upstream;
mod xml;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use hyper::{
    Request, Response, StatusCode,
    header::{CONTENT_TYPE, EXPECT, HOST, HeaderValue, WWW_AUTHENTICATE},
    http::request::Parts,
};

use self::{
    asked::Asked,
    call::{Call, Operation, classify},
    failure::{Failure, Form},
};
use crate::{
    body::{self, Body},
    cloud::Cloud,
    log::Entry,
};

pub use self::{policies::fresh_bindings, upstream::Backend};

/// A refused upload is read to its end up to this length: a client that still writes sees a broken
/// connection instead of the refusal, and tries again.
const DRAIN_MAX: u64 = 128 << 20;
/// The most time for that.
const DRAIN_TIME: Duration = Duration::from_secs(20);

/// Answers a request.
pub async fn handle(cloud: &Arc<Cloud>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let host = host(&parts);
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let call = match classify(parts.method.as_str(), &host, path, query) {
        Ok(call) => call,
        Err((form, failure)) => {
            let refused = refuse(cloud, &parts, form, &failure);
            drain(drainable(&parts, Some(body))).await;
            return refused;
        }
    };
    serve(Arc::clone(cloud), parts, host, call, body).await
}

/// Empties the storage server, because the state is reset: what is in the world is made anew at its
/// first use.
///
/// # Errors
/// When the server doesn't answer.
pub async fn reset(cloud: &Arc<Cloud>) -> Result<(), crate::error::Error> {
    cloud.storage.forget_all();
    let path = "/_internal/delete_all".to_owned();
    let outgoing = upstream::Outgoing::new(hyper::Method::POST, path);
    let answer = cloud.storage.send(cloud.upstreams.storage.as_ref(), outgoing).await;
    let why = match answer {
        Ok(answer) if answer.status().is_success() => return Ok(()),
        Ok(answer) => format!("the storage server answered {}", answer.status()),
        Err(mut failure) => failure.why.take().unwrap_or_default(),
    };
    Err(crate::error::Error::unavailable(&why))
}

/// Answers a call that was read; boxed, because a batch comes back here with its parts.
fn serve(
    cloud: Arc<Cloud>,
    parts: Parts,
    host: String,
    call: Call,
    body: Body,
) -> BoxFuture<'static, Response<Body>> {
    Box::pin(serve_unboxed(cloud, parts, host, call, body))
}

async fn serve_unboxed(
    cloud: Arc<Cloud>,
    parts: Parts,
    host: String,
    call: Call,
    body: Body,
) -> Response<Body> {
    let form = call.api.form();
    let mut asked = match Asked::new(&cloud, parts, host, call, body) {
        Ok(asked) => asked,
        Err(refused) => {
            let asked::Refused { parts, body, failure } = *refused;
            let answer = refuse(&cloud, &parts, form, &failure);
            drain(drainable(&parts, Some(body))).await;
            return answer;
        }
    };
    match asked.authorize_and_answer().await {
        Ok(answer) => answer,
        Err(failure) => {
            let answer = refuse(&cloud, &asked.parts, form, &failure);
            let rest = drainable(&asked.parts, asked.body.take());
            drain(rest).await;
            answer
        }
    }
}

impl Asked {
    async fn authorize_and_answer(&mut self) -> Result<Response<Body>, Failure> {
        self.authorize().await?;
        match self.call.operation.clone() {
            Operation::ListBuckets => self.list_buckets(),
            Operation::InsertBucket => self.insert_bucket().await,
            Operation::GetBucket => self.get_bucket(),
            Operation::PatchBucket | Operation::UpdateBucket => self.change_bucket().await,
            Operation::DeleteBucket => self.delete_bucket().await,
            Operation::GetStorageLayout => self.storage_layout(),
            Operation::GetServiceAccount { .. } => Ok(self.service_agent()),
            Operation::GetBucketPolicy => self.get_policy(),
            Operation::SetBucketPolicy => self.set_policy().await,
            Operation::TestBucketPermissions => self.test_permissions(),
            Operation::ListManagedFolders => Ok(no_folders()),
            Operation::ListObjects => self.list_objects().await,
            Operation::GetObject => self.get_object().await,
            Operation::Download => self.download().await,
            Operation::PatchObject | Operation::UpdateObject => self.change_object().await,
            Operation::DeleteObject => self.delete_object().await,
            Operation::InsertMedia => self.insert_media().await,
            Operation::InsertMultipart => self.insert_multipart().await,
            Operation::StartResumable => self.start_resumable().await,
            Operation::ContinueResumable { upload_id } => self.continue_resumable(&upload_id).await,
            Operation::CancelResumable { upload_id } => self.cancel_resumable(&upload_id).await,
            Operation::InitiateMultipart => self.initiate_multipart(),
            Operation::UploadPart { upload_id, number } => {
                self.upload_part(&upload_id, number).await
            }
            Operation::CompleteMultipart { upload_id } => self.complete_multipart(&upload_id).await,
            Operation::AbortMultipart { upload_id } => self.abort_multipart(&upload_id).await,
            Operation::ListParts { upload_id } => self.list_parts(&upload_id).await,
            Operation::ListMultipartUploads => self.list_multipart_uploads(),
            Operation::Compose => self.compose().await,
            Operation::Rewrite { to_bucket, to_object } => {
                self.copy(&to_bucket, &to_object, "rewriteTo").await
            }
            Operation::Copy { to_bucket, to_object } => {
                self.copy(&to_bucket, &to_object, "copyTo").await
            }
            Operation::Batch => self.batch().await,
            Operation::LegacyAcl { verb } => {
                let thing = if self.call.object.is_empty() { "a bucket" } else { "an object" };
                Err(Failure::uniform_access(verb, thing))
            }
            Operation::Unknown(what) => Err(Failure::not_implemented(what)),
        }
    }
}

/// No folder of a bucket has a policy of its own, because there is no call that makes one.
fn no_folders() -> Response<Body> {
    body::ok(&serde_json::json!({ "kind": "storage#managedFolders" }))
}

/// The host that the request is for, in lower case.
fn host(parts: &Parts) -> String {
    let header = || parts.headers.get(HOST).and_then(|it| it.to_str().ok());
    let host = parts.uri.authority().map(hyper::http::uri::Authority::as_str).or_else(header);
    host.unwrap_or_default().trim_end_matches('.').to_ascii_lowercase()
}

/// A refusal in the caller's form. Refusals by IAM are in the log already, with their reason.
fn refuse(cloud: &Cloud, parts: &Parts, form: Form, failure: &Failure) -> Response<Body> {
    let status = failure.status_in(form);
    let decision = match failure.status {
        501 => "unknown",
        500.. => "error",
        _ => "refused",
    };
    if failure.status >= 500 || failure.why.is_some() {
        cloud.log(&Entry {
            surface: "storage",
            method: &format!("{} {}", parts.method, parts.uri.path()),
            decision,
            why: failure.why.as_deref().unwrap_or(&failure.message),
            status,
            ..Entry::default()
        });
    }
    let (kind, text) = failure.body(form);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let bodiless = parts.method == hyper::Method::HEAD || status == StatusCode::NOT_MODIFIED;
    let mut answer = Response::new(if bodiless { body::empty() } else { body::full(text) });
    *answer.status_mut() = status;
    if !bodiless {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if status == StatusCode::UNAUTHORIZED {
        let realm = HeaderValue::from_static("Bearer realm=\"https://accounts.google.com/\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
    }
    answer
}

/// Reads what a client still sends, so that it comes to reading the refusal.
async fn drain(body: Option<Body>) {
    let Some(body) = body else { return };
    drop(tokio::time::timeout(DRAIN_TIME, read_some(body)).await);
}

async fn read_some(mut body: Body) {
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, |it| it.len() as u64);
        if length > DRAIN_MAX {
            break;
        }
    }
}

/// A body that may be there to be read: a client that waits for leave to send hasn't sent anything.
fn drainable(parts: &Parts, body: Option<Body>) -> Option<Body> {
    body.filter(|_| !parts.headers.contains_key(EXPECT))
}
