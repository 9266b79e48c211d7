//! Security Token Service: a pod's token for an access token.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use iam::Principal;
use serde::Deserialize;
use serde_json::json;

use super::parameter;
use crate::body::{self, Body};
use crate::clock;
use crate::cloud::Cloud;
use crate::error::{Error, Form};
use crate::jwt::{JwtError, Unverified};
use crate::log::Entry;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SUBJECT_TYPES: [&str; 2] =
    ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];
/// Clocks of the cluster and of this cloud may differ by this much.
const LEEWAY_SECONDS: u64 = 60;
const LONGEST_SECONDS: u64 = 3600;

/// The request; JSON has the names of the REST reference, a form those of RFC 8693.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Exchange {
    #[serde(alias = "grant_type")]
    grant_type: String,
    audience: String,
    #[serde(alias = "requested_token_type")]
    requested_token_type: String,
    #[serde(alias = "subject_token_type")]
    subject_token_type: String,
    #[serde(alias = "subject_token")]
    subject_token: String,
    scope: String,
}

/// What a Kubernetes service account's token says.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    #[serde(default)]
    iat: u64,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Answers a request.
pub async fn handle(cloud: &Arc<Cloud>, request: Request<Body>) -> Response<Body> {
    route(cloud, request).await.unwrap_or_else(|error| {
        cloud.log(&Entry {
            surface: "sts",
            method: "POST /v1/token",
            decision: "denied",
            why: &error.message,
            status: error.status.as_u16(),
            ..Entry::default()
        });
        error.response(Form::OAuth)
    })
}

async fn route(cloud: &Arc<Cloud>, request: Request<Body>) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    if (&parts.method, parts.uri.path()) != (&Method::POST, "/v1/token") {
        let what = format!("{} {}", parts.method, parts.uri.path());
        return Err(Error::not_emulated(&what).oauth("unsupported_grant_type"));
    }
    let kind = parts.headers.get(CONTENT_TYPE).map(hyper::header::HeaderValue::as_bytes);
    let exchange = if kind.is_some_and(|it| it.starts_with(b"application/x-www-form-urlencoded")) {
        form(&body::bytes(body, body::JSON_LIMIT).await?)
    } else {
        body::request(body).await?
    };
    exchange.check(cloud)?;
    let claims = exchange.subject(cloud).await?;
    let (namespace, kubernetes_sa) = claims.check(cloud)?;
    let now = clock::seconds(cloud.now());
    let seconds = claims.exp.saturating_sub(now).clamp(1, LONGEST_SECONDS);
    let principal = Principal::Workload(cloud.workload(namespace, kubernetes_sa));
    let scopes: Vec<String> = exchange.scope.split_whitespace().map(str::to_owned).collect();
    let lifetime = Duration::from_secs(seconds);
    let minted = cloud.tokens.mint(&principal, &scopes, cloud.now(), lifetime);
    Ok(body::ok(&json!({
        "access_token": minted.text,
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": seconds,
    })))
}

fn form(bytes: &[u8]) -> Exchange {
    let text = String::from_utf8_lossy(bytes);
    let field = |name| parameter(Some(&text), name).unwrap_or_default();
    Exchange {
        grant_type: field("grant_type"),
        audience: field("audience"),
        requested_token_type: field("requested_token_type"),
        subject_token_type: field("subject_token_type"),
        subject_token: field("subject_token"),
        scope: field("scope"),
    }
}

impl Exchange {
    /// The words are those of public logs and of the reference of `v1.token`.
    fn check(&self, cloud: &Cloud) -> Result<(), Error> {
        if self.grant_type != GRANT {
            let message = format!("Invalid grant_type: \"{}\"", self.grant_type);
            return Err(Error::invalid_argument(message).oauth("unsupported_grant_type"));
        }
        if !SUBJECT_TYPES.contains(&self.subject_token_type.as_str()) {
            return Err(invalid_request("subject_token_type"));
        }
        if self.requested_token_type != ACCESS_TOKEN {
            return Err(invalid_request("requested_token_type"));
        }
        if self.scope.trim().is_empty() {
            return Err(invalid_request("scope"));
        }
        let audience = self.audience.strip_prefix("identitynamespace:");
        let Some((pool, cluster)) = audience.and_then(|it| it.split_once(':')) else {
            return Err(invalid_request("audience"));
        };
        if pool != cloud.world.pool() || !is_cluster(cloud, cluster) {
            let message = "The target service indicated by the \"audience\" parameters is invalid. \
                 This might either be because the pool or provider is disabled or deleted or \
                 because it doesn't exist.";
            return Err(Error::invalid_argument(message).oauth("invalid_target"));
        }
        Ok(())
    }

