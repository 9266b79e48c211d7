//! Keys in the name of service accounts: signed blobs, signed JWTs, and who can check them.
//!
//! Google signs with RSA. `ring` makes no RSA keys, so these are P-256; a client passes a
//! signature on without looking into it, and who verifies takes the key from the key set.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::error::Error;
use crate::state::{SigningKey, State};

/// The owner of the key that ID tokens are signed with.
pub const GOOGLE: &str = "accounts.google.com";

/// A signature and the id of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Names the key in the owner's key set.
    pub key_id: String,
    /// 64 bytes, `r` and `s`.
    pub signature: Vec<u8>,
}

/// Signs bytes in the name of an account.
///
/// # Errors
/// When the key cannot be made, kept or read.
pub fn sign(cloud: &Cloud, owner: &str, message: &[u8]) -> Result<Signed, Error> {
    let key = key(cloud, owner)?;
    let pair = pair(&key)?;
    let signature = pair.sign(&SystemRandom::new(), message).map_err(|_| broken())?;
    Ok(Signed { key_id: key.id, signature: signature.as_ref().to_vec() })
}

/// A JWT with these claims, signed in the name of an account.
///
/// # Errors
/// When the key cannot be made, kept or read.
pub fn jwt(cloud: &Cloud, owner: &str, claims: &str) -> Result<(String, Signed), Error> {
    let id = key(cloud, owner)?.id;
    let header = json!({ "alg": "ES256", "kid": id, "typ": "JWT" }).to_string();
    let mut token =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signed = sign(cloud, owner, token.as_bytes())?;
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(&signed.signature));
    Ok((token, signed))
}

/// Whether an account signed these bytes.
#[must_use]
pub fn verify(state: &State, owner: &str, message: &[u8], signature: &[u8]) -> bool {
    let Some(Ok(pair)) = state.signing_keys.get(owner).map(pair) else { return false };
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
    key.verify(message, signature).is_ok()
}

/// The public key of an account as a JWKS; an empty one for an account that never signed.
#[must_use]
pub fn key_set(state: &State, owner: &str) -> Value {
    let key = state.signing_keys.get(owner).and_then(|key| {
        let pair = pair(key).ok()?;
        // An uncompressed point: 4, then x and y of 32 bytes each.
        let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
        Some(json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": key.id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }))
    });
    json!({ "keys": key.into_iter().collect::<Vec<_>>() })
}

/// The key of an account, made at its first use.
fn key(cloud: &Cloud, owner: &str) -> Result<SigningKey, Error> {
    if let Some(key) = cloud.state().signing_keys.get(owner) {
        return Ok(key.clone());
    }
    let pkcs8 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let pkcs8 = STANDARD.encode(pkcs8.map_err(|_| broken())?);
    cloud.state.change(|state| {
        // Another request may have been first.
        if let Some(key) = state.signing_keys.get(owner) {
            return Ok(key.clone());
        }
        let sum = ring::digest::digest(&ring::digest::SHA256, pkcs8.as_bytes());
        let id = sum.as_ref()[..20].iter().map(|it| format!("{it:02x}")).collect();
        let key = SigningKey { id, pkcs8 };
        state.signing_keys.insert(owner, key.clone());
        Ok(key)
    })
}

fn pair(key: &SigningKey) -> Result<EcdsaKeyPair, Error> {
    let pkcs8 = STANDARD.decode(&key.pkcs8).map_err(|_| broken())?;
    let random = SystemRandom::new();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random)
        .map_err(|_| broken())
}

fn broken() -> Error {
    Error::internal("A signing key cannot be used.")
}
