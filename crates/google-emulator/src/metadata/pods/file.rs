//! Pods from a file, for machines without a cluster. The file signs their tokens too.
//!
//! ```json
//! {
//!   "signing_key": "cluster-key.pem",
//!   "nodes": ["10.0.0.1"],
//!   "pods": {
//!     "10.0.0.7": {
//!       "namespace": "mlflow", "pod": "mlflow-0", "kubernetes_sa": "mlflow",
//!       "annotations": {"iam.gke.io/gcp-service-account": "mlflow@demo.iam.gserviceaccount.com"}
//!     }
//!   }
//! }
//! ```
//!
//! A change of the file is seen at the next request.

mod signer;

pub use signer::Signer;

use super::{ANNOTATION, NoToken, Peer, Pod, Pods};
use crate::clock::{self, Clock};
use futures::future::BoxFuture;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};
use tokio::sync::watch;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("read `{}`", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not of the form described above.
    #[error("parse `{}`", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The key cannot sign.
    #[error("use the key `{}`: {why}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    /// Beside the file, unless the path is absolute.
    signing_key: PathBuf,
    /// Who has issued the tokens; the cluster's own name at Google unless given.
    issuer: Option<String>,
    #[serde(default)]
    nodes: BTreeSet<IpAddr>,
    #[serde(default)]
    pods: BTreeMap<IpAddr, PodText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PodText {
    namespace: String,
    pod: String,
    kubernetes_sa: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

struct Loaded {
    stamp: Stamp,
    nodes: BTreeSet<IpAddr>,
    pods: BTreeMap<IpAddr, Arc<Pod>>,
    issuer: Option<String>,
    signer: Arc<Signer>,
}

/// What tells one state of the file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<SystemTime>, u64);

/// The pods of a file.
pub struct PodsFile {
    path: PathBuf,
    /// The issuer of the tokens unless the file names one.
    issuer: String,
    clock: Arc<dyn Clock>,
    loaded: RwLock<Loaded>,
    changes: watch::Sender<u64>,
}

impl PodsFile {
    /// Reads the file for the first time; from then on a file that cannot be read changes nothing.
    pub fn open(path: &Path, issuer: String, clock: Arc<dyn Clock>) -> Result<PodsFile, Error> {
        let loaded = RwLock::new(load(path, None, clock.now())?);
        let changes = watch::Sender::new(0);
        Ok(PodsFile { path: path.to_owned(), issuer, clock, loaded, changes })
    }

    fn refresh(&self) {
        let stamp = stamp(&self.path);
        if self.loaded.read().unwrap_or_else(PoisonError::into_inner).stamp == stamp {
            return;
        }
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        // A file that is being written is read again at the next request.
        if let Ok(new) = load(&self.path, Some(&loaded), self.clock.now()) {
            *loaded = new;
            self.changes.send_modify(|it| *it += 1);
        }
    }
}

impl Pods for PodsFile {
    fn find(&self, address: IpAddr) -> Peer {
        self.refresh();
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        match loaded.pods.get(&address) {
            Some(pod) => Peer::Pod(Arc::clone(pod)),
            None if loaded.nodes.contains(&address) => Peer::Node,
            None => Peer::Unknown,
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn projected_token<'a>(
        &'a self,
        pod: &'a Pod,
        audience: &'a str,
    ) -> BoxFuture<'a, Result<String, NoToken>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let signer = Arc::clone(&loaded.signer);
        let issuer = loaded.issuer.clone().unwrap_or_else(|| self.issuer.clone());
        drop(loaded);
        let claims = claims(pod, audience, &issuer, self.clock.now());
        Box::pin(async move { signer.sign(&claims).map_err(NoToken) })
    }

    fn is_ready(&self) -> bool {
        true
    }
}

/// What an API server writes into a token that it makes for a pod.
fn claims(pod: &Pod, audience: &str, issuer: &str, now: SystemTime) -> serde_json::Value {
    let now = clock::seconds(now);
    let Pod { namespace, name, uid, kubernetes_sa, .. } = pod;
    serde_json::json!({
        "iss": issuer,
        "sub": format!("system:serviceaccount:{namespace}:{kubernetes_sa}"),
        "aud": [audience],
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        "kubernetes.io": {
            "namespace": namespace,
            "pod": {"name": name, "uid": uid},
            "serviceaccount": {"name": kubernetes_sa, "uid": format!("{namespace}-{kubernetes_sa}")},
        },
    })
}

fn stamp(path: &Path) -> Stamp {
    fs::metadata(path).map_or(Stamp(None, 0), |it| Stamp(it.modified().ok(), it.len()))
}

fn load(path: &Path, before: Option<&Loaded>, now: SystemTime) -> Result<Loaded, Error> {
    let stamp = stamp(path);
    let text =
        fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let text: Text = serde_json::from_str(&text)
        .map_err(|source| Error::Parse { path: path.to_owned(), source })?;
    let key = path.parent().unwrap_or(Path::new("")).join(&text.signing_key);
    let signer = Signer::from_file(&key).map_err(|why| Error::Key { path: key, why })?;
    let pods = text.pods.into_iter().map(|(address, it)| {
        // A pod that was in the file before is as old as it was.
        let known = before.and_then(|before| before.pods.get(&address));
        let started = known.filter(|known| known.name == it.pod).and_then(|known| known.started);
        let pod = Pod {
            uid: format!("{}-{}", it.namespace, it.pod),
            namespace: it.namespace,
            name: it.pod,
            kubernetes_sa: it.kubernetes_sa,
            google_sa: it.annotations.get(ANNOTATION).filter(|it| !it.is_empty()).cloned(),
            started: Some(started.unwrap_or(now)),
        };
        (address.to_canonical(), Arc::new(pod))
    });
    let nodes = text.nodes.into_iter().map(|it| it.to_canonical()).collect();
    Ok(Loaded { stamp, nodes, pods: pods.collect(), issuer: text.issuer, signer: Arc::new(signer) })
}

#[cfg(test)]
mod tests;