    /// The claims of the subject token, when the cluster signed it.
    async fn subject(&self, cloud: &Cloud) -> Result<Claims, Error> {
        let token = Unverified::parse(&self.subject_token).map_err(not_believed)?;
        let id = token.key_id().map_err(not_believed)?;
        let keys = cloud.keys.keys(&id, cloud.now()).await.map_err(|why| {
            cloud.log(&Entry { surface: "sts", decision: "error", why: &why, ..Entry::default() });
            invalid_grant("Error connecting to the given credential's issuer.")
        })?;
        token.verify(&keys).map_err(not_believed)
    }
}

impl Claims {
    /// Namespace and name of the Kubernetes service account, when the token is for this cloud and
    /// for this moment.
    fn check(&self, cloud: &Cloud) -> Result<(&str, &str), Error> {
        let now = clock::seconds(cloud.now());
        let issuer = &cloud.world.kubernetes.issuer;
        if !issuer.is_empty() && *issuer != self.iss {
            let message = format!(
                "The issuer in ID Token {} does not match the expected ones: {issuer}.",
                self.iss
            );
            return Err(invalid_grant(&message));
        }
        let pool = cloud.world.pool();
        let audiences = match &self.aud {
            Audience::One(it) => std::slice::from_ref(it),
            Audience::Many(them) => them.as_slice(),
        };
        if !audiences.contains(&pool) {
            let message = format!(
                "The audience in ID Token [{}] does not match the expected audience.",
                audiences.join(", ")
            );
            return Err(invalid_grant(&message));
        }
        if now >= self.exp.saturating_add(LEEWAY_SECONDS) {
            let message = format!("ID Token issued at {} is stale to sign-in.", self.iat);
            return Err(invalid_grant(&message));
        }
        if self.nbf > now + LEEWAY_SECONDS || self.iat > now + LEEWAY_SECONDS {
            return Err(invalid_grant("ID Token is used too early."));
        }
        let subject = self.sub.strip_prefix("system:serviceaccount:");
        let names = subject.and_then(|it| it.split_once(':'));
        let names = names.filter(|(ns, sa)| is_name(ns) && is_name(sa));
        names.ok_or_else(|| invalid_grant("The subject of the ID Token is no service account."))
    }
}

/// A name that Kubernetes could have given: nothing that changes a principal's text.
fn is_name(text: &str) -> bool {
    let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"-.".contains(&it);
    !text.is_empty() && text.len() <= 253 && text.bytes().all(plain)
}

/// The cluster by its zone or its region.
fn is_cluster(cloud: &Cloud, uri: &str) -> bool {
    let project = &cloud.world.project;
    let in_zone = cloud.world.cluster_uri();
    uri == in_zone || uri == in_zone.replace(&project.zone, &project.region)
}

fn invalid_request(parameter: &str) -> Error {
    let hint = if parameter == "audience" {
        " This value should be the full resource name of the Identity Provider. See \
         https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of \
         possible formats."
    } else {
        ""
    };
    Error::invalid_argument(format!("Invalid value for \"{parameter}\".{hint}"))
}

fn invalid_grant(message: &str) -> Error {
    Error::new(StatusCode::BAD_REQUEST, message).oauth("invalid_grant")
}

fn not_believed(error: JwtError) -> Error {
    invalid_grant(&match error {
        JwtError::Malformed => "Unable to parse the ID Token.".to_owned(),
        JwtError::Algorithm(name) => format!("Unsupported signing algorithm in ID Token: {name}."),
        JwtError::UnknownKey(_) | JwtError::Signature => {
            "Invalid signature on ID Token.".to_owned()
        }
    })
}
