//! Calls Google by its names, at whatever address.

use super::Refusal;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, body::Bytes, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client as Pool,
        connect::{HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::Value;
use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Longer than any of these calls takes; a client of ours waits no longer either.
const LONGEST_CALL: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const LARGEST_ANSWER: usize = 1 << 20;
/// A connection that is not used for this long is closed.
const IDLE: Duration = Duration::from_secs(90);

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The certificates cannot be read.
    #[error("read certificates from `{}`: {why}", path.display())]
    Certificates {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// TLS refuses the settings.
    #[error("set up TLS")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// A client that trusts the certificates of one file.
pub(crate) struct Client {
    pool: Pool<HttpsConnector<HttpConnector<Gateway>>, Full<Bytes>>,
}

/// A status and the JSON that came with it.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The message of a Google error.
    pub(crate) fn google_message(&self) -> String {
        self.text("/error/message")
    }

    /// The message of an OAuth error.
    pub(crate) fn oauth_message(&self) -> String {
        match self.text("/error_description") {
            text if text.is_empty() => self.text("/error"),
            text => text,
        }
    }

    fn text(&self, pointer: &str) -> String {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

impl Client {
    /// `gateway` is the address behind every name, `HOST:PORT`; without it the names are looked up.
    pub(crate) fn new(gateway: Option<String>, ca_file: &Path) -> Result<Client, ClientError> {
        let unread = |why: String| ClientError::Certificates { path: ca_file.to_owned(), why };
        let mut roots = RootCertStore::empty();
        for it in CertificateDer::pem_file_iter(ca_file).map_err(|it| unread(it.to_string()))? {
            let certificate = it.map_err(|it| unread(it.to_string()))?;
            roots.add(certificate).map_err(|it| unread(it.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unread("there is none in it".to_owned()));
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new_with_resolver(Gateway(gateway.map(Into::into)));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(LONGEST_CALL));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(https);
        Ok(Client { pool })
    }

    /// Posts JSON and reads JSON.
    pub(crate) async fn post(
        &self,
        url: &str,
        bearer: Option<&str>,
        body: &Value,
    ) -> Result<Answer, Refusal> {
        let call = async {
            let mut request = Request::builder()
                .method(Method::POST)
                .uri(url)
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::USER_AGENT, "gke-metadata-server");
            if let Some(bearer) = bearer {
                request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
            }
            let request =
                request.body(Full::from(body.to_string())).map_err(|it| it.to_string())?;
            let answer = self.pool.request(request).await.map_err(|it| chain_of(&it))?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
            let body = body.map_err(|it| chain_of(&*it))?.to_bytes();
            // What is no JSON has no message either; the status says enough.
            Ok::<_, String>(Answer {
                status,
                body: serde_json::from_slice(&body).unwrap_or_default(),
            })
        };
        let failed = |why: String| Refusal::Unreachable(format!("POST {url}: {why}"));
        match tokio::time::timeout(LONGEST_CALL, call).await {
            Ok(result) => result.map_err(failed),
            Err(_) => Err(failed(format!("no answer within {LONGEST_CALL:?}"))),
        }
    }
}

/// Text as a segment of a path.
pub(super) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%40", "@")
        .replace("%2D", "-")
        .replace("%2E", ".")
}

/// Every name is at one address.
#[derive(Clone)]
struct Gateway(Option<Arc<str>>);

impl tower::Service<Name> for Gateway {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let gateway = self.0.clone();
        Box::pin(async move {
            // Port 0 stands for the one of the URL.
            let found: Vec<SocketAddr> = match gateway {
                Some(gateway) => tokio::net::lookup_host(&*gateway).await?.collect(),
                None => tokio::net::lookup_host((name.as_str(), 0)).await?.collect(),
            };
            Ok(found.into_iter())
        })
    }
}

fn chain_of(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |it| it.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_one_segment_whatever_is_in_it() {
        assert_eq!(segment("a-b@p.iam.gserviceaccount.com"), "a-b@p.iam.gserviceaccount.com");
        assert_eq!(segment("../x?y#z\r\n:"), "..%2Fx%3Fy%23z%0D%0A%3A");
    }

    #[test]
    fn a_file_without_certificates_is_told() {
        let path = std::env::temp_dir().join(format!("no-certificates-{}", std::process::id()));
        std::fs::write(&path, "nothing").unwrap();
        let Err(error) = Client::new(None, &path) else { panic!("made") };
        assert!(error.to_string().ends_with("there is none in it"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let Err(error) = Client::new(None, &path) else { panic!("made") };
        assert!(error.to_string().starts_with("read certificates from"), "{error}");
    }
}
