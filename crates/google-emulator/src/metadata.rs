//! The metadata server of a node, as GKE runs it: a pod asks 169.254.169.254 and gets the token of
//! its own service account.
//!
//! Who asks is told by the address of the connection. The rest is the chain of GKE, over TLS to
//! Google's own host names: a token of the cluster, an exchange, a token of the Google service
//! account that the Kubernetes service account names.

mod address;
mod admin;
mod cache;
mod chain;
mod page;
pub mod pods;
mod query;
mod server;
mod silence;
mod words;

pub use chain::ClientError;
pub use page::Instance;
pub use silence::How;

use crate::{
    clock::{self, Clock},
    log::{Entry, Log},
    world::{World, WorldError},
};
use pods::{Pods, cluster::ClusterPods, file, file::PodsFile};
use server::Server;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;

/// Options of the metadata server.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The world file of the cloud: project, zone and cluster.
    #[arg(long, value_name = "FILE")]
    world: PathBuf,

    /// Where pods ask; only a loopback or link-local address is taken.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "169.254.169.254:80")]
    listen: SocketAddr,

    /// Add the address to the loopback interface if this machine does not have it, and take it
    /// away at the end if it was added. Needs CAP_NET_ADMIN.
    #[arg(long)]
    add_address: bool,

    /// Where tests order faults and the kubelet asks for health; only a loopback address is taken.
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr>,

    /// The address behind Google's host names; without it they are looked up.
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,

    /// Certificates that the gateway is trusted by, in PEM.
    #[arg(long, value_name = "FILE")]
    ca_file: PathBuf,

    /// The node whose pods are served.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node: String,

    /// Pods from a file instead of the API server, for a machine without a cluster.
    #[arg(long, value_name = "FILE")]
    pods: Option<PathBuf>,

    /// Say nothing in the first seconds of a pod's life, as GKE does.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    silent_for: u32,

    /// How nothing is said.
    #[arg(long, value_enum, default_value = "hold")]
    silence: How,

    /// Give a token again for at most this long. GKE gives it until shortly before it ends, which
    /// hides a binding that was taken away.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    cache_for: u32,
}

/// Why the metadata server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The world.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The pods of a file.
    #[error("pods")]
    Pods(#[from] file::Error),
    /// The API server.
    #[error(
        "find the API server\nhint: run in a pod with a service account, or pass `--pods FILE`"
    )]
    Cluster(#[source] Box<kube::Error>),
    /// The way to the gateway.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Everybody could ask.
    #[error(
        "listen on `{0}`: neither a loopback nor a link-local address\nhint: whoever reaches this \
         port gets tokens, so it is for pods of this node alone: `169.254.169.254:80`"
    )]
    Public(SocketAddr),
    /// The address is not on this machine.
    #[error(
        "listen on `{0}`: this machine does not have the address\nhint: `ip addr add {ip}/32 dev \
         lo`, or pass `--add-address`", ip = .0.ip()
    )]
    NoAddress(SocketAddr),
    /// The address cannot be added.
    #[error("add `{address}` to the loopback interface\nhint: it takes CAP_NET_ADMIN")]
    Add {
        /// Which address.
        address: IpAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The port cannot be had.
    #[error("listen on `{address}`{hint}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// What to do about it.
        hint: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a metadata server is made of.
pub struct Settings {
    /// The node.
    pub instance: Instance,
    /// Its pods.
    pub pods: Arc<dyn Pods>,
    /// The address behind Google's names, `HOST:PORT`.
    pub gateway: Option<String>,
    /// Certificates that it is trusted by.
    pub ca_file: PathBuf,
    /// The part of a pod's life in which nothing is said.
    pub silent_for: Duration,
    /// How.
    pub how: How,
    /// The longest that a token is given again.
    pub cache_for: Duration,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where the log goes.
    pub log: Log,
}

/// A metadata server that is ready to serve.
#[derive(Clone)]
pub struct Metadata(Arc<Server>);

impl Metadata {
    /// Makes one.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let Settings { instance, pods, gateway, ca_file, clock, log, .. } = settings;
        let client = chain::Client::new(gateway, &ca_file)?;
        let instance = Arc::new(instance);
        let chain =
            chain::Chain::new(client, Arc::clone(&pods), Arc::clone(&instance), settings.cache_for);
        let silence = silence::Silence::new(settings.silent_for, settings.how);
        let faults = crate::faults::Faults::default();
        Ok(Self(Arc::new(Server { instance, pods, chain, silence, faults, clock, log })))
    }

    /// Serves pods until it is dropped.
    pub async fn serve(self, listener: TcpListener) {
        server::serve(self.0, listener).await;
    }

    /// Serves tests and probes until it is dropped.
    pub async fn serve_admin(self, listener: TcpListener) {
        admin::serve(self.0, listener).await;
    }
}

