//! The two calls of every connector: connectSettings and generateEphemeralCert.

use std::time::{Duration, SystemTime};

use hyper::Response;
use iam::Principal;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use serde_json::json;

use super::resource::{addresses, hex, server_ca};
use super::{Call, words};
use crate::authorize::CLOUD_PLATFORM;
use crate::body::{self, Body};
use crate::clock;
use crate::error::Error;
use crate::pki::PublicKey;
use crate::sql_port::{LOGIN_SCOPE, authority};
use crate::state::sql::ClientCertificate;

/// How long Google's certificates live (`cloudsqlconn` v1.26.0, internal/mock/certs.go).
const LIFE: Duration = Duration::from_hours(1);

pub(super) fn settings(call: &Call, name: &str) -> Result<Response<Body>, Error> {
    let instance = call.instance(name, "cloudsql.instances.get")?;
    Ok(body::ok(&json!({
        "kind": "sql#connectSettings",
        "serverCaCert": server_ca(call, &instance)?,
        "ipAddresses": addresses(&instance),
        "region": instance.region,
        "databaseVersion": instance.database_version,
        "backendType": "SECOND_GEN",
        "pscEnabled": false,
        "serverCaMode": "GOOGLE_MANAGED_INTERNAL_CA",
    })))
}

/// The connectors write the names in snake case, the documentation in camel case.
#[derive(Deserialize)]
pub(super) struct Request {
    #[serde(default, alias = "publicKey")]
    public_key: String,
    #[serde(default, alias = "accessToken")]
    access_token: String,
}

pub(super) fn certificate(
    call: &Call,
    name: &str,
    request: Request,
) -> Result<Response<Body>, Error> {
    let instance = call.instance_or(name, "cloudsql.instances.connect", || {
        words::not_authorized_to_connect(name)
    })?;
    let key = PublicKey::from_pem(&request.public_key)
        .ok_or_else(|| words::invalid("the public key is no RSA key in PEM"))?;
    let now = call.cloud().now();
    let mut until = now + LIFE;
    let mut login = None;
    if !request.access_token.is_empty() {
        let (principal, expires) = login_token(call, &request.access_token)?;
        login = Some(principal);
        until = until.min(expires);
    }
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| Error::internal("No random numbers."))?;
    // A serial number is positive and begins with no zero, so that it is written in one way.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    let row = ClientCertificate {
        instance: call.key(name),
        principal: call.context.caller.to_string(),
        login,
        expires: clock::seconds(until),
    };
    let pem = authority::client(call.cloud(), &call.key(name))?.client(
        &authority::client_subject(),
        &key,
        &serial,
        now,
        until.duration_since(now).unwrap_or_default(),
    );
    let pem = pem.map_err(|error| Error::internal(&error.to_string()))?;
    keep(call, hex(&serial), row)?;
    Ok(body::ok(&json!({ "ephemeralCert": {
        "kind": "sql#sslCert",
        "cert": pem,
        "certSerialNumber": hex(&serial),
        "commonName": authority::CLIENT_NAME,
        "createTime": clock::rfc3339_millis(now),
        "expirationTime": clock::rfc3339_millis(until),
        "instance": instance.name,
        "sha1Fingerprint": fingerprint(&pem),
    }})))
}

/// Whose login token it is, and until when.
fn login_token(call: &Call, text: &str) -> Result<(Principal, SystemTime), Error> {
    let refused = |why: &str| words::invalid(format!("the access token {why}"));
    let token = call.cloud().read_token(text);
    let token = token.map_err(|why| refused(&format!("is not valid: {why}")))?;
    let login = |it: &String| [LOGIN_SCOPE, CLOUD_PLATFORM].contains(&it.as_str());
    if !token.scopes.iter().any(login) {
        return Err(refused(&format!("lacks the scope {LOGIN_SCOPE}")));
    }
    Ok((token.principal, clock::at(token.expires)))
}

/// Remembers whom the certificate is for, and forgets those that nobody can use any more.
fn keep(call: &Call, serial: String, row: ClientCertificate) -> Result<(), Error> {
    let now = clock::seconds(call.cloud().now());
    call.cloud().state.change(|state| {
        state.client_certificates.retain(|_, it| it.expires + LIFE.as_secs() > now);
        state.client_certificates.insert(serial, row);
        Ok(())
    })
}

fn fingerprint(pem: &str) -> String {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

    let der = CertificateDer::from_pem_slice(pem.as_bytes());
    der.map(|it| hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &it).as_ref())).unwrap_or_default()
}
