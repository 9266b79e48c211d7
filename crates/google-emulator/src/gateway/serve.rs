//! Accepts connections and serves HTTP on them, within limits.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;

use super::Reset;
use super::connections::{Connections, Place};
use super::moving::Moving;
use crate::body::{self, Body};
use crate::cloud::Cloud;

/// A client that has not finished its TLS handshake by then is sent away.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A client that has not sent a request's head by then is sent away. It is also how long a
/// connection of HTTP/1.1 may be idle, because hyper begins to count at the end of the last answer.
pub(crate) const HEAD: Duration = Duration::from_mins(1);
/// What a connection of HTTP/2 that does not answer gets.
const PING: Duration = Duration::from_secs(30);
/// An accept that failed for lack of something is tried again after this time.
const BREATH: Duration = Duration::from_millis(50);
/// An answer that is under way may take this long after its connection was told to end.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// Connections that a port keeps at once; an idle one with TLS costs about 40 KiB.
pub const MOST_CONNECTIONS: usize = 1024;

/// The gateway's TLS.
///
/// # Errors
/// When the cryptography has no protocol to offer.
pub fn acceptor(cloud: &Cloud) -> Result<TlsAcceptor, tokio_rustls::rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&cloud.pki) as _);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves Google's hosts on a port until it is dropped.
pub async fn gateway(cloud: Arc<Cloud>, listener: TcpListener, tls: TlsAcceptor) {
    let connections = Connections::new(MOST_CONNECTIONS);
    accept(listener, connections, move |stream, place| {
        let (cloud, tls) = (Arc::clone(&cloud), tls.clone());
        async move {
            drop(stream.set_nodelay(true));
            secured(cloud, tls, stream, place).await;
        }
    })
    .await;
}

/// Serves Google's hosts on one connection that begins with a TLS handshake.
pub async fn secured<S>(cloud: Arc<Cloud>, tls: TlsAcceptor, stream: S, place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = async {
        tokio::select! {
            stream = timeout(HANDSHAKE, tls.accept(stream)) => stream.ok()?.ok(),
            () = place.told_to_end() => None,
        }
    };
    let Some(stream) = handshake.await else { return };
    http(stream, place, move |request| {
        let cloud = Arc::clone(&cloud);
        async move { super::answer(&cloud, request).await }
    })
    .await;
}

/// Accepts connections and runs a task for each, as many as there are places for.
pub async fn accept<F, T>(listener: TcpListener, connections: Arc<Connections>, serve: F)
where
    F: Fn(TcpStream, Place) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without a place the connection is closed, which a client takes as a reset.
                if let Some(place) = connections.enter() {
                    tokio::spawn(serve(stream, place));
                }
            }
            Err(error) if is_about_one_connection(&error) => {}
            // Out of file descriptors or memory: there will be some when connections end.
            Err(_) => tokio::time::sleep_until(tokio::time::Instant::now() + BREATH).await,
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};

    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Serves HTTP/1.1 or HTTP/2 on a stream.
pub async fn http<S, F, T>(stream: S, place: Place, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Body>) -> T + Send + Sync + 'static,
    T: Future<Output = Result<Response<Body>, Reset>> + Send + 'static,
{
    let place = Arc::new(place);
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let (place, asked) = (Arc::clone(&place), Arc::clone(&asked));
        service_fn(move |request: Request<Incoming>| {
            asked.store(true, Ordering::Release);
            let busy = place.busy();
            let answer = answer(request.map(body::forward));
            async move {
                let response = answer.await?;
                // The request is busy until the last byte of its answer is on its way.
                Ok::<_, Reset>(response.map(|body| {
                    body.map_frame(move |frame| {
                        let _ = &busy;
                        frame
                    })
                }))
            }
        })
    };
    let builder = builder();
    let stream = TokioIo::new(Moving::new(stream, Arc::clone(&place)));
    let mut connection = pin!(builder.serve_connection(stream, service));
    tokio::select! {
        // What a client breaks off is its own affair.
        _ = connection.as_mut() => return,
        () = place.told_to_end() => connection.as_mut().graceful_shutdown(),
        () = never_asked(&asked) => connection.as_mut().graceful_shutdown(),
    }
    drop(timeout(LAST_ANSWER, connection).await);
}

/// Returns when a client has had its time and has sent no request. hyper begins to count when it
/// knows the version of HTTP, and it learns that from the first bytes.
async fn never_asked(asked: &AtomicBool) {
    tokio::time::sleep_until(tokio::time::Instant::now() + HEAD).await;
    if asked.load(Ordering::Acquire) {
        std::future::pending::<()>().await;
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(128 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(128)
        .max_header_list_size(64 << 10)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(2 << 20)
        .max_send_buf_size(256 << 10);
    builder
}
