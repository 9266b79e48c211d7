//! Bodies of requests and answers: streamed, or small and capped.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::error::Error;

/// What may go wrong while a body streams.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every answer.
pub type Body = BoxBody<Bytes, BodyError>;

/// A JSON request that is longer than this is refused: no call of these APIs is near it.
pub const JSON_LIMIT: usize = 1 << 20;

/// What is too long is read to its end up to this length: a client that still writes sees a broken
/// connection instead of the refusal.
const DRAIN_MAX: usize = 16 << 20;

/// A small body that has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// No bytes.
#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// These bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A stream of bytes, passed on as it comes.
pub fn stream<S, E>(stream: S) -> Body
where
    S: futures::Stream<Item = Result<Bytes, E>> + Send + Sync + 'static,
    E: Into<BodyError> + 'static,
{
    BoxBody::new(StreamBody::new(stream.map_ok(Frame::data).map_err(Into::into)))
}

/// Another body, passed on as it comes, trailers included.
pub fn forward<B>(body: B) -> Body
where
    B: hyper::body::Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<BodyError>,
{
    body.map_err(Into::into).boxed()
}

/// An answer in JSON.
#[must_use]
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // The values are plain trees with text keys, and those can always be written.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    answer(status, "application/json; charset=UTF-8", bytes)
}

/// An answer of 200 in JSON.
#[must_use]
pub fn ok(value: &impl Serialize) -> Response<Body> {
    json(StatusCode::OK, value)
}

/// An answer with a type and bytes.
pub fn answer(
    status: StatusCode,
    content_type: &'static str,
    bytes: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Reads a body whole, up to a limit.
///
/// # Errors
/// 400 with Google's words when it is longer, or when the client breaks off; 408 when it is slow.
pub async fn bytes(body: Body, limit: usize) -> Result<Bytes, Error> {
    let late =
        |_| Error::new(StatusCode::REQUEST_TIMEOUT, "The request body did not come in time.");
    tokio::time::timeout(PATIENCE, collect(body, limit)).await.map_err(late)?
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Error> {
    let mut all = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Error::invalid_argument(format!("Request body is broken: {error}")))?;
        // Trailers say nothing to any of these APIs.
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= limit {
            all.extend_from_slice(&data);
        } else if length > DRAIN_MAX {
            break;
        }
    }
    if length > limit {
        return Err(Error::payload_too_large(limit));
    }
    Ok(all.freeze())
}

/// Reads a JSON request; an empty body is `{}`, as Google takes it.
///
/// # Errors
/// 400 with Google's words when it is too long, no JSON, or of another shape.
pub async fn request<T: DeserializeOwned>(body: Body) -> Result<T, Error> {
    let bytes = bytes(body, JSON_LIMIT).await?;
    parse(&bytes)
}

/// Reads JSON from bytes; none are `{}`.
///
/// # Errors
/// 400 with Google's words.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let text: &[u8] = if bytes.trim_ascii().is_empty() { b"{}" } else { bytes };
    // serde would take an array for an object, field by field; Google does not, in these words.
    if !text.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<IgnoredAny>(text).is_ok()
    {
        return Err(Error::invalid_json("Unknown name \"\": Root element must be a message."));
    }
    serde_json::from_slice(text).map_err(|error| Error::invalid_json(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::stream;

    use super::*;

    const LIMIT: usize = 100;

    /// How many bytes were taken of a body of `length`, and the status of the refusal.
    async fn taken(length: usize) -> (usize, Option<StatusCode>) {
        const PIECE: usize = 1 << 16;
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let pieces = (0..length).step_by(PIECE).map(move |at| {
            let bytes = Bytes::from(vec![0; PIECE.min(length - at)]);
            count.fetch_add(bytes.len(), Ordering::Relaxed);
            Ok::<_, BodyError>(bytes)
        });
        let found = bytes(stream(stream::iter(pieces)), LIMIT).await;
        (taken.load(Ordering::Relaxed), found.err().map(|it| it.status))
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused_when_its_client_has_sent_it() {
        assert_eq!(taken(LIMIT).await, (LIMIT, None));
        let refused = Some(StatusCode::BAD_REQUEST);
        for length in [LIMIT + 1, 3 << 20, DRAIN_MAX] {
            assert_eq!(taken(length).await, (length, refused));
        }
        let (taken, status) = taken(10 * DRAIN_MAX).await;
        assert_eq!(status, refused);
        assert!(taken < DRAIN_MAX + (1 << 17), "{taken}");
    }
}
