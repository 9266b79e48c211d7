//! What the emulated cloud holds. Readers take a whole state that nobody changes under them.

pub mod fresh;
mod journal;
pub mod records;
pub mod sql;
mod store;
mod table;

use base64::Engine as _;
use iam::{Policies, Policy, Resource, ResourceKind};
use serde_json::Value;

pub(crate) use self::journal::write_whole;
pub use self::records::{
    AuthorityRecord, Bucket, MultipartUpload, Operation, Revoked, ServiceAccount, SigningKey,
};
pub use self::store::{Store, StoreError};
pub use self::table::Table;

use self::table::Stored;

/// What the names of the settings begin with that say until when tokens are revoked.
pub(crate) const REVOKED_UNTIL_US: &str = "tokens_revoked_until_us";

/// Everything that survives a restart.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Whether an API is enabled, by `PROJECT/SERVICE`.
    pub services: Table<bool>,
    /// Service accounts by email.
    pub accounts: Table<ServiceAccount>,
    /// Policies by the full name of their resource.
    pub policies: Table<Policy>,
    /// Buckets by name.
    pub buckets: Table<Bucket>,
    /// Open multipart uploads by id.
    pub multipart_uploads: Table<MultipartUpload>,
    /// Cloud SQL instances by `PROJECT/NAME`.
    pub instances: Table<sql::Instance>,
    /// Databases by `PROJECT/INSTANCE/NAME`.
    pub databases: Table<sql::Database>,
    /// Database users by `PROJECT/INSTANCE/NAME`.
    pub users: Table<sql::User>,
    /// Ephemeral certificates by serial number.
    pub client_certificates: Table<sql::ClientCertificate>,
    /// Operations by `SERVICE/NAME`.
    pub operations: Table<Operation>,
    /// Revoked access tokens by id.
    pub revoked: Table<Revoked>,
    /// Signing keys of service accounts by email.
    pub signing_keys: Table<SigningKey>,
    /// Certificate authorities by use.
    pub authorities: Table<AuthorityRecord>,
    /// Resources that no other table has, by `SERVICE/RELATIVE NAME`, as their API writes them
    /// (clusters, repositories).
    pub documents: Table<Value>,
    /// Single values by name.
    pub settings: Table<Value>,
}

impl State {
    /// Whether an API is enabled in a project.
    #[must_use]
    pub fn enabled(&self, project: &str, service: &str) -> bool {
        self.services.get(&format!("{project}/{service}")).copied().unwrap_or(false)
    }

    /// The policy of a resource; an empty one when it has none yet.
    #[must_use]
    pub fn policy_of(&self, resource: &Resource) -> Policy {
        self.policies.get(resource.name()).cloned().unwrap_or_default()
    }

    /// A number that was never given before.
    pub fn next_number(&mut self) -> u64 {
        let next = self.settings.get("next_number").and_then(Value::as_u64).unwrap_or(1);
        self.settings.insert("next_number", Value::from(next + 1));
        next
    }

    /// Goes back to a fresh state. Keys, authorities and what they signed stay: clients trust them,
    /// and nobody takes a certificate back before its hour is over. What was taken back stays so:
    /// no token comes to life again.
    pub fn reset_to(&mut self, fresh: &Self) {
        self.services.replace_with(&fresh.services);
        self.accounts.replace_with(&fresh.accounts);
        self.policies.replace_with(&fresh.policies);
        self.buckets.replace_with(&fresh.buckets);
        self.multipart_uploads.replace_with(&fresh.multipart_uploads);
        self.instances.replace_with(&fresh.instances);
        self.databases.replace_with(&fresh.databases);
        self.users.replace_with(&fresh.users);
        self.operations.replace_with(&fresh.operations);
        self.documents.replace_with(&fresh.documents);
        // A number that was given stays given.
        let number = self
            .next_number()
            .max(fresh.settings.get("next_number").and_then(Value::as_u64).unwrap_or(0));
        let revoked = self.settings.prefix(REVOKED_UNTIL_US);
        let revoked: Vec<_> = revoked.map(|(key, until)| (key.to_owned(), until.clone())).collect();
        self.settings.replace_with(&fresh.settings);
        self.settings.insert("next_number", Value::from(number));
        for (key, until_us) in revoked {
            self.settings.insert(key, until_us);
        }
    }

    fn tables_mut(&mut self) -> [(&'static str, &mut dyn Stored); 15] {
        [
            ("services", &mut self.services),
            ("accounts", &mut self.accounts),
            ("policies", &mut self.policies),
            ("buckets", &mut self.buckets),
            ("multipart_uploads", &mut self.multipart_uploads),
            ("instances", &mut self.instances),
            ("databases", &mut self.databases),
            ("users", &mut self.users),
            ("client_certificates", &mut self.client_certificates),
            ("operations", &mut self.operations),
            ("revoked", &mut self.revoked),
            ("signing_keys", &mut self.signing_keys),
            ("authorities", &mut self.authorities),
            ("documents", &mut self.documents),
            ("settings", &mut self.settings),
        ]
    }
}

impl Policies for State {
    fn policy(&self, resource: &Resource) -> Option<&Policy> {
        self.policies.get(resource.name())
    }

    fn others(&self, resource: &Resource, show: &mut dyn FnMut(&Resource, &Policy)) {
        let mut each = |other: Resource| {
            let policy = self.policies.get(other.name());
            if let Some(policy) = policy.filter(|_| other.name() != resource.name()) {
                show(&other, policy);
            }
        };
        match resource.kind() {
            ResourceKind::Bucket | ResourceKind::Object => {
                let buckets = self.buckets.iter();
                buckets.for_each(|(name, it)| each(Resource::bucket(&it.project, name)));
            }
            ResourceKind::ServiceAccount => {
                let accounts = self.accounts.iter();
                accounts
                    .for_each(|(email, it)| each(Resource::service_account(&it.project, email)));
            }
            _ => {}
        }
    }
}

/// An etag in base64, as gcloud insists on: another one for every number.
#[must_use]
pub fn etag(number: u64) -> String {
    base64::engine::general_purpose::STANDARD.encode(number.to_be_bytes())
}
