//! Connects to the cluster of one kubeconfig file and one context, whatever the user's own say.

use crate::error::{Error, Result};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt},
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{path::Path, time::Duration};
use tower::{BoxError, ServiceBuilder};

/// How long a connection may take to come about. A server on the same host answers in milliseconds,
/// one on the other side of the world within a second.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A client for exactly that context of exactly that file, once its API server has answered.
///
/// Neither `KUBECONFIG` nor the current context is read, and of all proxies only the one that the
/// kubeconfig itself names is used: an `HTTPS_PROXY` in the environment knows nothing of a cluster
/// on the loopback interface.
pub async fn connect(kubeconfig: &Path, context: &str) -> Result<Client> {
    let broken =
        |source| Error::Kubeconfig { path: kubeconfig.to_owned(), source: Box::new(source) };
    let file = Kubeconfig::read_from(kubeconfig).map_err(broken)?;
    let Some(named) = file.contexts.iter().find(|it| it.name == context) else {
        let known: Vec<&str> = file.contexts.iter().map(|it| it.name.as_str()).collect();
        return Err(Error::NoContext {
            path: kubeconfig.to_owned(),
            context: context.to_owned(),
            known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
        });
    };
    let cluster = named.context.as_ref().map(|it| it.cluster.clone());
    let proxy = file
        .clusters
        .iter()
        .find(|it| Some(&it.name) == cluster.as_ref())
        .and_then(|it| it.cluster.as_ref()?.proxy_url.as_deref()?.parse().ok());
    let options =
        KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(file, &options).await.map_err(broken)?;
    config.proxy_url = proxy;
    config.connect_timeout = Some(CONNECT_LIMIT);
    let server = config.cluster_url.to_string();
    let unreachable = |source| Error::Unreachable {
        path: kubeconfig.to_owned(),
        context: context.to_owned(),
        server: server.clone(),
        source: Box::new(source),
    };
    let client = client(config).map_err(unreachable)?;
    // A server that accepts the connection and never answers must not hang the caller.
    match tokio::time::timeout(2 * CONNECT_LIMIT, client.apiserver_version()).await {
        Ok(answer) => answer.map_err(unreachable)?,
        Err(_) => {
            let what = format!("the API server `{server}` of context `{context}`");
            return Err(Error::TimedOut { what, limit: 2 * CONNECT_LIMIT });
        }
    };
    Ok(client)
}

/// kube's own connector leaves Nagle's algorithm on, which holds the last packet of a TLS handshake
/// back until the peer's delayed acknowledgement: 47 ms instead of 5 ms for each new connection,
/// measured on loopback. A cluster behind a proxy keeps kube's connector, which knows proxies.
fn client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(config.connect_timeout);
    let https = config.rustls_https_connector_with_connector(connector)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(https));
    Ok(Client::new(service, config.default_namespace))
}
