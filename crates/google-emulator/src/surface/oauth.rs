//! Public keys and information about tokens.

use std::sync::Arc;

use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use iam::Principal;
use serde_json::{Value, json};

use super::{Path, parameter};
use crate::body::{self, Body};
use crate::clock;
use crate::cloud::Cloud;
use crate::error::{Error, Form};
use crate::signing;
use crate::state::Revoked;
use crate::token::{AccessToken, Refusal};

/// Answers a request.
pub async fn handle(cloud: &Arc<Cloud>, request: Request<Body>) -> Response<Body> {
    route(cloud, request).await.unwrap_or_else(|error| error.response(Form::OAuth))
}

async fn route(cloud: &Arc<Cloud>, request: Request<Body>) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let path = Path::parse(parts.uri.path());
    let segments = path.parts();
    let read = matches!(parts.method, Method::GET);
    match segments.as_slice() {
        [".well-known", "openid-configuration"] if read => Ok(body::ok(&configuration())),
        ["oauth2", "v3", "certs"] if read => {
            Ok(body::ok(&signing::key_set(&cloud.state(), signing::GOOGLE)))
        }
        ["service_accounts", "v1", "jwk", email] if read => {
            Ok(body::ok(&signing::key_set(&cloud.state(), email)))
        }
        ["tokeninfo"] | ["oauth2", "v1" | "v3", "tokeninfo"] => {
            let text = field(&parts, body, "access_token").await?;
            Ok(body::ok(&information(cloud, &cloud.read_token(&text).map_err(|_| invalid())?)))
        }
        ["oauth2", "v1" | "v2" | "v3", "userinfo"] => user(cloud, &parts),
        ["revoke"] if parts.method == Method::POST => {
            revoke(cloud, &field(&parts, body, "token").await?)
        }
        // Keys of service accounts and refresh tokens of people do not exist in this cloud.
        ["token"] => {
            Err(Error::not_emulated("A grant of this kind").oauth("unsupported_grant_type"))
        }
        _ => Err(Error::not_emulated(parts.uri.path())),
    }
}

/// A field of the query or of a form.
async fn field(parts: &Parts, body: Body, name: &str) -> Result<String, Error> {
    if let Some(value) = parameter(parts.uri.query(), name) {
        return Ok(value);
    }
    let form = body::bytes(body, body::JSON_LIMIT).await?;
    parameter(Some(&String::from_utf8_lossy(&form)), name).ok_or_else(invalid)
}

fn configuration() -> Value {
    json!({
        "issuer": "https://accounts.google.com",
        "token_endpoint": "https://oauth2.googleapis.com/token",
        "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
        "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo",
        "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
        "id_token_signing_alg_values_supported": ["ES256"],
        "subject_types_supported": ["public"],
    })
}

fn information(cloud: &Cloud, token: &AccessToken) -> Value {
    let left = token.expires.saturating_sub(clock::seconds(cloud.now()));
    let mut value = json!({
        "scope": token.scopes.join(" "),
        "exp": token.expires.to_string(),
        "expires_in": left.to_string(),
        "access_type": "online",
    });
    if let Principal::User { email } | Principal::ServiceAccount { email } = &token.principal {
        value["email"] = Value::from(email.as_str());
        value["email_verified"] = Value::from("true");
        if let Some(account) = cloud.state().accounts.get(email) {
            value["azp"] = Value::from(account.unique_id.as_str());
            value["aud"] = Value::from(account.unique_id.as_str());
        }
    }
    value
}

fn user(cloud: &Cloud, parts: &Parts) -> Result<Response<Body>, Error> {
    let header = parts.headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    let token = header.and_then(|it| it.strip_prefix("Bearer ")).ok_or_else(unauthenticated)?;
    let token = cloud.read_token(token).map_err(|_| unauthenticated())?;
    match &token.principal {
        Principal::User { email } | Principal::ServiceAccount { email } => {
            let state = cloud.state();
            let sub = state.accounts.get(email).map_or(email.as_str(), |it| it.unique_id.as_str());
            Ok(body::ok(&json!({ "sub": sub, "email": email, "email_verified": true })))
        }
        Principal::Workload(_) => Err(unauthenticated()),
    }
}

fn revoke(cloud: &Cloud, text: &str) -> Result<Response<Body>, Error> {
    let token = match cloud.tokens.read(text, cloud.now()) {
        Ok(token) => token,
        Err(Refusal::Expired | Refusal::Revoked | Refusal::Forged) => {
            let message = "Token expired or revoked";
            return Err(Error::invalid_argument(message).oauth("invalid_token"));
        }
    };
    cloud.state.change(|state| {
        state.revoked.insert(token.id, Revoked { until: token.expires });
        Ok(body::ok(&json!({})))
    })
}

fn invalid() -> Error {
    // The words of the real endpoint.
    Error::invalid_argument("Invalid Value").oauth("invalid_token")
}

fn unauthenticated() -> Error {
    Error::new(StatusCode::UNAUTHORIZED, "Invalid Credentials").oauth("invalid_request")
}