impl Instance {
    /// A node of a world.
    #[must_use]
    pub fn of(world: &World, node: &str) -> Self {
        let project = &world.project;
        Self {
            project_id: project.id.clone(),
            project_number: project.number.to_string(),
            cluster_name: project.cluster.clone(),
            cluster_location: project.zone.clone(),
            cluster_uid: cluster_uid(world),
            zone: project.zone.clone(),
            name: node.to_owned(),
        }
    }
}

/// Serves until it is told to end.
///
/// # Errors
/// Why it does not start.
pub async fn run(args: Args) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let clock: Arc<dyn Clock> = Arc::new(clock::System);
    let world = World::read(&args.world).map_err(Error::World)?;
    let instance = Instance::of(&world, &args.node);
    let pods = source(&args, &instance, &clock).await?;
    // Held until the end: dropping it takes the address away.
    let (listener, _added) = listen(&args).await?;
    let admin = match args.admin_listen {
        Some(address) => Some(bind_admin(address).await?),
        None => None,
    };
    let log = Log::stderr(Arc::clone(&clock));
    let why = format!("listens on {}", args.listen);
    log.write(&Entry { surface: "metadata", decision: "started", why: &why, ..Entry::default() });
    let metadata = Metadata::new(Settings {
        instance,
        pods,
        gateway: args.gateway.clone(),
        ca_file: args.ca_file.clone(),
        silent_for: Duration::from_secs(args.silent_for.into()),
        how: args.silence,
        cache_for: Duration::from_secs(args.cache_for.into()),
        clock,
        log,
    })?;
    tokio::select! {
        () = metadata.clone().serve(listener) => {}
        () = serve_admin(metadata, admin) => {}
        ended = told_to_end() => ended?,
    }
    Ok(())
}

async fn serve_admin(metadata: Metadata, listener: Option<TcpListener>) {
    match listener {
        Some(listener) => metadata.serve_admin(listener).await,
        None => std::future::pending().await,
    }
}

async fn told_to_end() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn source(
    args: &Args,
    instance: &Instance,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn Pods>, Error> {
    if let Some(path) = &args.pods {
        return Ok(Arc::new(PodsFile::open(path, instance.issuer(), Arc::clone(clock))?));
    }
    let client = kube::Client::try_default().await.map_err(|it| Error::Cluster(Box::new(it)))?;
    let log = Log::stderr(Arc::clone(clock));
    let report = move |why: String| {
        let (surface, decision, why) = ("metadata", "error", &*why);
        log.write(&Entry { surface, decision, why, ..Entry::default() });
    };
    Ok(Arc::new(ClusterPods::watch(client, &args.node, report)))
}

/// Binds the port of the pods, after its address is there.
async fn listen(args: &Args) -> Result<(TcpListener, Option<address::Added>), Error> {
    let address = args.listen;
    let link_local = matches!(address.ip(), IpAddr::V4(it) if it.is_link_local());
    if !link_local && !address.ip().is_loopback() {
        return Err(Error::Public(address));
    }
    let added = match address.ip() {
        IpAddr::V4(ip) if args.add_address => {
            address::add(ip).map_err(|source| Error::Add { address: ip.into(), source })?
        }
        _ => None,
    };
    Ok((bind(address).await?, added))
}

async fn bind_admin(address: SocketAddr) -> Result<TcpListener, Error> {
    match address.ip().is_loopback() {
        true => bind(address).await,
        false => Err(Error::Public(address)),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrNotAvailable => Error::NoAddress(address),
        kind => {
            let hint = match kind {
                io::ErrorKind::PermissionDenied => {
                    "\nhint: a port below 1024 takes CAP_NET_BIND_SERVICE"
                }
                io::ErrorKind::AddrInUse => "\nhint: another metadata server runs on this machine",
                _ => "",
            };
            Error::Listen { address, hint, source }
        }
    })
}

/// The same text for the same cluster, 64 digits as GKE has it.
fn cluster_uid(world: &World) -> String {
    let name = world.cluster_uri();
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    digest.as_ref().iter().map(|it| format!("{it:02x}")).collect()
}
