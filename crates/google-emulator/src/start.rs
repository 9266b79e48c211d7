//! Starts the gateway with all of its ports.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use hyper::Uri;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::System;
use crate::cloud::{Cloud, Config, StartError, Upstreams};
use crate::gateway::serve;
use crate::key_source::{KeySource, Place};
use crate::log::{Entry, Log};
use crate::sql_port::Superuser;
use crate::world::{World, WorldError};
use crate::{admin, connect, publish, sql_port};

/// Options of the gateway.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// What a fresh cloud holds, YAML or JSON.
    #[arg(long)]
    pub world: PathBuf,
    /// Folder of the state, the keys and the certificates.
    #[arg(long)]
    pub state: PathBuf,
    /// Address of Google's hosts, TLS.
    #[arg(long, default_value = "0.0.0.0:443")]
    pub listen: SocketAddr,
    /// Address of Cloud SQL's data port, TLS.
    #[arg(long, default_value = "0.0.0.0:3307")]
    pub sql_listen: SocketAddr,
    /// Address of the port for tests and operators, plain; whoever reaches it can be anybody.
    #[arg(long, default_value = "127.0.0.1:8081")]
    pub admin_listen: SocketAddr,
    /// Address of the HTTP CONNECT proxy.
    #[arg(long, default_value = "127.0.0.1:3128")]
    pub proxy_listen: SocketAddr,
    /// The storage server behind Cloud Storage, `http://HOST:PORT`.
    #[arg(long)]
    pub storage_upstream: Option<Uri>,
    /// File with the superuser of the PostgreSQL servers behind Cloud SQL: its name in the first
    /// line, its password in the second. Without it: `postgres`, without a password.
    #[arg(long)]
    pub sql_superuser_file: Option<PathBuf>,
    /// File with the cluster's public keys; without it and without keys in the world file they
    /// are read from the API server of the cluster that this runs in.
    #[arg(long)]
    pub kubernetes_jwks: Option<PathBuf>,
    /// Put the CA's certificate, as ConfigMap `google-emulation-ca`, into each namespace with this label.
    #[arg(long, value_name = "LABEL=VALUE")]
    pub publish_ca: Option<String>,
}

/// Why the gateway ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The world file.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The cloud.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A port that cannot be had.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The file of Cloud SQL's superuser.
    #[error("superuser file `{0}`: {1}")]
    Superuser(PathBuf, String),
    /// TLS.
    #[error("cannot offer TLS")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// The API server of the cluster.
    #[error("the cluster's API server cannot be asked: {0}")]
    Keys(String),
    /// Signals.
    #[error("cannot wait for signals")]
    Signal(#[source] std::io::Error),
}

/// Runs the gateway until it is told to end.
///
/// # Errors
/// Why it does not start.
pub async fn gateway(options: Options) -> Result<(), RunError> {
    let mut ends = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupts = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let world = World::read(&options.world)?;
    let keys = KeySource::new(place(&options, &world).await?);
    let clock = Arc::new(System);
    let cloud = Cloud::open(Config {
        world,
        state_folder: options.state.clone(),
        log: Log::stderr(Arc::clone(&clock) as _),
        clock,
        upstreams: Upstreams {
            storage: options.storage_upstream.clone(),
            sql_superuser: superuser(&options)?,
        },
        keys,
    })?;
    more_files();
    let tls = serve::acceptor(&cloud)?;
    if let Some(label) = options.publish_ca {
        let client = kube::Client::try_default().await;
        let client = client.map_err(|error| RunError::Keys(error.to_string()))?;
        tokio::spawn(publish::run(Arc::clone(&cloud), client, label));
    }
    let google = listen(options.listen).await?;
    let sql = listen(options.sql_listen).await?;
    let operators = listen(options.admin_listen).await?;
    let proxy = listen(options.proxy_listen).await?;
    // With port 0 the system chooses; whoever started this reads here what it chose.
    for (name, listener) in
        [("admin", &operators), ("proxy", &proxy), ("sql", &sql), ("gateway", &google)]
    {
        let address = listener.local_addr().map(|it| it.to_string()).unwrap_or_default();
        cloud.log(&Entry {
            surface: name,
            decision: "listening",
            resource: &address,
            ..Entry::default()
        });
    }
    tokio::select! {
        () = serve::gateway(Arc::clone(&cloud), google, tls.clone()) => {}
        () = connect::serve(Arc::clone(&cloud), proxy, tls) => {}
        () = admin::serve(Arc::clone(&cloud), operators) => {}
        () = sql_port::serve(Arc::clone(&cloud), sql) => {}
        _ = ends.recv() => {}
        _ = interrupts.recv() => {}
    }
    Ok(())
}

fn superuser(options: &Options) -> Result<Superuser, RunError> {
    let Some(path) = &options.sql_superuser_file else { return Ok(Superuser::default()) };
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let superuser = text.and_then(|it| Superuser::parse(&it));
    superuser.map_err(|why| RunError::Superuser(path.clone(), why))
}

async fn place(options: &Options, world: &World) -> Result<Place, RunError> {
    if let Some(path) = &options.kubernetes_jwks {
        return Ok(Place::File(path.clone()));
    }
    if let Some(keys) = &world.kubernetes.jwks {
        return Ok(Place::Given(keys.clone()));
    }
    let client = kube::Client::try_default().await;
    client.map(Place::ApiServer).map_err(|error| RunError::Keys(error.to_string()))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|error| RunError::Listen(address, error))
}

/// Takes as many file descriptors as the system allows: each connection is one.
fn more_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // With less than the most the connection limit is reached by errors, which accept survives.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
