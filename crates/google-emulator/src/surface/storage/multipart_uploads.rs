//! Multipart uploads of the XML API: opened, filled part by part in any order, and completed.
//!
//! fake-gcs-server has none. Here the open ones are rows of the state, their parts are objects of a
//! bucket upstream that nobody can name, and completing one streams them into the object.
//! Google keeps no MD5 of such an object; fake-gcs-server does.

mod listing;
mod parts;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http_body_util::BodyStream;
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;

use self::{
    listing::{PAGE_MAX, PartsAsked, UploadsAsked},
    parts::{PART_MAX, Part, Xml, assemble, read_completion},
};
use super::{
    asked::{Asked, from_error, whole},
    digests::{Declared, compared},
    failure::Failure,
    names::check_keepable,
    objects::{no_content, refusal},
    text::{Query, percent_encode_path},
    uploads::content_length,
    upstream::{Outgoing, read},
    xml::stored_headers,
};
use crate::{
    body::{self, Body, BodyError},
    cloud::Cloud,
    state::MultipartUpload,
};

/// The bucket upstream that holds parts. Google allows no such name, so nobody has it already.
const PARTS_BUCKET: &str = "multipart..parts";
/// A list of as many parts as there may be is under this length.
const COMPLETION_LIMIT: usize = 2 << 20;

impl Asked {
    pub(super) fn initiate_multipart(&self) -> Result<Response<Body>, Failure> {
        self.refuse_conditions()?;
        let (bucket, object) = (self.call.bucket.clone(), self.call.object.clone());
        check_keepable(&object)?;
        let id = fresh_id()?;
        let answer = Xml::new("InitiateMultipartUploadResult")
            .with("Bucket", &bucket)
            .with("Key", &object)
            .with("UploadId", &id);
        let metadata = self.xml_metadata();
        let upload = MultipartUpload { bucket, object, initiated: self.now(), metadata };
        let kept = self.cloud.state.change(|state| {
            state.multipart_uploads.insert(id, upload);
            Ok(())
        });
        kept.map_err(|error| from_error(&error))?;
        Ok(answer_in_xml(answer))
    }

    pub(super) async fn upload_part(
        &mut self,
        id: &str,
        number: u16,
    ) -> Result<Response<Body>, Failure> {
        self.multipart_upload(id)?;
        let length = content_length(&self.parts.headers);
        if length.is_some_and(|it| it > PART_MAX) {
            return Err(Failure::too_large());
        }
        self.cloud.storage.ensure(self.cloud.upstreams.storage.as_ref(), PARTS_BUCKET).await?;
        let mut query = Query::default();
        query.set("uploadType", "media");
        query.set("name", &part_name(id, number));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let body = self.body.take().unwrap_or_else(body::empty);
        let (body, seen) = compared(body, Declared::read(&self.parts.headers), 0);
        let outgoing = Outgoing::upload(Method::POST, PARTS_BUCKET).query(query);
        let answer = self.send(outgoing.headers(&headers).body(body)).await;
        seen.check()?;
        let answer = answer?;
        if !answer.status().is_success() {
            return Err(refusal(answer).await);
        }
        let part = Part::read(&read(answer).await?)
            .ok_or_else(|| Failure::backend_error("the store tells no part of what it took"))?;
        // The upload may have ended while its part came.
        if let Err(failure) = self.multipart_upload(id) {
            discard(&self.cloud, &part_name(id, number)).await;
            return Err(failure);
        }
        taken(&part)
    }

    pub(super) async fn complete_multipart(&mut self, id: &str) -> Result<Response<Body>, Failure> {
        let upload = self.multipart_upload(id)?;
        self.refuse_conditions()?;
        let body = self.body.take().unwrap_or_else(body::empty);
        let wanted = read_completion(&whole(body, COMPLETION_LIMIT).await?)?;
        let parts = assemble(&wanted, &held_parts(&self.cloud, id).await?)?;
        let mut target = self.target(&upload.object).await?;
        target.query.set("uploadType", "multipart");
        let (headers, body) = assembled(&self.cloud, id, &upload, &parts)?;
        let outgoing = Outgoing::upload(Method::POST, &upload.bucket).query(target.query);
        let answer = self.send(outgoing.headers(&headers).body(body)).await?;
        let answer = self.accepted(answer, &upload.object, target.guarded).await?;
        let resource = read(answer).await?;
        self.end_multipart(id).await?;
        Ok(completed(&self.host, &upload, &resource))
    }

    pub(super) async fn abort_multipart(&mut self, id: &str) -> Result<Response<Body>, Failure> {
        self.multipart_upload(id)?;
        self.end_multipart(id).await?;
        Ok(no_content())
    }

