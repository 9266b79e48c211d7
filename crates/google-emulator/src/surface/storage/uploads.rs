//! Uploads in one request: the whole body is the object, or its second part is.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::{
    HeaderMap, Method, Response,
    body::Frame,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
};
use serde_json::{Map, Value};

use super::{
    asked::Asked,
    call::Api,
    digests::{Declared, compared},
    failure::Failure,
    multipart::FirstPart,
    names::{check_keepable, check_object},
    needs::{CREATE, DELETE},
    objects::{pass, refusal, xml_condition},
    text::Query,
    upstream::Outgoing,
};
use crate::body::Body;

/// Conditions that the store checks itself, at the moment when it writes.
const CHECKED_UPSTREAM: [&str; 2] = ["ifGenerationMatch", "ifGenerationNotMatch"];
/// Conditions that it doesn't know.
const CHECKED_HERE: [&str; 2] = ["ifMetagenerationMatch", "ifMetagenerationNotMatch"];

/// What the store is told about a new object, and what its refusal would mean.
pub(super) struct Target {
    /// The object's name, checked.
    pub object: String,
    /// The query for the store: its conditions, and the name in plain sight.
    pub query: Query,
    /// The caller may not overwrite, so the store was told that there must be no such object.
    pub guarded: bool,
}

impl Asked {
    pub(super) async fn insert_media(&mut self) -> Result<Response<Body>, Failure> {
        let name = match self.call.api {
            Api::Xml => self.call.object.clone(),
            _ => self.call.query.get("name").unwrap_or_default().to_owned(),
        };
        if self.header("x-goog-copy-source").is_some() {
            return Err(Failure::not_implemented("copies by the XML API (`x-goog-copy-source`)"));
        }
        let mut target = self.target(&name).await?;
        target.query.set("uploadType", "media");
        let xml = self.call.api == Api::Xml;
        if let Some(encoding) = self.header("content-encoding").filter(|_| xml) {
            target.query.set("contentEncoding", encoding);
        }
        let mut headers = self.parts.headers.clone();
        if !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        }
        let body = self.body.take().unwrap_or_else(crate::body::empty);
        let (body, seen) = compared(body, Declared::read(&headers), 0);
        let answer = self.upload(target, headers, body).await;
        seen.check()?;
        answer
    }

    pub(super) async fn insert_multipart(&mut self) -> Result<Response<Body>, Failure> {
        let kind = self.header("content-type").unwrap_or_default().to_owned();
        let (kind, metadata, body) = self.first_part(&kind).await?;
        // Until it is known to be allowed, a refusal must be able to read the rest.
        self.body = Some(body);
        let named = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
        let name = self.call.query.get("name").unwrap_or(named).to_owned();
        let mut target = self.target(&name).await?;
        target.query.set("uploadType", "multipart");
        let mut headers = self.parts.headers.clone();
        headers.insert(CONTENT_TYPE, kind);
        let body = self.body.take().unwrap_or_else(crate::body::empty);
        self.upload(target, headers, body).await
    }

    /// What a new object needs before its bytes are taken.
    pub(super) async fn target(&mut self, name: &str) -> Result<Target, Failure> {
        check_object(name)?;
        let bucket = self.call.bucket.clone();
        self.need(CREATE, &bucket, name)?;
        check_keepable(name)?;
        if self.call.query.get("predefinedAcl").is_some_and(|it| !it.is_empty()) {
            return Err(Failure::uniform_access("insert", "an object"));
        }
        self.check_conditions(&bucket, name, &CHECKED_HERE).await?;
        let mut query = self.call.query.clone();
        query.retain(|it| {
            CHECKED_UPSTREAM.contains(&it)
                || matches!(it, "contentEncoding" | "customTime" | "projection")
        });
        if self.call.api == Api::Xml {
            query = Query::default();
            let header = xml_condition("ifGenerationMatch").and_then(|it| self.header(it));
            if let Some(value) = header {
                query.set("ifGenerationMatch", value);
            }
        }
        query.set("name", name);
        let guarded = !self.may(DELETE, &bucket, name);
        if guarded {
            if self.resource_of(&bucket, name, None).await?.is_some() {
                self.need(DELETE, &bucket, name)?;
            }
            if !query.has("ifGenerationMatch") {
                query.set("ifGenerationMatch", "0");
            }
        }
        Ok(Target { object: name.to_owned(), query, guarded })
    }

    async fn upload(
        &self,
        target: Target,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Body>, Failure> {
        let outgoing =
            Outgoing::upload(Method::POST, &self.call.bucket).query(target.query.clone());
        let answer = self.send(outgoing.headers(&headers).body(body)).await?;
        self.stored(answer, &target.object, target.guarded).await
    }

    /// The store's answer to the last byte of an object.
    pub(super) async fn stored(
        &self,
        answer: Response<hyper::body::Incoming>,
        object: &str,
        guarded: bool,
    ) -> Result<Response<Body>, Failure> {
        let answer = self.accepted(answer, object, guarded).await?;
        match self.call.api {
            Api::Xml => super::xml::stored(answer).await,
            _ => pass(answer).await,
        }
    }

    /// The store's answer, unless it refused the object.
    pub(super) async fn accepted(
        &self,
        answer: Response<hyper::body::Incoming>,
        object: &str,
        guarded: bool,
    ) -> Result<Response<hyper::body::Incoming>, Failure> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        let failure = refusal(answer).await;
        // Somebody else was faster, and to replace their object takes a permission that the caller
        // lacks.
        if guarded && failure.status == 412 && !self.call.query.has("ifGenerationMatch") {
            self.need(DELETE, &self.call.bucket, object)?;
        }
        Err(failure)
    }

    /// The object's resource out of the first part, and a body that begins anew.
    async fn first_part(
        &mut self,
        kind: &str,
    ) -> Result<(HeaderValue, Map<String, Value>, Body), Failure> {
        let malformed = || Failure::invalid("Malformed multipart body.");
        let mut part = FirstPart::new(kind).map_err(|error| malformed().because(error))?;
        let Some(mut body) = self.body.take() else { return Err(malformed()) };
        let found = loop {
            let frame = match body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(malformed().because(error)),
                None => break false,
            };
            match frame.data_ref().map(|it| part.push(it)) {
                Some(Ok(true)) => break true,
                Some(Ok(false)) | None => {}
                Some(Err(error)) => {
                    self.body = Some(body);
                    return Err(malformed().because(error));
                }
            }
        };
        if !found {
            return Err(malformed());
        }
        let text = part.body().unwrap_or_default().trim_ascii();
        let metadata = if text.is_empty() { Ok(Map::new()) } else { serde_json::from_slice(text) };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => {
                self.body = Some(body);
                return Err(Failure::parse_error().because(error));
            }
        };
        let kind = HeaderValue::from_str(&part.content_type()).map_err(|_| malformed())?;
        Ok((kind, metadata, chained(part.into_seen(), body)))
    }
}

/// Bytes that were read already, and the rest of the body that they are from.
fn chained(seen: Vec<u8>, rest: Body) -> Body {
    let first = stream::once(async { Ok(Frame::data(Bytes::from(seen))) });
    BodyExt::boxed(StreamBody::new(first.chain(BodyStream::new(rest))))
}

/// A body without its first bytes, which the store has already.
pub(super) fn skipping(body: Body, mut skip: u64) -> Body {
    let frames = BodyStream::new(body).map_ok(move |frame| {
        frame.map_data(|mut data| {
            let here = usize::try_from(skip).unwrap_or(usize::MAX).min(data.len());
            skip -= here as u64;
            data.split_off(here)
        })
    });
    BodyExt::boxed(StreamBody::new(frames))
}

/// The length that the request's head tells of its body.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()).and_then(|it| it.parse().ok())
}
