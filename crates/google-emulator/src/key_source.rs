//! Where the cluster's public keys come from, and when they are read again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::Mutex;

use crate::jwt::KeySet;

/// Keys are read again after this time.
const FRESH: Duration = Duration::from_mins(5);
/// A token with an unknown key makes them be read again, but not more often than this.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// An API server that has not answered by then is taken as gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// A place that has the keys.
#[derive(Clone)]
pub enum Place {
    /// They are given and do not change.
    Given(Value),
    /// A file with a JWKS.
    File(PathBuf),
    /// `/openid/v1/jwks` of the API server.
    ApiServer(kube::Client),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given(_) => f.write_str("Given"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::ApiServer(_) => f.write_str("ApiServer"),
        }
    }
}

/// The cluster's public keys.
#[derive(Debug)]
pub struct KeySource {
    place: Place,
    known: Mutex<Option<(Arc<KeySet>, SystemTime)>>,
}

impl KeySource {
    /// Keys from this place.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self { place, known: Mutex::default() }
    }

    /// The keys; they are read again when they are old, or when the one that is asked for is not
    /// among them, as after a rotation.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn keys(&self, id: &str, now: SystemTime) -> Result<Arc<KeySet>, String> {
        let mut known = self.known.lock().await;
        if let Some((keys, read)) = &*known {
            let age = now.duration_since(*read).unwrap_or_default();
            if age < AT_MOST_EVERY || (age < FRESH && keys.contains(id)) {
                return Ok(Arc::clone(keys));
            }
        }
        let read = tokio::time::timeout(PATIENCE, self.read()).await;
        match read.unwrap_or_else(|_| Err("the API server does not answer".to_owned())) {
            Ok(keys) => {
                let keys = Arc::new(keys);
                *known = Some((Arc::clone(&keys), now));
                Ok(keys)
            }
            // An API server that restarts does not take the keys back.
            Err(why) => known.as_ref().map(|(keys, _)| Arc::clone(keys)).ok_or(why),
        }
    }

    async fn read(&self) -> Result<KeySet, String> {
        let text = match &self.place {
            Place::Given(value) => return KeySet::parse(value),
            Place::File(path) => tokio::fs::read_to_string(path).await.map_err(|error| {
                format!("cannot read the cluster's keys in `{}`: {error}", path.display())
            })?,
            Place::ApiServer(client) => {
                let request = hyper::Request::get("/openid/v1/jwks").body(Vec::new());
                let request = request.map_err(|error| error.to_string())?;
                let answer = client.request_text(request).await;
                answer.map_err(|error| {
                    format!("cannot read the cluster's keys from its API server: {error}")
                })?
            }
        };
        let value = serde_json::from_str(&text);
        KeySet::parse(&value.map_err(|error| format!("the cluster's keys are no JSON: {error}"))?)
    }
}
