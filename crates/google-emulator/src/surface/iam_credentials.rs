//! IAM Credentials: tokens and signatures of service accounts.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, Request, Response};
use iam::{Caller, Principal, Resource};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Path;
use crate::authorize::{self, Context, IAM_CREDENTIALS};
use crate::body::{self, Body};
use crate::clock;
use crate::cloud::Cloud;
use crate::error::{Error, Form};
use crate::signing;
use crate::state::ServiceAccount;

const LONGEST_SECONDS: u64 = 3600;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ask {
    delegates: Vec<String>,
    scope: Vec<String>,
    lifetime: Option<String>,
    audience: String,
    include_email: bool,
    payload: String,
}

/// Answers a request.
pub async fn handle(cloud: &Arc<Cloud>, request: Request<Body>) -> Response<Body> {
    route(cloud, request).await.unwrap_or_else(|error| error.response(Form::Api))
}

async fn route(cloud: &Arc<Cloud>, request: Request<Body>) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let context = authorize::caller(cloud, &IAM_CREDENTIALS, &parts)?;
    context.principal()?;
    let path = Path::parse(parts.uri.path());
    let segments = path.parts();
    let (["v1", "projects", "-", "serviceAccounts", name], rest) =
        segments.split_at(segments.len().min(5))
    else {
        return Err(Error::not_emulated(parts.uri.path()));
    };
    // google-auth asks this for every account, in the background, and needs no permission for it.
    if rest == ["allowedLocations"] && parts.method == Method::GET {
        return Ok(body::ok(&json!({ "locations": [], "encodedLocations": "0x0" })));
    }
    let permission = match (&parts.method, path.verb.as_str(), rest.is_empty()) {
        (&Method::POST, "generateAccessToken", true) => "iam.serviceAccounts.getAccessToken",
        (&Method::POST, "generateIdToken", true) => "iam.serviceAccounts.getOpenIdToken",
        (&Method::POST, "signBlob", true) => "iam.serviceAccounts.signBlob",
        (&Method::POST, "signJwt", true) => "iam.serviceAccounts.signJwt",
        _ => return Err(Error::not_emulated(parts.uri.path())),
    };
    context.require_enabled()?;
    let ask: Ask = body::request(body).await?;
    let account = account(cloud, name)?;
    let last = through_delegates(&context, &ask.delegates)?;
    let resource = Resource::service_account(&account.project, &account.email);
    last.check(permission, &resource).map_err(|denial| denial.error_unnamed())?;
    if account.disabled {
        // No public text is known; the code is the one that the reference gives for it.
        let message = "Service account is disabled.";
        return Err(Error::invalid_argument(message).status_name("FAILED_PRECONDITION"));
    }
    let answer = match path.verb.as_str() {
        "generateAccessToken" => access_token(cloud, &account, &ask)?,
        "generateIdToken" => id_token(cloud, &account, &ask)?,
        "signBlob" => sign_blob(cloud, &account, &ask)?,
        _ => sign_jwt(cloud, &account, &ask)?,
    };
    Ok(body::ok(&answer))
}

/// The account by its email or its unique id. The words of the refusal are those that the
/// metadata server of GKE passes on when an annotation names an account that does not exist.
fn account(cloud: &Cloud, name: &str) -> Result<ServiceAccount, Error> {
    let state = cloud.state();
    let found = state
        .accounts
        .get(&name.to_lowercase())
        .or_else(|| state.accounts.iter().map(|(_, it)| it).find(|it| it.unique_id == name));
    found
        .cloned()
        .ok_or_else(|| Error::not_found(format!("Not found; Gaia id not found for email {name}")))
}

/// Who asks in the end: each one in the chain must be allowed to act through the next.
fn through_delegates(context: &Context, delegates: &[String]) -> Result<Context, Error> {
    let mut current = context.clone();
    for delegate in delegates {
        let name = delegate.strip_prefix("projects/-/serviceAccounts/");
        let name =
            name.ok_or_else(|| invalid("delegates", "is not projects/-/serviceAccounts/…"))?;
        let account = account(&context.cloud, name)?;
        let resource = Resource::service_account(&account.project, &account.email);
        let permission = "iam.serviceAccounts.implicitDelegation";
        current.check(permission, &resource).map_err(|denial| denial.error_unnamed())?;
        current.caller = Caller::Known(Principal::service_account(&account.email));
    }
    Ok(current)
}

