//! HTTP to a Service, over a port-forward to one of its ready pods.

use super::{Address, Endpoint, endpoints, open_stream};
use crate::error::{Error, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{HOST, HeaderMap},
};
use hyper_util::rt::TokioIo;
use kube::Client;
use std::time::Duration;
use tokio::{sync::watch, task::JoinSet};

/// How long an answer may take. MLflow's first answer after its start takes a few seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A way to a Service that speaks HTTP. It connects when first used, and anew when the connection
/// or its pod is gone.
pub struct Tunnel {
    client: Client,
    address: Address,
    endpoints: watch::Receiver<Vec<Endpoint>>,
    sender: Option<SendRequest<Full<Bytes>>>,
    pod: Option<Endpoint>,
    limit: Duration,
    tasks: JoinSet<()>,
}

impl Tunnel {
    /// Finds the Service; waits up to `limit` for a ready pod whenever one is needed.
    pub async fn open(client: Client, address: Address, limit: Duration) -> Result<Tunnel> {
        let port = endpoints::port_name(&client, &address).await?;
        let (sender, receiver) = watch::channel(Vec::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(endpoints::follow(client.clone(), address.clone(), port, sender));
        let (sender, pod) = (None, None);
        Ok(Tunnel { client, address, endpoints: receiver, sender, pod, limit, tasks })
    }

    /// The pod that answers now.
    pub fn pod(&self) -> Option<&Endpoint> {
        self.pod.as_ref()
    }

    /// The namespace of the Service.
    pub fn namespace(&self) -> &str {
        &self.address.namespace
    }

    /// Asks once. `Host` is the Service's own name in the cluster unless `headers` say otherwise.
    pub async fn http(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response> {
        let what = format!("{method} {path} on {}", self.address);
        let Address { namespace, service, port } = &self.address;
        let host = format!("{service}.{namespace}.svc.cluster.local:{port}");
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(HOST.as_str())) {
            request = request.header(HOST, host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(body.into()))
            .map_err(|it| Error::Unexpected { what: what.clone(), answer: it.to_string() })?;
        let sender = self.connected().await?;
        let exchange = async {
            let answer = sender.send_request(request).await?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Response { status: head.status, headers: head.headers, body })
        };
        let answer = match tokio::time::timeout(ANSWER_LIMIT, exchange).await {
            Ok(answer) => answer.map_err(|source| Error::Http { what, source }),
            Err(_) => Err(Error::TimedOut { what, limit: ANSWER_LIMIT }),
        };
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    async fn connected(&mut self) -> Result<&mut SendRequest<Full<Bytes>>> {
        // A connection that the server has closed meanwhile says so here.
        let usable = match self.sender.take() {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let sender = match usable {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        Ok(self.sender.insert(sender))
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>> {
        let waiting = self.endpoints.wait_for(|it| !it.is_empty());
        let endpoint = match tokio::time::timeout(self.limit, waiting).await {
            Ok(Ok(ready)) => ready.first().cloned(),
            _ => None,
        };
        let endpoint = endpoint.ok_or_else(|| Error::NoEndpoint {
            namespace: self.address.namespace.clone(),
            service: self.address.service.clone(),
            port: self.address.port,
            waited: self.limit,
        })?;
        let stream = open_stream(&self.client, &self.address.namespace, &endpoint).await?;
        let what = || format!("connect to {} through pod `{}`", self.address, endpoint.pod);
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|source| Error::Http { what: what(), source })?;
        self.tasks.spawn(async move {
            // How the connection ends is told by the request that needed it.
            let _ = connection.await;
        });
        self.pod = Some(endpoint);
        Ok(sender)
    }
}
