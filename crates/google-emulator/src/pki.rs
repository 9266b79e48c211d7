//! The private certificate authority and the certificates that it signs.

mod public_key;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

pub use self::public_key::PublicKey;
pub(crate) use self::public_key::element;

use crate::clock::{self, Clock};
use crate::state::{AuthorityRecord, StoreError};

/// Names that the gateway's certificate is for; `*` covers one label.
pub const NAMES: [&str; 7] = [
    "googleapis.com",
    "*.googleapis.com",
    "*.storage.googleapis.com",
    "*.rep.googleapis.com",
    "accounts.google.com",
    "oauth2.google.com",
    "metadata.google.internal",
];

/// The authority signs for these domains alone: whoever trusts it trusts it for nothing else.
const PERMITTED: [&str; 4] =
    ["googleapis.com", "accounts.google.com", "oauth2.google.com", "metadata.google.internal"];

const AUTHORITY_LIFE: Duration = Duration::from_hours(24 * 3650);
const LEAF_LIFE: Duration = Duration::from_hours(24 * 90);
/// A leaf with less left than this is replaced at the next handshake.
const RENEW_BEFORE: Duration = Duration::from_hours(24 * 30);
/// Clocks of clients may be behind by this much.
const SKEW: Duration = Duration::from_mins(5);

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The folder of the authority.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificate itself.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// A key or certificate that cannot be used.
    #[error("unusable key or certificate: {0}")]
    Unusable(String),
}

/// A certificate with its key, in PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, followed by no others.
    pub certificate_pem: String,
    /// PKCS #8.
    pub key_pem: String,
}

/// Someone who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A subject: organization, common name and so on.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// `C`.
    pub country: String,
    /// `O`.
    pub organization: String,
    /// `CN`.
    pub common_name: String,
    /// `dnQualifier`-free text that tells authorities of the same name apart; `OU`.
    pub unit: String,
}

impl Authority {
    /// A new authority, limited to some domains when any are given.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn new(subject: &Subject, domains: &[&str], now: SystemTime) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = authority_params(subject, now);
        if !domains.is_empty() {
            let permitted = domains.iter().map(|it| GeneralSubtree::DnsName((*it).to_owned()));
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: permitted.collect(),
                excluded_subtrees: Vec::new(),
            });
        }
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// The authority that a record in the state keeps.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn from_record(record: &AuthorityRecord) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(&record.key_pem)?;
        let field = |name: &str| record.subject.get(name).cloned().unwrap_or_default();
        let subject = Subject {
            country: field("C"),
            organization: field("O"),
            common_name: field("CN"),
            unit: field("OU"),
        };
        // Only the subject and the key matter for signing; the dates are in the certificate.
        let params = authority_params(&subject, SystemTime::UNIX_EPOCH + 2 * SKEW);
        let certificate_pem = record.certificate_pem.clone();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// What the state keeps of it.
    #[must_use]
    pub fn record(&self, subject: &Subject) -> AuthorityRecord {
        let fields = [
            ("C", &subject.country),
            ("O", &subject.organization),
            ("CN", &subject.common_name),
            ("OU", &subject.unit),
        ];
        AuthorityRecord {
            key_pem: self.issuer.key().serialize_pem(),
            certificate_pem: self.certificate_pem.clone(),
            subject: fields.map(|(name, value)| (name.to_owned(), value.clone())).into(),
        }
    }

    /// The certificate that clients trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A server's certificate with a new key.
    ///
    /// # Errors
    /// When a name is none.
    pub fn server(
        &self,
        subject: &Subject,
        names: &[&str],
        now: SystemTime,
        life: Duration,
    ) -> Result<Pair, PkiError> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        leaf_params(&mut params, subject, now, life);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { certificate_pem, key_pem: key.serialize_pem() })
    }

    /// A client's certificate for a key that the client keeps; `serial` is up to 20 bytes.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn client(
        &self,
        subject: &Subject,
        key: &PublicKey,
        serial: &[u8],
        now: SystemTime,
        life: Duration,
    ) -> Result<String, PkiError> {
        let mut params = CertificateParams::default();
        leaf_params(&mut params, subject, now, life);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(serial));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }
}

