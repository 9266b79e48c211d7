//! Batches: several calls in one request, each of them authorized by itself.

use std::{fmt::Write as _, sync::Arc};

use hyper::{
    HeaderMap, Method, Response, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue},
};

use super::{
    asked::{Asked, whole},
    call::{Api, Operation, classify},
    failure::{Failure, Form},
};
use crate::body::{self, Body};

/// The most calls of one batch at Google.
const CALLS_MAX: usize = 100;
/// The longest batch that is read.
const BATCH_MAX: usize = 4 << 20;
const BOUNDARY: &str = "batch_mlflow-gke-emulated-answer";

/// One call of a batch.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    id: String,
    method: Method,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    pub(super) async fn batch(&mut self) -> Result<Response<Body>, Failure> {
        let kind = self.header("content-type").unwrap_or_default().to_owned();
        let body = self.body.take().unwrap_or_else(body::empty);
        let bytes = whole(body, BATCH_MAX).await?;
        let parts =
            parse(&kind, &bytes).ok_or_else(|| Failure::invalid("Malformed batch request."))?;
        if parts.len() > CALLS_MAX {
            return Err(Failure::invalid("The batch request exceeds the limit of 100 calls."));
        }
        let mut text = String::new();
        for part in parts {
            let id = part.id.clone();
            let answer = self.one(part).await;
            append(&mut text, &id, answer).await?;
        }
        let _ = write!(text, "--{BOUNDARY}--\r\n");
        let kind =
            HeaderValue::from_static("multipart/mixed; boundary=batch_mlflow-gke-emulated-answer");
        let mut answer = Response::new(body::full(text));
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        Ok(answer)
    }

    async fn one(&self, part: Part) -> Response<Body> {
        let refuse =
            |failure: &Failure| super::refuse(&self.cloud, &self.parts, Form::Json, failure);
        let Ok(uri) = part.target.parse::<Uri>() else {
            return refuse(&Failure::invalid("Malformed call in a batch."));
        };
        let call =
            classify(part.method.as_str(), &self.host, uri.path(), uri.query().unwrap_or_default());
        let call = match call {
            Ok(call) => call,
            Err((_, failure)) => return refuse(&failure),
        };
        if call.api != Api::Json || call.operation == Operation::Batch {
            return refuse(&Failure::not_implemented("uploads, downloads and batches in a batch"));
        }
        let mut inner = self.parts.clone();
        (inner.method, inner.uri) = (part.method, uri);
        inner.headers = HeaderMap::new();
        if let Some(value) = self.parts.headers.get(AUTHORIZATION) {
            inner.headers.insert(AUTHORIZATION, value.clone());
        }
        for (name, value) in &part.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                inner.headers.insert(name, value);
            }
        }
        super::serve(Arc::clone(&self.cloud), inner, self.host.clone(), call, body::full(part.body))
            .await
    }
}

async fn append(text: &mut String, id: &str, answer: Response<Body>) -> Result<(), Failure> {
    let (parts, body) = answer.into_parts();
    let body = whole(body, BATCH_MAX).await?;
    if text.len() + body.len() > 2 * BATCH_MAX {
        return Err(Failure::too_large());
    }
    let reason = StatusCode::canonical_reason(&parts.status).unwrap_or("Unknown");
    let id = id.trim_start_matches('<').trim_end_matches('>');
    let _ = write!(
        text,
        "--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <response-{id}>\r\n\r\nHTTP/1.1 {} {reason}\r\n",
        parts.status.as_u16()
    );
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    if let Some(kind) = kind {
        let _ = write!(text, "Content-Type: {kind}\r\n");
    }
    let _ = write!(
        text,
        "Content-Length: {}\r\n\r\n{}\r\n",
        body.len(),
        String::from_utf8_lossy(&body)
    );
    Ok(())
}