    pub(super) async fn list_parts(&mut self, id: &str) -> Result<Response<Body>, Failure> {
        let upload = self.multipart_upload(id)?;
        let after = self.number_of("part-number-marker")?.unwrap_or(0);
        let asked = PartsAsked { after, most: self.most("max-parts")? };
        let held = held_parts(&self.cloud, id).await?;
        Ok(answer_in_xml(listing::parts(id, &upload, &held, asked)))
    }

    pub(super) fn list_multipart_uploads(&self) -> Result<Response<Body>, Failure> {
        let text = |name: &str| self.call.query.get(name).unwrap_or_default();
        if !text("delimiter").is_empty() {
            return Err(Failure::not_implemented("multipart uploads listed with a delimiter"));
        }
        let asked = UploadsAsked {
            bucket: &self.call.bucket,
            prefix: text("prefix"),
            after_object: text("key-marker"),
            after_id: text("upload-id-marker"),
            most: self.most("max-uploads")?,
        };
        Ok(answer_in_xml(listing::uploads(self.cloud.state().multipart_uploads.iter(), asked)))
    }

    /// The open upload of this id, which must be for the object of the path.
    fn multipart_upload(&self, id: &str) -> Result<Arc<MultipartUpload>, Failure> {
        let upload = self.cloud.state().multipart_uploads.shared(id);
        let upload =
            upload.filter(|it| it.bucket == self.call.bucket && it.object == self.call.object);
        upload.ok_or_else(Failure::no_upload)
    }

    async fn end_multipart(&self, id: &str) -> Result<(), Failure> {
        let ended = self.cloud.state.change(|state| {
            state.multipart_uploads.remove(id);
            Ok(())
        });
        ended.map_err(|error| from_error(&error))?;
        discard_parts(&self.cloud, id).await;
        Ok(())
    }

    /// Google documents that these requests know no conditions; what it does with one isn't known.
    fn refuse_conditions(&self) -> Result<(), Failure> {
        let is_condition = |name: &HeaderName| name.as_str().starts_with("x-goog-if-");
        if self.parts.headers.keys().any(is_condition) {
            return Err(Failure::not_implemented("conditions on multipart uploads"));
        }
        Ok(())
    }

    /// How many entries a page may have.
    fn most(&self, name: &str) -> Result<usize, Failure> {
        Ok(self.number_of(name)?.unwrap_or(PAGE_MAX).min(PAGE_MAX))
    }

    fn number_of(&self, name: &str) -> Result<Option<usize>, Failure> {
        let value = self.call.query.get(name).filter(|it| !it.is_empty());
        let number = value.map(str::parse).transpose();
        number.map_err(|_| Failure::invalid(format!("Invalid argument: {name} is no number.")))
    }
}

/// Takes away the parts of every upload to a bucket that is deleted.
pub(super) async fn discard_uploads_to(cloud: &Arc<Cloud>, bucket: &str) {
    let state = cloud.state();
    let uploads = state.multipart_uploads.iter().filter(|(_, it)| it.bucket == bucket);
    for (id, _) in uploads {
        discard_parts(cloud, id).await;
    }
}

/// What is left behind here takes place upstream until the next reset, and nobody sees it.
async fn discard_parts(cloud: &Arc<Cloud>, id: &str) {
    for part in held_parts(cloud, id).await.unwrap_or_default() {
        discard(cloud, &part_name(id, part.number)).await;
    }
}

async fn discard(cloud: &Cloud, name: &str) {
    let outgoing = Outgoing::object(Method::DELETE, PARTS_BUCKET, name);
    drop(cloud.storage.send(cloud.upstreams.storage.as_ref(), outgoing).await);
}

/// The parts of an upload that the store holds, by their numbers.
async fn held_parts(cloud: &Cloud, id: &str) -> Result<Vec<Part>, Failure> {
    let mut parts = Vec::new();
    let mut query = Query::default();
    query.set("prefix", &format!("{id}/"));
    query.set("maxResults", &PAGE_MAX.to_string());
    loop {
        let path = format!("/storage/v1/b/{PARTS_BUCKET}/o");
        let outgoing = Outgoing::new(Method::GET, path).query(query.clone());
        let answer = cloud.storage.send(cloud.upstreams.storage.as_ref(), outgoing).await?;
        match answer.status() {
            // Nobody has uploaded a part yet.
            StatusCode::NOT_FOUND => break,
            it if it.is_success() => {}
            it => return Err(Failure::backend_error(format!("the store answered {it}"))),
        }
        let page = read(answer).await?;
        parts.extend(page["items"].as_array().into_iter().flatten().filter_map(Part::read));
        let Some(next) = page["nextPageToken"].as_str().filter(|it| !it.is_empty()) else { break };
        query.set("pageToken", next);
    }
    parts.sort_by_key(|it| it.number);
    Ok(parts)
}

