//! All of Google's hosts behind one TLS port.

pub mod connections;
mod moving;
pub mod serve;

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode};

use crate::body::{self, Body};
use crate::cloud::Cloud;
use crate::error::{Error, Form};
use crate::faults::Fault;
use crate::log::Entry;
use crate::surface::{self, Surface};

/// A request with a longer head is refused.
const HEADERS_LIMIT: usize = 64 << 10;

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("reset on purpose")]
pub struct Reset;

/// Answers one request, whatever it is for.
///
/// # Errors
/// When a fault asks for a broken connection.
pub async fn answer(cloud: &Arc<Cloud>, request: Request<Body>) -> Result<Response<Body>, Reset> {
    if head_length(&request) > HEADERS_LIMIT {
        let error = Error::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "Your client issued a request that was too large.",
        );
        return Ok(error.status_name("INVALID_ARGUMENT").response(Form::Api));
    }
    let host = host(&request);
    let path = request.uri().path();
    let Some(surface) = Surface::of(&host, path) else { return Ok(nobody(cloud, &host, &request)) };
    match cloud.faults.meet(&host, path, request.method()) {
        None => {}
        Some(Fault::Reset {}) => {
            fault(cloud, &request, "reset", 0);
            return Err(Reset);
        }
        Some(Fault::Status { code, message }) => {
            fault(cloud, &request, "status", code);
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            let words = status.canonical_reason().unwrap_or_default();
            let message = if message.is_empty() { words.to_owned() } else { message };
            return Ok(Error::new(status, message).response(surface.form()));
        }
        Some(it) => {
            fault(cloud, &request, "latency", 0);
            let until = tokio::time::Instant::now() + it.latency().unwrap_or_default();
            tokio::time::sleep_until(until).await;
        }
    }
    Ok(surface::handle(surface, cloud, request).await)
}

/// The host that a request is for, in lower case and without a port.
fn host(request: &Request<Body>) -> String {
    let header = || request.headers().get(HOST).and_then(|it| it.to_str().ok());
    let host = request.uri().authority().map(hyper::http::uri::Authority::as_str).or_else(header);
    let host = host.unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|it| it.is_ascii_digit()) { name } else { host }
    });
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn head_length(request: &Request<Body>) -> usize {
    let line = request.uri().path_and_query().map_or(0, |it| it.as_str().len());
    let header = |(name, value): (&hyper::header::HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + 4
    };
    line + request.headers().iter().map(header).sum::<usize>()
}

/// A host or an API that is not emulated.
fn nobody(cloud: &Cloud, host: &str, request: &Request<Body>) -> Response<Body> {
    let path = request.uri().path();
    if !crate::pki::is_ours(host) {
        // Probes of the kubelet call the pod by its address.
        if path == "/healthz" {
            return body::answer(StatusCode::OK, "text/plain; charset=utf-8", "ok");
        }
        return Error::not_found("The requested URL was not found on this server.")
            .response(Form::Api);
    }
    let method = format!("{} {path}", request.method());
    cloud.log(&Entry {
        surface: host,
        method: &method,
        decision: "unknown",
        why: "no such API is emulated",
        status: 501,
        ..Entry::default()
    });
    if is_grpc(request.headers()) {
        // A gRPC client reads the code of its own protocol, 12 is UNIMPLEMENTED.
        let mut response = Response::new(body::empty());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("12"));
        headers.insert("grpc-message", HeaderValue::from_static("this API is not emulated"));
        return response;
    }
    Error::not_emulated(&format!("{host}{path}")).response(Form::WithErrors)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|it| it.starts_with(b"application/grpc"))
}

fn fault(cloud: &Cloud, request: &Request<Body>, why: &str, status: u16) {
    let method = format!("{} {}", request.method(), request.uri().path());
    let surface = &host(request);
    cloud.log(&Entry {
        surface,
        method: &method,
        decision: "fault",
        why,
        status,
        ..Entry::default()
    });
}
