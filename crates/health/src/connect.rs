//! Connects to the cluster of one kubeconfig file and one context, whatever the user's own say.

use crate::error::{Error, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{path::Path, time::Duration};

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
    let client = Client::try_from(config).map_err(unreachable)?;
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
