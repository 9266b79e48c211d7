//! Tokens: whatever is sent, only what was signed or sealed here is believed, and only for what it
//! says.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use google_emulator::clock;
use google_emulator::jwt::{KeySet, Unverified};
use google_emulator::token::Refusal;
use hyper::Request;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::cloud::{self, NOW};

/// The first byte of an input says what the rest is.
pub(crate) fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind {
        b'a' => access_token(&String::from_utf8_lossy(rest)),
        b'j' => pods_token(&String::from_utf8_lossy(rest)),
        b'h' => header(rest),
        b'c' => claims(rest),
        _ => exchange(rest),
    }
}

#[cfg(test)]
pub(crate) fn genuine_ones_are_believed() {
    let cloud = cloud::cloud(&CLUSTER.jwks());
    let token = cloud.tokens.read(GENUINE_ACCESS_TOKEN, clock::at(NOW)).unwrap();
    assert_eq!(token.principal, iam::Principal::user("owner@example.com"));
    assert!(Unverified::parse(GENUINE_JWT).unwrap().verify::<Value>(&KEYS).is_ok());
    let good = json!({
        "iss": ISSUER, "aud": [POOL], "exp": NOW + 60, "sub": "system:serviceaccount:mlflow:mlflow",
    });
    assert_eq!(
        exchanged(&CLUSTER.sign(&HEADER.to_string().into_bytes(), &good.to_string().into_bytes()))
            .0,
        200
    );
}

/// Sealed with the key that [`cloud`] has; nothing but itself is like it.
const GENUINE_ACCESS_TOKEN: &str = concat!(
    "ya29.KAUfPx_Z5B-R-Ps6616YJxcABTd7NqmnVN1uTyYTlOsNqmqUI0lD4FQXIZxs-WzB7PL0t2XT0gTQYgo",
    "XyJETDvlmUK1ciPal9DekL185ynJtgmQguZA_fS6F0ESRWvP8ZQdfe8OiTn9fz5VzaPMrN4e9gQ9eI76Ern3",
    "PNF-3mg6uvwCU7Jl7N_P1NRtkmwI9jjGPcmPM4AWa-4ZK5Lg0NNtrdfL3W4UAvDLoVzTozgGgut_tyu20pe8",
    "GiuhPcIMYQVYuLSiqt0W5wRWidoeGzoRKluIjEg",
);

fn access_token(text: &str) {
    let cloud = cloud::cloud(&CLUSTER.jwks());
    match cloud.tokens.read(text, clock::at(NOW)) {
        Ok(_) | Err(Refusal::Expired | Refusal::Revoked) => assert_eq!(text, GENUINE_ACCESS_TOKEN),
        Err(Refusal::Forged) => {}
    }
}

/// A token that OpenSSL signed with the private half of a key that is gone.
const GENUINE_JWT: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJqb2UiLCJleHAiOjEzMDA4MTkzODB9.NT",
    "Kl_1Wg0YeB_kDYMUisYo96WpsAI5iDynTYly-lBqc9dQu3wU5w2FsfxyUpeDgRJpcWtxxqaAi9kfXv0G",
    "Thk7nW0Vrf60lEY8d50XI6Cp2Epi6p9jWGXVogTw0t2CUVLZcixIn2ceBhQTAbvb6UdzGCGcyDNQcShc",
    "7fbSTpv4LPDJUj8LqgDrswfcg6LvJnQpWnKpSLqSLqozBM1a4UzgcLDwlS-N-bdCTJEc_ZSOZiO7cN9n",
    "MRFuDYxywcieiLhLtq3GtMfKylJwBZ9plOLuCaHEv85-PsQ7ax7yAbVAeELpwRb1Hq4GbqfAdArqsGfs",
    "wUysNIeIlhFnwrtHNVwA",
);
const MODULUS: &str = concat!(
    "u6KVsK9X2Pf4nOS60Yh9rfkysta7AoDjvrHVXdMbBTBA8Ul0ED2Oxn9HAH-krzYoQFpbS1htAtfqpzqa",
    "L3XZk4YxQCu2GGAP_ApMFJY2sx-mPtCQAeOOpt2kUsEhuHJCq3psSfOB48075k1MtYMESgfPJ19zW7Zr",
    "-sI6pwk9O8RJAGHbhWuT2I8WFyWIBDfXpRfA-m4J7i8Fgssmq7gb7ap9pjOlCIuxttsn55AJEVuKbaAp",
    "cDKKNxA_uuEaQvyzH6Eqwswu0vvyuFI9rR7_Po4ULLPE0dn4G7YPIl8R-C2Rbo-4wkajFCNmkO74ctxC",
    "Xxzuw5aD4c-bFIdQxZ6xrQ",
);
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let rsa = json!({ "kty": "RSA", "kid": "rsa", "n": MODULUS, "e": "AQAB" });
    KeySet::parse(&json!({ "keys": [rsa] })).unwrap()
});

