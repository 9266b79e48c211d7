//! Resumable uploads: opened with the permissions of their caller, gone on with by whoever has the
//! id.

use hyper::{
    Method, Response, StatusCode,
    header::{
        CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
        RANGE,
    },
};
use iam::Caller;
use serde_json::{Map, Value};

use super::{
    asked::Asked,
    call::Api,
    digests::{Declared, compared},
    failure::Failure,
    objects::refusal,
    range::Piece,
    sessions::{Session, Slot},
    text::{Query, percent_encode, percent_encode_path},
    uploads::{content_length, skipping},
    upstream::{Outgoing, read},
};
use crate::body::{self, Body};

/// Keys of an object's resource that are told elsewhere, or that the store would take for another
/// bucket.
const NOT_METADATA: [&str; 5] = ["bucket", "name", "acl", "predefinedacl", "retention"];

/// A piece as it goes to the store.
struct Outbound {
    headers: HeaderMap,
    body: Body,
    /// The place of its last byte, when it tells one.
    last: Option<u64>,
    /// What is said of the whole object, with the last piece.
    declared: Declared,
}

impl Session {
    /// A request that goes on with it.
    fn outgoing(&self, id: &str) -> Outgoing {
        let mut query = Query::default();
        query.set("uploadType", "resumable");
        query.set("name", &self.object);
        query.set("upload_id", id);
        Outgoing::upload(Method::PUT, &self.bucket).query(query)
    }
}

impl Asked {
    pub(super) async fn start_resumable(&mut self) -> Result<Response<Body>, Failure> {
        let xml = self.call.api == Api::Xml;
        if xml && self.header("x-goog-resumable") != Some("start") {
            return Err(Failure::not_implemented(
                "POST on an object without `x-goog-resumable: start`",
            ));
        }
        let mut metadata = if xml { self.xml_metadata() } else { self.json().await? };
        let named = metadata.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = if xml { self.call.object.clone() } else { named };
        let name = self.call.query.get("name").filter(|_| !xml).map_or(name, str::to_owned);
        let other = metadata.get("bucket").and_then(Value::as_str);
        if other.is_some_and(|it| it != self.call.bucket) {
            return Err(Failure::invalid(
                "The bucket in the body isn't the bucket of the request.",
            ));
        }
        metadata.retain(|key, _| !NOT_METADATA.contains(&key.to_ascii_lowercase().as_str()));
        if let Some(kind) = self.header("x-upload-content-type") {
            metadata.entry("contentType").or_insert_with(|| Value::from(kind));
        }
        let mut target = self.target(&name).await?;
        target.query.set("uploadType", "resumable");
        let outgoing = Outgoing::upload(Method::POST, &self.call.bucket).query(target.query);
        let answer = self.send(outgoing.json(&Value::Object(metadata))).await?;
        if !answer.status().is_success() {
            return Err(refusal(answer).await);
        }
        let location = answer.headers().get(LOCATION).and_then(|it| it.to_str().ok());
        let query =
            location.and_then(|it| it.split_once('?')).map(|(_, query)| Query::parse(query));
        let id = query.and_then(Result::ok).and_then(|it| it.get("upload_id").map(str::to_owned));
        let id = id.ok_or_else(|| Failure::backend_error("the store opened no upload"))?;
        let session = Session {
            bucket: self.call.bucket.clone(),
            object: name.clone(),
            opener: self.context.caller.clone(),
            opened: self.now(),
            offset: 0,
            crc32c: 0,
            guarded: target.guarded,
            finished: None,
        };
        self.cloud.storage.sessions.insert(id.clone(), session);
        self.opened(&name, &id)
    }

