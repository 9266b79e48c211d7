//! Signed tokens of others: read, and verified against a set of public keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A projected token has about 1 KiB.
const LONGEST: usize = 16 << 10;

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It does not have three parts of base64 with JSON in them.
    #[error("the token is malformed")]
    Malformed,
    /// `none`, or an algorithm that Kubernetes does not sign with.
    #[error("the algorithm `{0}` is not accepted")]
    Algorithm(String),
    /// No key with its id.
    #[error("no key with the id `{0}`")]
    UnknownKey(String),
    /// It was not signed by that key.
    #[error("the signature is not valid")]
    Signature,
}

/// A token, taken apart and not believed yet.
#[derive(Clone, Copy, Debug)]
pub struct Unverified<'a> {
    signed: &'a str,
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When it does not have three parts.
    pub fn parse(text: &'a str) -> Result<Self, JwtError> {
        let (signed, signature) = text.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(JwtError::Malformed)?;
        if claims.contains('.') || text.len() > LONGEST {
            return Err(JwtError::Malformed);
        }
        Ok(Self { signed, header, claims, signature })
    }

    /// The id of the key that it says it was signed with; empty when it does not say.
    ///
    /// # Errors
    /// When the header cannot be read.
    pub fn key_id(&self) -> Result<String, JwtError> {
        Ok(part::<Header>(self.header)?.kid)
    }

    /// Its claims, when one of the keys signed it.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify<T: DeserializeOwned>(&self, keys: &KeySet) -> Result<T, JwtError> {
        let header: Header = part(self.header)?;
        if !matches!(header.alg.as_str(), "RS256" | "ES256") {
            return Err(JwtError::Algorithm(header.alg));
        }
        let key = keys.0.iter().find(|it| it.id == header.kid);
        let key = key.ok_or_else(|| JwtError::UnknownKey(header.kid.clone()))?;
        let signature = decode(self.signature)?;
        if !key.public.verifies(&header.alg, self.signed.as_bytes(), &signature) {
            return Err(JwtError::Signature);
        }
        part(self.claims)
    }
}

/// Public keys by id.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: String,
    public: Public,
}

/// The key decides which algorithm it takes, never the token.
#[derive(Clone, Debug)]
enum Public {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256 { point: Vec<u8> },
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

impl KeySet {
    /// Reads a JWKS. Keys of other kinds are left out.
    ///
    /// # Errors
    /// When it is no JWKS, or has no key of a known kind.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let keys = value.get("keys").and_then(Value::as_array).ok_or("there is no `keys` in it")?;
        let known: Vec<Key> = keys.iter().filter_map(key).collect();
        if known.is_empty() {
            return Err("no RSA or P-256 key is among the cluster's keys".to_owned());
        }
        Ok(Self(known))
    }

    /// Whether there is a key with this id.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|it| it.id == id)
    }
}

fn key(value: &Value) -> Option<Key> {
    let jwk = Jwk::deserialize(value).ok()?;
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let public = match (jwk.kty.as_str(), jwk.crv.as_str()) {
        ("RSA", _) => Public::Rsa { modulus: bytes(&jwk.n)?, exponent: bytes(&jwk.e)? },
        ("EC", "P-256") => {
            Public::P256 { point: [&[4], &bytes(&jwk.x)?[..], &bytes(&jwk.y)?[..]].concat() }
        }
        _ => return None,
    };
    Some(Key { id: jwk.kid, public })
}

impl Public {
    fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Rsa { modulus, exponent }, "RS256") => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            (Self::P256 { point }, "ES256") => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, signature).is_ok()
            }
            _ => false,
        }
    }
}

fn decode(text: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JwtError::Malformed)
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, JwtError> {
    serde_json::from_slice(&decode(text)?).map_err(|_| JwtError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A public key of RSA, and a token that OpenSSL signed with its private half.
    const MODULUS: &str = concat!(
        "u6KVsK9X2Pf4nOS60Yh9rfkysta7AoDjvrHVXdMbBTBA8Ul0ED2Oxn9HAH-krzYoQFpbS1htAtfqpzqa",
        "L3XZk4YxQCu2GGAP_ApMFJY2sx-mPtCQAeOOpt2kUsEhuHJCq3psSfOB48075k1MtYMESgfPJ19zW7Zr",
        "-sI6pwk9O8RJAGHbhWuT2I8WFyWIBDfXpRfA-m4J7i8Fgssmq7gb7ap9pjOlCIuxttsn55AJEVuKbaAp",
        "cDKKNxA_uuEaQvyzH6Eqwswu0vvyuFI9rR7_Po4ULLPE0dn4G7YPIl8R-C2Rbo-4wkajFCNmkO74ctxC",
        "Xxzuw5aD4c-bFIdQxZ6xrQ",
    );
    const TOKEN: &str = concat!(
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJqb2UiLCJleHAiOjEzMDA4MTkzODB9.NT",
        "Kl_1Wg0YeB_kDYMUisYo96WpsAI5iDynTYly-lBqc9dQu3wU5w2FsfxyUpeDgRJpcWtxxqaAi9kfXv0G",
        "Thk7nW0Vrf60lEY8d50XI6Cp2Epi6p9jWGXVogTw0t2CUVLZcixIn2ceBhQTAbvb6UdzGCGcyDNQcShc",
        "7fbSTpv4LPDJUj8LqgDrswfcg6LvJnQpWnKpSLqSLqozBM1a4UzgcLDwlS-N-bdCTJEc_ZSOZiO7cN9n",
        "MRFuDYxywcieiLhLtq3GtMfKylJwBZ9plOLuCaHEv85-PsQ7ax7yAbVAeELpwRb1Hq4GbqfAdArqsGfs",
        "wUysNIeIlhFnwrtHNVwA",
    );

    fn keys() -> KeySet {
        let odd = json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "odd" });
        let rsa = json!({ "kty": "RSA", "kid": "rsa", "n": MODULUS, "e": "AQAB" });
        KeySet::parse(&json!({ "keys": [odd, rsa] })).unwrap()
    }

    fn verify(text: &str) -> Result<Value, JwtError> {
        Unverified::parse(text)?.verify(&keys())
    }

    #[test]
    fn a_token_that_openssl_signed_is_believed() {
        assert_eq!(verify(TOKEN).unwrap()["iss"], "joe");
    }

    #[test]
    fn no_changed_byte_is_believed() {
        for at in (0..TOKEN.len()).step_by(7) {
            let mut bytes = TOKEN.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let text = String::from_utf8(bytes).unwrap();
            assert!(verify(&text).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn a_key_set_without_a_known_key_is_refused() {
        for value in [json!({}), json!({ "keys": [] }), json!({ "keys": [{ "kty": "oct" }] })] {
            assert!(KeySet::parse(&value).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "([A-Za-z0-9_.-]{0,80}|.{0,40})") {
            prop_assert!(verify(&text).is_err());
        }

        #[test]
        fn any_claims_and_header_are_read_without_a_panic(header: Vec<u8>, claims: Vec<u8>) {
            let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let text = format!("{}.{}.AAAA", part(&header), part(&claims));
            prop_assert!(verify(&text).is_err());
        }
    }
}
