//! The two certificate authorities of each instance: one for its server, one for its clients.
//!
//! Their names are those of Google's stand-in (`cloudsqlconn` v1.26.0, internal/mock/certs.go).

use std::time::Duration;

use crate::cloud::Cloud;
use crate::error::Error;
use crate::pki::{Authority, Subject};
use crate::state::sql::Instance;

/// How long an instance's authority lives; Google's are good for ten years as well.
pub(crate) const LIFE: Duration = Duration::from_hours(24 * 3650);
/// The common name of every ephemeral certificate.
pub(crate) const CLIENT_NAME: &str = "Google Cloud SQL Client";

/// Signs the certificate of an instance's server.
pub(crate) fn server(cloud: &Cloud, key: &str) -> Result<Authority, Error> {
    of(cloud, key, "server", "Google Cloud SQL Server CA")
}

/// Signs the ephemeral certificates of an instance's clients.
pub(crate) fn client(cloud: &Cloud, key: &str) -> Result<Authority, Error> {
    of(cloud, key, "client", "Google Cloud SQL Signing CA")
}

/// The common name of the server's authority.
pub(crate) fn server_name(_: &Instance) -> &'static str {
    "Google Cloud SQL Server CA"
}

pub(crate) fn client_subject() -> Subject {
    subject(CLIENT_NAME, "")
}

/// The key under which the state has an authority.
pub(crate) fn record_key(key: &str, side: &str) -> String {
    format!("sql/{key}/{side}")
}

pub(crate) fn subject(common_name: &str, unit: &str) -> Subject {
    Subject {
        country: "US".to_owned(),
        organization: "Google, Inc".to_owned(),
        common_name: common_name.to_owned(),
        unit: unit.to_owned(),
    }
}

/// The authority in the state; it is made when it is first asked for.
fn of(cloud: &Cloud, key: &str, side: &str, name: &str) -> Result<Authority, Error> {
    let failed = |error: crate::pki::PkiError| Error::internal(&error.to_string());
    let at = record_key(key, side);
    if let Some(record) = cloud.state().authorities.get(&at) {
        return Authority::from_record(record).map_err(failed);
    }
    let subject = subject(name, &key.replace('/', ":"));
    let fresh = Authority::new(&subject, &[], cloud.now()).map_err(failed)?;
    cloud.state.change(|state| {
        // Another request may have been faster.
        if !state.authorities.contains(&at) {
            state.authorities.insert(at.clone(), fresh.record(&subject));
        }
        let record = state.authorities.get(&at).ok_or_else(|| Error::internal(""))?;
        Authority::from_record(record).map_err(failed)
    })
}