fn access_token(cloud: &Cloud, account: &ServiceAccount, ask: &Ask) -> Result<Value, Error> {
    if ask.scope.is_empty() || ask.scope.iter().any(|it| it.trim().is_empty()) {
        return Err(invalid("scope", "at least one scope is required"));
    }
    let lifetime = ask.lifetime.as_deref().map_or(Some(LONGEST_SECONDS), seconds);
    let lifetime = lifetime.filter(|it| (1..=LONGEST_SECONDS).contains(it)).ok_or_else(|| {
        invalid("lifetime", "must be between 1 and 3600 seconds, as in \"3600s\"")
    })?;
    let principal = Principal::service_account(&account.email);
    let lifetime = Duration::from_secs(lifetime);
    let minted = cloud.tokens.mint(&principal, &ask.scope, cloud.now(), lifetime);
    Ok(json!({ "accessToken": minted.text, "expireTime": clock::rfc3339(minted.expires()) }))
}

fn id_token(cloud: &Cloud, account: &ServiceAccount, ask: &Ask) -> Result<Value, Error> {
    if ask.audience.is_empty() {
        return Err(invalid("audience", "is required"));
    }
    let now = clock::seconds(cloud.now());
    let mut claims = json!({
        "aud": ask.audience,
        "azp": account.unique_id,
        "exp": now + LONGEST_SECONDS,
        "iat": now,
        "iss": "https://accounts.google.com",
        "sub": account.unique_id,
    });
    if ask.include_email {
        claims["email"] = Value::from(account.email.as_str());
        claims["email_verified"] = Value::from(true);
    }
    let (token, _) = signing::jwt(cloud, signing::GOOGLE, &claims.to_string())?;
    Ok(json!({ "token": token }))
}

fn sign_blob(cloud: &Cloud, account: &ServiceAccount, ask: &Ask) -> Result<Value, Error> {
    let payload = STANDARD.decode(&ask.payload);
    let payload = payload.map_err(|_| invalid("payload", "Base64 decoding failed"))?;
    let signed = signing::sign(cloud, &account.email, &payload)?;
    Ok(json!({ "keyId": signed.key_id, "signedBlob": STANDARD.encode(signed.signature) }))
}

fn sign_jwt(cloud: &Cloud, account: &ServiceAccount, ask: &Ask) -> Result<Value, Error> {
    let claims: Value = serde_json::from_str(&ask.payload)
        .map_err(|_| invalid("payload", "is not a JSON object"))?;
    let now = clock::seconds(cloud.now());
    let too_late = claims.get("exp").is_some_and(|it| {
        it.as_u64().is_none_or(|it| it <= now || it > now + 12 * LONGEST_SECONDS)
    });
    if !claims.is_object() || too_late {
        return Err(invalid("payload", "`exp` must be within the next 12 hours"));
    }
    let (token, signed) = signing::jwt(cloud, &account.email, &ask.payload)?;
    Ok(json!({ "keyId": signed.key_id, "signedJwt": token }))
}

/// Seconds of a protobuf duration in JSON, `3600s` or `0.5s`.
fn seconds(text: &str) -> Option<u64> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let plain = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    (plain(whole) && plain(fraction)).then(|| whole.parse().ok())?
}

/// The common words of the APIs for a bad field, with the reason in `details`.
fn invalid(field: &str, why: &str) -> Error {
    Error::invalid_argument("Request contains an invalid argument.").detail(json!({
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{ "field": field, "description": why }],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_protobuf_writes_them() {
        for (text, expected) in [
            ("3600s", Some(3600)),
            ("1.5s", Some(1)),
            ("3600", None),
            ("s", None),
            ("-1s", None),
            ("99999999999999999999999s", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