/// The calls of a batch; none when it isn't one.
fn parse(content_type: &str, bytes: &[u8]) -> Option<Vec<Part>> {
    let boundary = super::multipart::boundary(content_type)?;
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut lines = Lines(bytes);
    let mut current: Option<Vec<u8>> = None;
    while let Some((line, end)) = lines.next_line() {
        if let Some(rest) = line.strip_prefix(delimiter.as_bytes()) {
            if let Some(part) = current.take() {
                parts.push(part_of(&part)?);
            }
            if rest.starts_with(b"--") {
                return Some(parts);
            }
            current = Some(Vec::new());
        } else if let Some(part) = &mut current {
            part.extend_from_slice(line);
            part.extend_from_slice(end);
        }
    }
    // The last delimiter must be there: a batch that was cut isn't half of one.
    None
}

fn part_of(bytes: &[u8]) -> Option<Part> {
    let mut lines = Lines(bytes);
    let outer = headers(&mut lines)?;
    let (line, _) = lines.next_line()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let method = Method::from_bytes(words.next()?.as_bytes()).ok()?;
    let target = words.next()?.to_owned();
    let headers = headers(&mut lines)?;
    let body = lines.0.strip_suffix(b"\n").unwrap_or(lines.0);
    let body = body.strip_suffix(b"\r").unwrap_or(body).to_vec();
    let id = outer.into_iter().find(|(name, _)| name == "content-id").map(|(_, value)| value);
    // An absolute target names the host that the batch was sent to anyway.
    let path = target
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()));
    Some(Part { id: id.unwrap_or_default(), method, target: path.unwrap_or(target), headers, body })
}

fn headers(lines: &mut Lines<'_>) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    while let Some((line, _)) = lines.next_line() {
        if line.is_empty() {
            break;
        }
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    Some(headers)
}

/// Lines that end with CRLF, LF, or the end of everything.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        if self.0.is_empty() {
            return None;
        }
        let at = self.0.iter().position(|it| *it == b'\n');
        let (whole, rest) = self.0.split_at(at.map_or(self.0.len(), |it| it + 1));
        self.0 = rest;
        let line = whole.strip_suffix(b"\n").unwrap_or(whole);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some(whole.split_at(line.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIND: &str = "multipart/mixed; boundary=\"===1==\"";

    #[test]
    fn a_batch_of_the_python_client_is_read() {
        let text = "--===1==\r\nContent-Type: application/http\r\nMIME-Version: 1.0\r\nContent-ID: <x+1>\r\n\r\n\
                    DELETE /storage/v1/b/box/o/a%2Fb?generation=1 HTTP/1.1\r\n\r\n\r\n\
                    --===1==\nContent-Type: application/http\n\nPATCH https://storage.googleapis.com/storage/v1/b/box \
                    HTTP/1.1\nContent-Type: application/json\nContent-Length: 2\n\n{}\n--===1==--";
        let parts = parse(KIND, text.as_bytes()).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].id.as_str(), parts[0].method.as_str()), ("<x+1>", "DELETE"));
        assert_eq!(parts[0].target, "/storage/v1/b/box/o/a%2Fb?generation=1");
        assert_eq!(parts[1].target, "/storage/v1/b/box");
        assert_eq!(parts[1].body, b"{}");
    }

    #[test]
    fn half_a_batch_is_none() {
        assert_eq!(parse(KIND, b"--===1==\r\n\r\nGET /x HTTP/1.1\r\n"), None);
        assert_eq!(parse("text/plain", b""), None);
        assert_eq!(parse(KIND, b""), None);
        assert_eq!(parse(KIND, b"--===1==\n\nG\x01T /x HTTP/1.1\n\n--===1==--"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(prop_oneof![
            Just(b"--===1==".to_vec()), Just(b"\r\n".to_vec()), Just(b"GET / HTTP/1.1\n".to_vec()),
            Just(b"a: b\n\n".to_vec()), proptest::collection::vec(any::<u8>(), 0..6)], 0..20)) {
            let _ = parse(KIND, &bytes.concat());
        }
    }
}