/// A request to the store that makes the object: its metadata, then its parts as they come.
fn assembled(
    cloud: &Arc<Cloud>,
    id: &str,
    upload: &MultipartUpload,
    parts: &[Part],
) -> Result<(HeaderMap, Body), Failure> {
    let kind = upload.metadata.get("contentType").and_then(Value::as_str);
    let kind = kind.unwrap_or("application/octet-stream");
    let metadata = Value::Object(upload.metadata.clone());
    // The id is random, so that no part can hold the boundary.
    let head = format!(
        "--{id}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{metadata}\r\n\
         --{id}\r\nContent-Type: {kind}\r\n\r\n"
    );
    let tail = format!("\r\n--{id}--\r\n");
    let length = (head.len() + tail.len()) as u64 + parts.iter().map(|it| it.size).sum::<u64>();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let kind = HeaderValue::from_str(&format!("multipart/related; boundary={id}"));
    headers.insert(CONTENT_TYPE, kind.map_err(Failure::backend_error)?);
    let names: Vec<String> = parts.iter().map(|it| part_name(id, it.number)).collect();
    let cloud = Arc::clone(cloud);
    let bytes = stream::iter(names).then(move |name| content(Arc::clone(&cloud), name));
    let text = |text: String| stream::once(async { Ok(Bytes::from(text)) });
    let whole = text(head).chain(bytes.try_flatten()).chain(text(tail));
    Ok((headers, body::stream(whole)))
}

/// The bytes of one part.
async fn content(
    cloud: Arc<Cloud>,
    name: String,
) -> Result<impl Stream<Item = Result<Bytes, BodyError>>, BodyError> {
    let mut query = Query::default();
    query.set("alt", "media");
    let outgoing = Outgoing::download(Method::GET, PARTS_BUCKET, &name).query(query);
    let answer = cloud.storage.send(cloud.upstreams.storage.as_ref(), outgoing).await;
    let answer = answer.map_err(|it| format!("part `{name}`: {}", it.message))?;
    if !answer.status().is_success() {
        return Err(format!("part `{name}`: the store answered {}", answer.status()).into());
    }
    let frames = BodyStream::new(answer.into_body()).map_err(BodyError::from);
    Ok(frames.try_filter_map(async |it| Ok(it.into_data().ok())))
}

fn part_name(id: &str, number: u16) -> String {
    format!("{id}/{number:05}")
}

/// An id that nobody guesses, in letters that need no encoding in a URL.
fn fresh_id() -> Result<String, Failure> {
    let mut id = [0; 32];
    let filled = SystemRandom::new().fill(&mut id);
    filled.map_err(|_| Failure::backend_error("no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(id))
}

fn answer_in_xml(document: Xml) -> Response<Body> {
    body::answer(StatusCode::OK, "application/xml; charset=UTF-8", document.finish())
}

/// The answer to a part: nothing but what its client has to give back, and to compare.
fn taken(part: &Part) -> Result<Response<Body>, Failure> {
    let value = |text: String| HeaderValue::from_str(&text).map_err(Failure::backend_error);
    let mut answer = Response::new(body::empty());
    answer.headers_mut().insert(ETAG, value(format!("\"{}\"", part.etag()))?);
    answer.headers_mut().insert(HeaderName::from_static("x-goog-hash"), value(part.hash())?);
    Ok(answer)
}

fn completed(host: &str, upload: &MultipartUpload, resource: &Value) -> Response<Body> {
    let object = percent_encode_path(&upload.object);
    let location = match super::call::virtual_bucket(host) {
        Some(_) => format!("https://{host}/{object}"),
        None => format!("https://{host}/{}/{object}", upload.bucket),
    };
    let etag = format!("\"{}\"", resource["etag"].as_str().unwrap_or_default());
    let document = Xml::new("CompleteMultipartUploadResult")
        .with("Location", location)
        .with("Bucket", &upload.bucket)
        .with("Key", &upload.object)
        .with("ETag", etag);
    let mut answer = answer_in_xml(document);
    let about = stored_headers(resource).into_parts().0.headers;
    let about = about.into_iter().filter_map(|(name, value)| Some((name?, value)));
    answer.headers_mut().extend(about.filter(|(name, _)| *name != CONTENT_TYPE));
    answer
}