fn authority_params(subject: &Subject, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    leaf_params(&mut params, subject, now, AUTHORITY_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = false;
    params
}

fn leaf_params(params: &mut CertificateParams, subject: &Subject, now: SystemTime, life: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let moment = |time: SystemTime| epoch + Duration::from_secs(clock::seconds(time));
    params.not_before = moment(now.checked_sub(SKEW).unwrap_or(now));
    params.not_after = moment(now + life);
    let mut name = DistinguishedName::new();
    let parts = [
        (DnType::CountryName, &subject.country),
        (DnType::OrganizationName, &subject.organization),
        (DnType::OrganizationalUnitName, &subject.unit),
        (DnType::CommonName, &subject.common_name),
    ];
    for (kind, value) in parts.into_iter().filter(|(_, value)| !value.is_empty()) {
        name.push(kind, value.clone());
    }
    params.distinguished_name = name;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
}

/// A pair as rustls serves it.
///
/// # Errors
/// When the pair is none.
pub fn certified(pair: &Pair) -> Result<CertifiedKey, PkiError> {
    let unusable = |error: &dyn std::fmt::Display| PkiError::Unusable(error.to_string());
    let chain = CertificateDer::pem_slice_iter(pair.certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(&error))?;
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes());
    let key = key.map_err(|error| unusable(&error))?;
    let key = tokio_rustls::rustls::crypto::ring::sign::any_supported_type(&key);
    Ok(CertifiedKey::new(chain, key.map_err(|error| unusable(&error))?))
}

/// The gateway's authority, and its certificate, always fresh.
pub struct Pki {
    authority: Authority,
    clock: Arc<dyn Clock>,
    leaf: Mutex<(Arc<CertifiedKey>, SystemTime)>,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pki")
    }
}

impl Pki {
    /// Reads the authority of a folder, or makes it.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, PkiError> {
        let path = folder.join("authority.json");
        let subject = Subject {
            organization: "Emulated Google Cloud".to_owned(),
            common_name: "Emulated Google Cloud private CA".to_owned(),
            ..Subject::default()
        };
        let now = clock.now();
        let bytes = crate::secret::read_or_make(&path, || {
            let authority = Authority::new(&subject, &PERMITTED, now);
            let authority = authority.map_err(std::io::Error::other)?;
            Ok(serde_json::to_vec(&authority.record(&subject))?)
        })?;
        let record: AuthorityRecord = serde_json::from_slice(&bytes)
            .map_err(|error| StoreError::Damaged { path, why: error.to_string() })?;
        let authority = Authority::from_record(&record)?;
        let leaf = Mutex::new(gateway_leaf(&authority, now)?);
        Ok(Self { authority, clock, leaf })
    }

    /// What clients must trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// The gateway's certificate; a new one when the old one is near its end.
    #[must_use]
    pub fn leaf(&self) -> Arc<CertifiedKey> {
        let mut leaf = self.leaf.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        if leaf.1 < now + RENEW_BEFORE
            && let Ok(fresh) = gateway_leaf(&self.authority, now)
        {
            *leaf = fresh;
        }
        Arc::clone(&leaf.0)
    }
}

impl ResolvesServerCert for Pki {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A client that names nobody is served; one that names somebody else is in the wrong
        // place, and its handshake ends with an alert.
        hello.server_name().is_none_or(is_ours).then(|| self.leaf())
    }
}

/// Whether the gateway's certificate is for this name.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    NAMES.iter().any(|it| match it.strip_prefix('*') {
        Some(suffix) => {
            name.strip_suffix(suffix).is_some_and(|label| !label.is_empty() && !label.contains('.'))
        }
        None => name == *it,
    })
}

fn gateway_leaf(
    authority: &Authority,
    now: SystemTime,
) -> Result<(Arc<CertifiedKey>, SystemTime), PkiError> {
    let subject = Subject {
        organization: "Emulated Google Cloud".to_owned(),
        common_name: "*.googleapis.com".to_owned(),
        ..Subject::default()
    };
    let pair = authority.server(&subject, &NAMES, now, LEAF_LIFE)?;
    Ok((Arc::new(certified(&pair)?), now + LEAF_LIFE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn names_are_ours_one_label_deep() {
        for (name, expected) in [
            ("storage.googleapis.com", true),
            ("STORAGE.googleapis.com.", true),
            ("bucket.storage.googleapis.com", true),
            ("a.b.storage.googleapis.com", false),
            ("a.b.googleapis.com", false),
            (".googleapis.com", false),
            ("evilgoogleapis.com", false),
            ("example.com", false),
        ] {
            assert_eq!(is_ours(name), expected, "{name}");
        }
    }

    #[test]
    fn the_authority_survives_a_restart_and_the_leaf_is_renewed_before_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(clock::Set::at(clock::at(1_800_000_000)));
        let pki = Pki::open(folder.path(), clock.clone()).unwrap();
        let first = pki.leaf();
        clock.advance(LEAF_LIFE - RENEW_BEFORE - DAY);
        assert!(Arc::ptr_eq(&first, &pki.leaf()));
        clock.advance(2 * DAY);
        assert!(!Arc::ptr_eq(&first, &pki.leaf()));
        let again = Pki::open(folder.path(), clock).unwrap();
        assert_eq!(again.certificate_pem(), pki.certificate_pem());
    }
}
