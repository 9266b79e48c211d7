//! TLS of port 3307: version 1.3, a server certificate for `project:instance`, and a client
//! certificate that the instance's own client CA signed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{
    self, CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme, version::TLS13,
};

use super::authority;
use crate::clock::{self, Clock};
use crate::cloud::Cloud;
use crate::error::Error;
use crate::pki::element;
use crate::state::AuthorityRecord;
use crate::state::sql::ClientCertificate;

/// A server's certificate lives this long and is made anew after half of it.
const LEAF: Duration = Duration::from_hours(24 * 60);

/// The TLS of each instance, made when the first client comes.
#[derive(Default)]
pub(super) struct Configurations(Mutex<HashMap<String, Made>>);

impl fmt::Debug for Configurations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Configurations")
    }
}

/// The server's and the clients'.
type Authorities = [Arc<AuthorityRecord>; 2];

struct Made {
    config: Arc<ServerConfig>,
    at: SystemTime,
    /// Those that it was made with; an instance of the same name that comes later has others.
    authorities: Authorities,
}

/// The TLS of one instance.
pub(super) fn of(cloud: &Arc<Cloud>, key: &str) -> Result<Arc<ServerConfig>, Error> {
    let now = cloud.now();
    let mut all = cloud.sql.configurations.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = all.get(key)
        && records(cloud, key).is_some_and(|it| same(&it, &made.authorities))
        && now < made.at + LEAF / 2
    {
        return Ok(Arc::clone(&made.config));
    }
    let (server, client) = (authority::server(cloud, key)?, authority::client(cloud, key)?);
    let authorities =
        records(cloud, key).ok_or_else(|| Error::internal("The instance is gone."))?;
    let broken = |error: &dyn fmt::Display| Error::internal(&error.to_string());
    let name = key.replace('/', ":");
    let leaf = server.server(&authority::subject(&name, ""), &[], now, LEAF);
    let leaf = leaf.map_err(|error| broken(&error))?;
    let certificate =
        |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| broken(&error));
    let identity = Identity {
        chain: vec![certificate(&leaf.certificate_pem)?, certificate(server.certificate_pem())?],
        key: PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes())
            .map_err(|error| broken(&error))?,
        client_ca: certificate(client.certificate_pem())?,
    };
    let config = config(identity, Arc::downgrade(cloud), Arc::clone(&cloud.clock), key);
    let config = Arc::new(config.map_err(|error| broken(&error))?);
    all.insert(key.to_owned(), Made { config: Arc::clone(&config), at: now, authorities });
    Ok(config)
}

fn records(cloud: &Cloud, key: &str) -> Option<Authorities> {
    let state = cloud.state();
    let record = |side: &str| state.authorities.shared(&authority::record_key(key, side));
    Some([record("server")?, record("client")?])
}

fn same(some: &Authorities, others: &Authorities) -> bool {
    some.iter().zip(others).all(|(one, other)| Arc::ptr_eq(one, other))
}

/// What an instance shows and whom it trusts.
struct Identity {
    /// The server's certificate, then its CA.
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_ca: CertificateDer<'static>,
}

fn config(
    identity: Identity,
    cloud: Weak<Cloud>,
    clock: Arc<dyn Clock>,
    instance: &str,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(identity.client_ca)?;
    let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let instance = instance.to_owned();
    let verifier = Verifier { inner, cloud, instance, provider: Arc::clone(&provider) };
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(Time(clock)))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(identity.chain, identity.key)?;
    // A resumed session would skip the certificate, and so its expiry.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The row of a certificate: whom it was made for.
pub(super) fn row(cloud: &Cloud, certificate: &[u8]) -> Option<ClientCertificate> {
    let serial: String = serial(certificate)?.iter().map(|it| format!("{it:02x}")).collect();
    cloud.state().client_certificates.get(&serial).cloned()
}

/// The serial number of a certificate.
fn serial(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(certificate, 0x30)?;
    let (signed, _) = element(certificate, 0x30)?;
    // The version comes first, in brackets.
    let (_, signed) = element(signed, 0xa0)?;
    element(signed, 0x02).map(|(serial, _)| serial)
}

struct Time(Arc<dyn Clock>);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.now().duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

/// The usual verification, and what the state says about the certificate.
struct Verifier {
    inner: Arc<dyn ClientCertVerifier>,
    cloud: Weak<Cloud>,
    instance: String,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({})", self.instance)
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let cloud = self.cloud.upgrade().ok_or(CertificateError::ApplicationVerificationFailure)?;
        // Who is not in the state any more was ended by a reset.
        let row = row(&cloud, end_entity).filter(|it| it.instance == self.instance);
        let row = row.ok_or(CertificateError::Revoked)?;
        // The row may have been ended before the certificate's own time.
        if row.expires <= clock::seconds(cloud.now()) {
            return Err(CertificateError::Expired.into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let supported = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, supported)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let supported = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, supported)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
