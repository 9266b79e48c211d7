//! Signs the tokens of a machine without a cluster, as an API server would.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest,
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use serde_json::{Value, json};
use std::path::Path;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};

/// A private key, RSA or P-256.
pub struct Signer {
    key: Key,
    key_id: String,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>, SystemRandom),
}

impl Signer {
    /// Reads a key in PEM, PKCS#8.
    pub fn from_file(path: &Path) -> Result<Signer, String> {
        let key = PrivatePkcs8KeyDer::from_pem_file(path).map_err(|it| it.to_string())?;
        Signer::from_pkcs8(key.secret_pkcs8_der())
    }

    /// The key from its DER, PKCS#8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Signer, String> {
        let key = match RsaKeyPair::from_pkcs8(der) {
            Ok(key) => Key::Rsa(Box::new(key)),
            Err(not_rsa) => {
                let random = SystemRandom::new();
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
                    .map_err(|not_ec| format!("no RSA key ({not_rsa}), no P-256 key ({not_ec})"))?;
                Key::P256(Box::new(key), random)
            }
        };
        let public = match &key {
            Key::Rsa(key) => key.public_key().as_ref(),
            Key::P256(key, _) => key.public_key().as_ref(),
        };
        let key_id = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, public));
        Ok(Signer { key, key_id })
    }

    /// A signed token with these claims.
    pub fn sign(&self, claims: &Value) -> Result<String, String> {
        let algorithm = match self.key {
            Key::Rsa(_) => "RS256",
            Key::P256(..) => "ES256",
        };
        let head = json!({"alg": algorithm, "kid": self.key_id}).to_string();
        let mut token = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(head),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
                    .map_err(|_| "the key does not sign".to_owned())?;
                signature
            }
            Key::P256(key, random) => key
                .sign(random, token.as_bytes())
                .map_err(|_| "the key does not sign".to_owned())?
                .as_ref()
                .to_vec(),
        };
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }

    /// The public half, as a cluster publishes it at `/openid/v1/jwks`.
    pub fn jwks(&self) -> Value {
        let key = match &self.key {
            Key::Rsa(key) => {
                let public = rsa::PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({
                    "kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.key_id,
                    "n": URL_SAFE_NO_PAD.encode(public.n), "e": URL_SAFE_NO_PAD.encode(public.e),
                })
            }
            Key::P256(key, _) => {
                // The first byte says that the point is not compressed.
                let point = key.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                json!({
                    "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.key_id,
                    "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
                })
            }
        };
        json!({"keys": [key]})
    }
}