    /// Where the pieces go: to this host, whatever the store thinks it is called.
    fn opened(&self, name: &str, id: &str) -> Result<Response<Body>, Failure> {
        let (host, bucket) = (&self.host, &self.call.bucket);
        let location = match (self.call.api, super::call::virtual_bucket(host)) {
            (Api::Xml, Some(_)) => {
                format!("https://{host}/{}?upload_id={id}", percent_encode_path(name))
            }
            (Api::Xml, None) => {
                format!("https://{host}/{bucket}/{}?upload_id={id}", percent_encode_path(name))
            }
            _ => format!(
                "https://{host}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={}&upload_id={id}",
                percent_encode(name)
            ),
        };
        let mut answer = Response::new(body::empty());
        if self.call.api == Api::Xml {
            *answer.status_mut() = StatusCode::CREATED;
        }
        let value = |text: &str| HeaderValue::from_str(text).map_err(Failure::backend_error);
        answer.headers_mut().insert(LOCATION, value(&location)?);
        answer.headers_mut().insert(HeaderName::from_static("x-guploader-uploadid"), value(id)?);
        Ok(answer)
    }

    pub(super) async fn continue_resumable(&mut self, id: &str) -> Result<Response<Body>, Failure> {
        let slot = self.open_upload(id)?;
        let Some(_right) = slot.acquire() else {
            return Err(Failure::backend_error("another request sends to this upload"));
        };
        let session = slot.get();
        let malformed = || Failure::invalid("Invalid Content-Range header.");
        let piece = Piece::parse(self.header("content-range")).ok_or_else(malformed)?;
        if let Some(answer) = session.finished {
            return Ok(self.finished(answer));
        }
        match self.next_piece(&session, piece)? {
            Some(outbound) => self.send_piece(&slot, id, outbound).await,
            None => {
                super::drain(super::drainable(&self.parts, self.body.take())).await;
                Ok(incomplete(session.offset))
            }
        }
    }

