//! Serves a local port for as long as somebody wants it, whatever happens to the pods behind it.

use super::{Address, Endpoint, endpoints, open_stream};
use crate::error::{Error, Result};
use ::watch::error_chain;
use kube::Client;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};

/// How long a connection that failed waits at most for other endpoints before it tries again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What to serve, and within which bounds.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The port of a Service.
    pub address: Address,
    /// How long a connection waits for a ready pod before it is closed.
    pub patience: Duration,
    /// How many connections at once; the next ones wait in the listener's own queue.
    pub connections: usize,
}

impl Forward {
    /// That port, with bounds that suit one person and a browser.
    pub fn new(address: Address) -> Forward {
        Forward { address, patience: Duration::from_secs(60), connections: 64 }
    }
}

/// What a forward tells while it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardEvent {
    /// The pods behind the port have changed.
    Endpoints(Vec<Endpoint>),
    /// A connection goes to this pod.
    Connected(Endpoint),
    /// A connection failed.
    Failed(String),
}

/// Serves the listener until it breaks or the future is dropped. Each connection gets its own
/// stream to a pod that is ready at that moment; the local port stays open all the time.
pub async fn forward(
    listener: TcpListener,
    client: Client,
    forward: Forward,
    mut on_event: impl FnMut(&ForwardEvent),
) -> Result<()> {
    let port = endpoints::port_name(&client, &forward.address).await?;
    let (sender, mut ready) = watch::channel(Vec::new());
    let (events, mut heard) = mpsc::unbounded_channel();
    let slots = Arc::new(Semaphore::new(forward.connections));
    let mut tasks = JoinSet::new();
    tasks.spawn(endpoints::follow(client.clone(), forward.address.clone(), port, sender));
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        tokio::select! {
            (slot, accepted) = accepted => {
                let (socket, _) = accepted.map_err(|it| Error::stream("accept a connection", it))?;
                let (client, forward) = (client.clone(), forward.clone());
                let (ready, events) = (ready.clone(), events.clone());
                tasks.spawn(async move {
                    let _slot = slot;
                    if let Err(error) = serve(socket, &client, &forward, ready, &events).await {
                        let _ = events.send(ForwardEvent::Failed(error_chain(&error)));
                    }
                });
            }
            Ok(()) = ready.changed() => {
                let now = ready.borrow_and_update().clone();
                on_event(&ForwardEvent::Endpoints(now));
            }
            Some(event) = heard.recv() => on_event(&event),
            Some(_) = tasks.join_next(), if tasks.len() > 1 => {}
        }
    }
}

async fn serve(
    mut socket: TcpStream,
    client: &Client,
    forward: &Forward,
    mut ready: watch::Receiver<Vec<Endpoint>>,
    events: &mpsc::UnboundedSender<ForwardEvent>,
) -> Result<()> {
    let Address { namespace, service, port } = &forward.address;
    let opening = async {
        loop {
            let endpoint = match ready.wait_for(|it| !it.is_empty()).await {
                Ok(all) => all.first().cloned(),
                Err(_) => return None,
            };
            let endpoint = endpoint?;
            match open_stream(client, namespace, &endpoint).await {
                Ok(stream) => return Some((endpoint, stream)),
                Err(error) => {
                    let _ = events.send(ForwardEvent::Failed(error_chain(&error)));
                }
            }
            // A pod that has just died is ready until the API server hears of it, so its end is
            // the news to wait for; a lost connection to the API server brings none.
            let _ = tokio::time::timeout(RETRY_PAUSE, ready.changed()).await;
        }
    };
    let opened = tokio::time::timeout(forward.patience, opening).await.ok().flatten();
    let Some((endpoint, mut stream)) = opened else {
        return Err(Error::NoEndpoint {
            namespace: namespace.clone(),
            service: service.clone(),
            port: *port,
            waited: forward.patience,
        });
    };
    let _ = events.send(ForwardEvent::Connected(endpoint));
    // How a connection ends is between the two ends; both are told by the close itself.
    let _ = copy_bidirectional(&mut socket, &mut stream).await;
    Ok(())
}
