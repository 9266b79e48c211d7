//! As much of an HTTP client as the tests need: one request, one connection.

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Bytes,
    client::conn::http1::handshake,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};

const LIMIT: Duration = Duration::from_secs(60);

/// A server, and the name by which it is asked.
pub(crate) struct Http {
    address: String,
    host: String,
}

/// What it answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    pub(crate) fn new(address: impl Into<String>) -> Http {
        let address = address.into();
        Http { host: address.clone(), address }
    }

    /// The same server under another name.
    pub(crate) fn called(&self, host: &str) -> Http {
        Http { address: self.address.clone(), host: host.to_owned() }
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send("GET", path, "application/json", "").await
    }

    /// Asks in JSON, and expects 200 and JSON.
    pub(crate) async fn json(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        self.send(method, path, "application/json", body.to_string()).await?.json()
    }

    /// Asks once; any answer is well.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        content: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, content)
            .body(Full::new(body.into()))?;
        let exchange = async {
            let stream = TcpStream::connect(&self.address).await?;
            let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
            // How the connection ends is told by the request that needed it.
            tokio::spawn(connection);
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Answer { status: head.status, headers: head.headers, body })
        };
        let answered = timeout(LIMIT, exchange).await;
        answered
            .with_context(|| format!("{method} {path}: no answer within {LIMIT:?}"))?
            .with_context(|| format!("{method} {path}"))
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a success.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        ensure!(self.status.is_success(), "answered {}: {}", self.status, self.text());
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }
}
