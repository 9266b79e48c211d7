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
    // A connection that has become a tunnel is counted here instead.
    let tunnels = Connections::new(serve::MOST_CONNECTIONS);
    serve::accept(listener, connections, move |stream, place| {
        let tunnel =
            Tunnel { cloud: Arc::clone(&cloud), tls: tls.clone(), tunnels: Arc::clone(&tunnels) };
        one(tunnel, stream, place)
    })
    .await;
}

/// What it takes to serve behind the proxy.
struct Tunnel {
    cloud: Arc<Cloud>,
    tls: TlsAcceptor,
    tunnels: Arc<Connections>,
}

async fn one(tunnel: Tunnel, stream: TcpStream, place: Place) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&tunnel, request);
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

fn answer(tunnel: &Tunnel, request: Request<Incoming>) -> Response<Body> {
    let target = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let (host, port) = target.rsplit_once(':').unwrap_or((&target, "443"));
    if request.method() != Method::CONNECT || port != "443" || !crate::pki::is_ours(host) {
        tunnel.cloud.log(&Entry {
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
    let Some(place) = tunnel.tunnels.enter() else {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    };
    let (cloud, tls) = (Arc::clone(&tunnel.cloud), tunnel.tls.clone());
    tokio::spawn(async move {
        if let Ok(stream) = hyper::upgrade::on(request).await {
            serve::secured(cloud, tls, TokioIo::new(stream), place).await;
        }
    });
    Response::new(body::empty())
}