    /// The piece as the store takes it; nothing, when it isn't the next one, or none at all.
    fn next_piece(&mut self, session: &Session, piece: Piece) -> Result<Option<Outbound>, Failure> {
        let malformed = || Failure::invalid("Invalid Content-Range header.");
        let length = content_length(&self.parts.headers);
        let mut headers = HeaderMap::new();
        if let Some(kind) = self.parts.headers.get(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, kind.clone());
        }
        let (skip, last, is_final) = match piece {
            // Only a total that is reached makes the question an end.
            Piece::None { total } if total != Some(session.offset) => return Ok(None),
            Piece::None { .. } => {
                self.body = None;
                (0, None, true)
            }
            Piece::Rest if session.offset == 0 => (0, None, true),
            Piece::Rest => return Err(malformed()),
            Piece::Bytes { first, last, total } => {
                if length.is_some_and(|it| it != last - first + 1) {
                    return Err(malformed());
                }
                if first > session.offset || last < session.offset {
                    return Ok(None);
                }
                // Google drops what it has already; the store would add it once more.
                let range = format!(
                    "bytes {}-{last}/{}",
                    session.offset,
                    total.map_or_else(|| "*".to_owned(), |it| it.to_string())
                );
                headers
                    .insert(CONTENT_RANGE, HeaderValue::from_str(&range).map_err(|_| malformed())?);
                headers.insert(CONTENT_LENGTH, HeaderValue::from(last - session.offset + 1));
                (session.offset - first, Some(last), total == Some(last + 1))
            }
        };
        let body = skipping(self.body.take().unwrap_or_else(body::empty), skip);
        if let (None, Some(length)) = (last, length) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let declared =
            if is_final { Declared::read(&self.parts.headers) } else { Declared::default() };
        Ok(Some(Outbound { headers, body, last, declared }))
    }

    async fn send_piece(
        &mut self,
        slot: &Slot,
        id: &str,
        outbound: Outbound,
    ) -> Result<Response<Body>, Failure> {
        let session = slot.get();
        let Outbound { headers, body, last, declared } = outbound;
        let before_the_end = match session.offset {
            0 => declared.clone(),
            // The MD5 of the earlier pieces was not counted: that would slow every upload down.
            _ => declared.without_md5(),
        };
        let (body, seen) = compared(body, before_the_end, session.crc32c);
        let outgoing = session.outgoing(id).headers(&headers).body(body);
        let answer = self.send(outgoing).await;
        if let Err(failure) = seen.check() {
            self.cloud.storage.sessions.remove(id);
            return Err(failure);
        }
        let answer = answer?;
        match (answer.status(), last) {
            (StatusCode::PERMANENT_REDIRECT, Some(last)) => {
                slot.advance(last + 1, seen.crc32c());
                Ok(incomplete(last + 1))
            }
            (status, _) if status.is_success() => {
                let resource = read(answer).await?;
                if let Err(failure) = declared.check_stored(&resource) {
                    self.take_back(&session, id).await;
                    return Err(failure);
                }
                let resource = bytes::Bytes::from(resource.to_string());
                slot.finish(resource.clone());
                Ok(self.finished(resource))
            }
            (StatusCode::NOT_FOUND, _) => {
                self.cloud.storage.sessions.remove(id);
                Err(Failure::no_upload())
            }
            _ => {
                let failure = refusal(answer).await;
                if failure.status < 500 {
                    self.cloud.storage.sessions.remove(id);
                }
                Err(self.too_late(&session, failure))
            }
        }
    }

    /// Takes an object away that isn't what its client says. One that it has replaced is lost, which
    /// Google would have kept.
    async fn take_back(&self, session: &Session, id: &str) {
        self.cloud.storage.sessions.remove(id);
        let outgoing = Outgoing::object(Method::DELETE, &session.bucket, &session.object);
        drop(self.send(outgoing).await);
    }

    /// An object that appeared meanwhile may be one that the upload's opener may not overwrite.
    fn too_late(&self, session: &Session, failure: Failure) -> Failure {
        if !(session.guarded && failure.status == 412) {
            return failure;
        }
        let need = super::needs::DELETE;
        match &session.opener {
            Caller::Anonymous => Failure::anonymous(need.permission, need.kind),
            opener @ Caller::Known(_) => {
                Failure::denied(&opener.to_string(), need.permission, need.kind)
            }
        }
    }

    pub(super) async fn cancel_resumable(&mut self, id: &str) -> Result<Response<Body>, Failure> {
        self.open_upload(id)?;
        self.cloud.storage.sessions.remove(id);
        let mut answer = Response::new(body::empty());
        // Google's own status for an upload that its client gave up.
        *answer.status_mut() = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        Ok(answer)
    }

    /// The upload, which must be in the bucket of the path.
    fn open_upload(&self, id: &str) -> Result<std::sync::Arc<Slot>, Failure> {
        let slot = self.cloud.storage.sessions.get(id);
        let slot = slot.filter(|it| it.get().bucket == self.call.bucket);
        slot.ok_or_else(Failure::no_upload)
    }

    fn finished(&self, resource: bytes::Bytes) -> Response<Body> {
        match self.call.api {
            Api::Xml => {
                super::xml::stored_headers(&serde_json::from_slice(&resource).unwrap_or_default())
            }
            _ => body::answer(StatusCode::OK, "application/json; charset=UTF-8", resource),
        }
    }

    /// An object's metadata out of the headers, as the XML API tells it.
    pub(super) fn xml_metadata(&self) -> Map<String, Value> {
        let mut metadata = Map::new();
        let mut custom = Map::new();
        for (name, value) in &self.parts.headers {
            let Ok(value) = value.to_str() else { continue };
            let key = match name.as_str() {
                "content-type" => "contentType",
                "content-encoding" => "contentEncoding",
                "content-disposition" => "contentDisposition",
                "content-language" => "contentLanguage",
                "cache-control" => "cacheControl",
                other => {
                    if let Some(key) = other.strip_prefix("x-goog-meta-") {
                        custom.insert(key.to_owned(), Value::from(value));
                    }
                    continue;
                }
            };
            metadata.insert(key.to_owned(), Value::from(value));
        }
        metadata.insert("metadata".to_owned(), Value::Object(custom));
        metadata
    }
}

/// 308 with what the store has, which a new client goes on from.
fn incomplete(offset: u64) -> Response<Body> {
    let mut answer = Response::new(body::empty());
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Some(last) = offset.checked_sub(1)
        && let Ok(range) = HeaderValue::from_str(&format!("bytes=0-{last}"))
    {
        answer.headers_mut().insert(RANGE, range);
    }
    answer
}
