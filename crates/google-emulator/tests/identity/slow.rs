//! Clients that begin something and do not go on. The time is the test's own, so nobody waits.

use std::sync::Arc;
use std::time::Duration;

use google_emulator::gateway::connections::Connections;
use google_emulator::gateway::serve;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::scene::{Scene, connector};

/// What the gateway gives a client for its handshake, for the head of a request, and for a small
/// body; and a little more for its last words.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(60);
const BODY: Duration = Duration::from_secs(30);
const LAST_WORDS: Duration = Duration::from_secs(11);
/// Nobody is kept for so long.
const FOREVER: Duration = Duration::from_secs(3600);
/// Of a client that sends a byte now and then.
const NOW_AND_THEN: Duration = Duration::from_secs(3);

/// A connection to the gateway, and its end.
fn connect(scene: &Scene) -> (DuplexStream, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let tls = serve::acceptor(&scene.cloud).unwrap();
    let place = Connections::new(1).enter().unwrap();
    (near, tokio::spawn(serve::secured(Arc::clone(&scene.cloud), tls, far, place)))
}

/// Sends the bytes at once or one by one until nobody takes them, and reads what comes.
async fn dribble(client: impl AsyncRead + AsyncWrite, bytes: &[u8], one_by_one: bool) -> Vec<u8> {
    let (mut from, mut to) = tokio::io::split(client);
    let send = async {
        let size = if one_by_one { 1 } else { bytes.len().max(1) };
        for piece in bytes.chunks(size) {
            if to.write_all(piece).await.is_err() || to.flush().await.is_err() {
                break;
            }
            sleep_until(Instant::now() + NOW_AND_THEN).await;
        }
    };
    let forever = Instant::now() + FOREVER;
    let mut answer = Vec::new();
    let receive = async { drop(from.read_to_end(&mut answer).await) };
    let exchange = async {
        tokio::select! {
            ((), ()) = async { tokio::join!(send, std::future::pending()) } => {}
            () = receive => {}
        }
    };
    let ended = tokio::time::timeout_at(forever, exchange).await;
    assert!(ended.is_ok(), "{:.40} was kept for ever", String::from_utf8_lossy(bytes));
    answer
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_never_finished_ends() {
    let scene = Scene::new().await;
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 200]].concat();
    for (bytes, one_by_one) in [
        (&[][..], false),
        (&[0x16], false),
        (&hello, false),
        (&hello, true),
        (b"GET / HTTP/1.1", true),
    ] {
        let (client, served) = connect(&scene);
        let began = Instant::now();
        dribble(client, bytes, one_by_one).await;
        served.await.unwrap();
        assert!(began.elapsed() <= HANDSHAKE + NOW_AND_THEN, "{bytes:?} {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_begun_or_never_finished_ends() {
    let scene = Scene::new().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    let head = format!("GET / HTTP/1.1\r\nHost: storage.googleapis.com\r\nX: {}", "x".repeat(900));
    for (protocol, bytes, one_by_one) in [
        (&b"http/1.1"[..], &[][..], false),
        (b"http/1.1", b"P", false),
        (b"http/1.1", b"GET / HTTP/1.1\r\n", false),
        (b"http/1.1", head.as_bytes(), true),
        (b"h2", b"", false),
        (b"h2", preface, true),
        (b"h2", &settings, false),
    ] {
        let (client, served) = connect(&scene);
        let connector = connector(scene.cloud.pki.certificate_pem(), &[protocol]);
        let name = ServerName::try_from("storage.googleapis.com").unwrap();
        let client = connector.connect(name, client).await.unwrap();
        let began = Instant::now();
        dribble(client, bytes, one_by_one).await;
        served.await.unwrap();
        let shown = String::from_utf8_lossy(bytes);
        assert!(began.elapsed() <= HEAD + LAST_WORDS, "{shown:.40} {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_told_in_googles_form() {
    let scene = Scene::new().await;
    let text = "POST /v1/token HTTP/1.1\r\nHost: sts.googleapis.com\r\nContent-Length: 900\r\n\
                Connection: close\r\n\r\n{";
    let (client, served) = connect(&scene);
    let name = ServerName::try_from("sts.googleapis.com").unwrap();
    let mut client = scene.connector.connect(name, client).await.unwrap();
    client.write_all(text.as_bytes()).await.unwrap();
    let began = Instant::now();
    let answer = dribble(client, &[b' '; 899], true).await;
    served.await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("\"error_description\":\"The request body did not come in time.\""));
    assert!(began.elapsed() <= BODY + LAST_WORDS, "{:?}", began.elapsed());
}

/// The proxy and the admin port speak without TLS; a tunnel is a connection to the gateway.
#[tokio::test(start_paused = true)]
async fn the_plain_ports_end_what_does_not_go_on() {
    let scene = Scene::new().await;
    let tunnel = "CONNECT storage.googleapis.com:443 HTTP/1.1\r\nHost: x\r\n\r\n";
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(900));
    for (port, bytes, one_by_one) in [
        (scene.proxy, "", false),
        (scene.proxy, "CONN", false),
        (scene.proxy, &long, true),
        (scene.proxy, tunnel, false),
        (scene.admin, "", false),
        (scene.admin, &long, true),
    ] {
        let client = TcpStream::connect(port).await.unwrap();
        let began = Instant::now();
        dribble(client, bytes.as_bytes(), one_by_one).await;
        assert!(began.elapsed() <= HEAD + LAST_WORDS, "{bytes:.40} {:?}", began.elapsed());
    }
}
