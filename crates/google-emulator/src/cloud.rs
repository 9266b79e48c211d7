//! Everything that a surface needs, in one place.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::Uri;
use iam::Principal;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::key_source::KeySource;
use crate::log::{Entry, Log};
use crate::pki::{Pki, PkiError};
use crate::sql_port::{Sql, Superuser};
use crate::state::{REVOKED_UNTIL_US, State, Store, StoreError, fresh};
use crate::surface::storage;
use crate::token::{AccessToken, Refusal, Tokens};
use crate::world::World;

/// What a cloud is made of.
pub struct Config {
    /// What it holds when it is new.
    pub world: World,
    /// Where it keeps what it holds.
    pub state_folder: PathBuf,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where its log goes.
    pub log: Log,
    /// The real servers behind it.
    pub upstreams: Upstreams,
    /// Where the cluster's public keys come from.
    pub keys: KeySource,
}

/// The real servers behind the emulated ones.
#[derive(Clone, Debug, Default)]
pub struct Upstreams {
    /// fake-gcs-server, `http://HOST:PORT`.
    pub storage: Option<Uri>,
    /// Who makes roles and databases in the PostgreSQL servers behind Cloud SQL.
    pub sql_superuser: Superuser,
}

/// Why a cloud does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Its world.
    #[error("world: {0}")]
    World(String),
}

/// The emulated cloud.
pub struct Cloud {
    /// What a fresh one holds; names and places of the project.
    pub world: World,
    /// What this one holds.
    pub state: Store,
    /// Access tokens.
    pub tokens: Tokens,
    /// The gateway's certificates.
    pub pki: Arc<Pki>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What happened.
    pub log: Log,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// The real servers.
    pub upstreams: Upstreams,
    /// The cluster's public keys.
    pub keys: KeySource,
    /// Connections to the storage server, and the uploads that are open.
    pub storage: storage::Backend,
    /// What Cloud SQL keeps in memory.
    pub sql: Sql,
}

impl Cloud {
    /// Opens the cloud of a folder, or makes it.
    ///
    /// # Errors
    /// When its files cannot be used, or its world makes no sense.
    pub fn open(config: Config) -> Result<Arc<Self>, StartError> {
        let Config { world, state_folder, clock, log, upstreams, keys } = config;
        let fresh = fresh::state(&world, clock.now()).map_err(StartError::World)?;
        let state = Store::open(&state_folder, fresh)?;
        let tokens = Tokens::open(&state_folder)?;
        let pki = Arc::new(Pki::open(&state_folder, Arc::clone(&clock))?);
        let faults = Faults::default();
        let storage = storage::Backend::default();
        Ok(Arc::new(Self {
            world,
            state,
            tokens,
            pki,
            clock,
            log,
            faults,
            upstreams,
            keys,
            storage,
            sql: Sql::default(),
        }))
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// The state at this moment.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.read()
    }

    /// A Kubernetes service account of the cluster as a principal.
    #[must_use]
    pub fn workload(&self, namespace: &str, kubernetes_sa: &str) -> iam::Workload {
        let project = &self.world.project;
        iam::Workload {
            project_id: project.id.clone(),
            project_number: project.number.to_string(),
            namespace: namespace.to_owned(),
            kubernetes_sa: kubernetes_sa.to_owned(),
            cluster: Some(self.world.cluster_uri()),
        }
    }

    /// Writes a line of the log.
    pub fn log(&self, entry: &Entry<'_>) {
        self.log.write(entry);
    }

    /// Reads an access token, and sees whether it was revoked.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn read_token(&self, text: &str) -> Result<AccessToken, Refusal> {
        let token = self.tokens.read(text, self.now())?;
        let state = self.state();
        let keys = [revoked_until(None), revoked_until(Some(&token.principal))];
        let old = keys.iter().any(|key| {
            let until_us = state.settings.get(key).and_then(serde_json::Value::as_u64);
            until_us.is_some_and(|it| token.issued_us <= it)
        });
        if old || state.revoked.contains(&token.id) { Err(Refusal::Revoked) } else { Ok(token) }
    }

    /// Goes back to what a fresh cloud holds.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn reset(&self) -> Result<(), crate::error::Error> {
        let fresh = fresh::state(&self.world, self.now());
        let fresh = fresh.map_err(|why| crate::error::Error::internal(&why))?;
        self.faults.clear();
        self.state.change(|state| {
            state.reset_to(&fresh);
            Ok(())
        })
    }
}

/// Where the state keeps the moment, in microseconds since 1970, until which everybody's tokens, or
/// one principal's, are revoked.
pub(crate) fn revoked_until(principal: Option<&Principal>) -> String {
    match principal {
        None => REVOKED_UNTIL_US.to_owned(),
        Some(principal) => format!("{REVOKED_UNTIL_US}/{principal}"),
    }
}