fn pods_token(text: &str) {
    let verified = Unverified::parse(text).and_then(|it| it.verify::<Value>(&KEYS));
    assert!(verified.is_err() || text == GENUINE_JWT, "{text}");
    // No cluster's key signed it, so no cloud gives anything for it.
    assert_eq!(exchanged(text).0, 400, "{text}");
}

/// A header that somebody else wrote, over good claims and under a good signature.
fn header(bytes: &[u8]) {
    let claims = json!({
        "iss": ISSUER, "aud": POOL, "exp": NOW + 60, "sub": "system:serviceaccount:mlflow:mlflow",
    });
    let (status, answer) = exchanged(&CLUSTER.sign(bytes, claims.to_string().as_bytes()));
    if status == 200 {
        let header: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!((&header["alg"], &header["kid"]), (&json!("ES256"), &json!("k")), "{answer}");
    }
}

/// Claims that somebody else wrote, under a good signature.
fn claims(bytes: &[u8]) {
    let (status, answer) = exchanged(&CLUSTER.sign(HEADER.to_string().as_bytes(), bytes));
    if status != 200 {
        return;
    }
    let claims: Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(claims["iss"], ISSUER);
    let audience = &claims["aud"];
    let ours = |it: &Value| it == POOL;
    assert!(ours(audience) || audience.as_array().is_some_and(|them| them.iter().any(ours)));
    assert!(claims["exp"].as_u64().unwrap() > NOW - 61, "expired");
    let starts = claims.get("nbf").or(claims.get("iat")).and_then(Value::as_u64);
    assert!(starts.unwrap_or(0) <= NOW + 60, "too early");
    let subject = claims["sub"].as_str().unwrap();
    let names: Vec<&str> = subject.split(':').collect();
    let ["system", "serviceaccount", namespace, name] = names[..] else { panic!("{subject}") };
    let text = answer["access_token"].as_str().unwrap();
    let token = cloud::cloud(&CLUSTER.jwks()).read_token(text).unwrap();
    assert_eq!(token.principal.to_string(), format!("{POOL}[{namespace}/{name}]"));
    assert!(token.expires <= NOW + 3600 && token.expires > NOW);
}

/// Any body that is sent to the token service.
fn exchange(bytes: &[u8]) {
    for kind in ["application/json", "application/x-www-form-urlencoded"] {
        let (status, answer) = post(kind, bytes.to_vec());
        assert_eq!(status, 400, "{answer}");
    }
}

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const POOL: &str = "local.svc.id.goog";
static HEADER: LazyLock<Value> = LazyLock::new(|| json!({ "alg": "ES256", "kid": "k" }));
static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::new);

/// A cluster's signing key.
struct Cluster(EcdsaKeyPair);

impl Cluster {
    fn new() -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
    }

    fn jwks(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|it| URL_SAFE_NO_PAD.encode(it));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y }] })
    }

    fn sign(&self, header: &[u8], claims: &[u8]) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// What the token service gives for a pod's token.
fn exchanged(subject: &str) -> (u16, Value) {
    let body = json!({
        "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": "identitynamespace:local.svc.id.goog:https://container.googleapis.com/v1/\
                     projects/local/locations/europe-north1-a/clusters/c",
        "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
        "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
        "subjectToken": subject,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
    });
    post("application/json", body.to_string().into_bytes())
}

fn post(kind: &str, body: Vec<u8>) -> (u16, Value) {
    let request = Request::post("/v1/token")
        .header("host", "sts.googleapis.com")
        .header("content-type", kind);
    let (status, bytes) = cloud::ask(&cloud::cloud(&CLUSTER.jwks()), request, body);
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    assert!(status == 200 || answer["error"].is_string(), "{status} {answer}");
    (status, answer)
}
