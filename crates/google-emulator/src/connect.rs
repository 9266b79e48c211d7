//! An HTTP CONNECT proxy that leads to the emulated names and nowhere else.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::body::{self, Body};
use crate::cloud::Cloud;
use crate::gateway::connections::{Connections, Place};
use crate::gateway::serve;
use crate::log::Entry;

/// Serves the port until it is dropped.
pub async fn serve(cloud: Arc<Cloud>, listener: TcpListener, tls: TlsAcceptor) {
    let connections = Connections::new(serve::MOST_CONNECTIONS);
    serve::accept(listener, connections, move |stream, place| {
        let (cloud, tls) = (Arc::clone(&cloud), tls.clone());
        async move { one(cloud, tls, stream, Arc::new(place)).await }
    })
    .await;
}

async fn one(cloud: Arc<Cloud>, tls: TlsAcceptor, stream: TcpStream, place: Arc<Place>) {
    let inner = Connections::new(1);
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&cloud, &tls, &inner, request);
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(serve::HEAD).max_buf_size(16 << 10);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::select! {
        _ = connection => {}
        () = place.told_to_end() => {}
    }
}

fn answer(
    cloud: &Arc<Cloud>,
    tls: &TlsAcceptor,
    inner: &Arc<Connections>,
    request: Request<Incoming>,
) -> Response<Body> {
    let target = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let (host, port) = target.rsplit_once(':').unwrap_or((&target, "443"));
    if request.method() != Method::CONNECT || port != "443" || !crate::pki::is_ours(host) {
        cloud.log(&Entry {
            surface: "connect",
            method: &format!("{} {target}", request.method()),
            decision: "denied",
            why: "the proxy leads to the emulated names on port 443 only",
            status: 403,
            ..Entry::default()
        });
        let text = format!("{target} is not emulated; this proxy leads nowhere else.\n");
        return body::answer(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", text);
    }
    let (cloud, tls, place) = (Arc::clone(cloud), tls.clone(), inner.enter());
    tokio::spawn(async move {
        if let (Ok(stream), Some(place)) = (hyper::upgrade::on(request).await, place) {
            serve::secured(cloud, tls, TokioIo::new(stream), place).await;
        }
    });
    Response::new(body::empty())
}
