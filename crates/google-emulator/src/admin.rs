//! The port for tests and operators: tokens for anybody, faults, reset. It binds to loopback.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, Request, Response, StatusCode};
use iam::{Member, Principal};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::authorize::CLOUD_PLATFORM;
use crate::body::{self, Body};
use crate::clock;
use crate::cloud::{Cloud, revoked_until};
use crate::error::{Error, Form};
use crate::faults::Rule;
use crate::gateway::connections::Connections;
use crate::gateway::serve;
use crate::sql_port;
use crate::state::Revoked;
use crate::token::Refusal;

const CONNECTIONS: usize = 64;

/// Serves the port until it is dropped.
pub async fn serve(cloud: Arc<Cloud>, listener: TcpListener) {
    serve::accept(listener, Connections::new(CONNECTIONS), move |stream, place| {
        let cloud = Arc::clone(&cloud);
        serve::http(stream, place, move |request| {
            let cloud = Arc::clone(&cloud);
            async move { Ok(answer(&cloud, request).await) }
        })
    })
    .await;
}

/// Answers one request.
pub async fn answer(cloud: &Arc<Cloud>, request: Request<Body>) -> Response<Body> {
    route(cloud, request).await.unwrap_or_else(|error| error.response(Form::Api))
}

async fn route(cloud: &Arc<Cloud>, request: Request<Body>) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let segments: Vec<&str> = parts.uri.path().split('/').filter(|it| !it.is_empty()).collect();
    match (&parts.method, segments.as_slice()) {
        (&Method::GET, ["healthz"]) => Ok(body::ok(&json!({ "status": "ok" }))),
        (&Method::GET, ["ca.pem"]) => {
            let pem = cloud.pki.certificate_pem().to_owned();
            Ok(body::answer(StatusCode::OK, "application/x-pem-file", pem))
        }
        (&Method::GET, ["authority"]) => {
            Ok(body::ok(&json!({ "certificate": cloud.pki.certificate_pem() })))
        }
        (&Method::GET, ["notes", name]) => {
            Ok(body::ok(&json!({ "value": cloud.state().settings.get(&note(name)) })))
        }
        (&Method::PUT, ["notes", name]) => {
            let Note { value } = body::request(body).await?;
            cloud.state.change(|state| {
                state.settings.insert(note(name), value);
                Ok(done())
            })
        }
        (&Method::GET, ["world"]) => Ok(body::ok(&cloud.world)),
        (&Method::POST, ["reset"]) => {
            cloud.reset()?;
            sql_port::furnish(cloud);
            Ok(done())
        }
        (&Method::GET, ["faults"]) => Ok(body::ok(&json!({ "faults": cloud.faults.list() }))),
        (&Method::DELETE, ["faults"]) => {
            cloud.faults.clear();
            Ok(done())
        }
        (&Method::POST, ["faults"]) => {
            let rule: Rule = body::request(body).await?;
            rule.fault.check().map_err(Error::invalid_argument)?;
            cloud.faults.add(rule);
            Ok(done())
        }
        (&Method::POST, ["tokens"]) => mint(cloud, &body::request(body).await?),
        (&Method::POST, ["tokens", "revoke"]) => revoke(cloud, &body::request(body).await?),
        (&Method::POST, ["tokens", "revoke-all"]) => revoke_all(cloud, &body::request(body).await?),
        (&Method::POST, ["buckets", name, "read-only"]) => {
            let wanted: ReadOnly = body::request(body).await?;
            read_only(cloud, name, wanted.read_only)
        }
        (&Method::POST, ["sql", project, instance, deed]) => {
            let asked = body::request(body).await?;
            sql_port::operate(cloud, &format!("{project}/{instance}"), deed, &asked).await
        }
        _ => Err(Error::not_found(format!("{} {}", parts.method, parts.uri.path()))),
    }
}

fn done() -> Response<Body> {
    body::ok(&json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mint {
    /// `user:…`, `serviceAccount:…`, or `serviceAccount:P.svc.id.goog[ns/ksa]`.
    member: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default = "an_hour")]
    lifetime_seconds: u64,
}

fn an_hour() -> u64 {
    3600
}

fn mint(cloud: &Cloud, asked: &Mint) -> Result<Response<Body>, Error> {
    let principal = principal(cloud, &asked.member)?;
    let scopes = if asked.scopes.is_empty() {
        vec![CLOUD_PLATFORM.to_owned()]
    } else {
        asked.scopes.clone()
    };
    let lifetime = Duration::from_secs(asked.lifetime_seconds.min(12 * 3600));
    let minted = cloud.tokens.mint(&principal, &scopes, cloud.now(), lifetime);
    Ok(body::ok(&json!({
        "access_token": minted.text,
        "expires_in": lifetime.as_secs(),
        "token_type": "Bearer",
        "principal": principal.to_string(),
    })))
}

fn principal(cloud: &Cloud, member: &str) -> Result<Principal, Error> {
    let unusable = || Error::invalid_argument(format!("`{member}` cannot have a token"));
    match member.parse::<Member>().map_err(|error| Error::invalid_argument(error.to_string()))? {
        Member::User(email) => Ok(Principal::user(email)),
        Member::ServiceAccount(email) => Ok(Principal::service_account(email)),
        Member::Workload { project_id, namespace, kubernetes_sa, .. }
            if project_id == cloud.world.project.id =>
        {
            Ok(Principal::Workload(cloud.workload(&namespace, &kubernetes_sa)))
        }
        _ => Err(unusable()),
    }
}

/// Where a note of a test is kept, apart from what the cloud itself keeps.
fn note(name: &str) -> String {
    format!("note/{name}")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    value: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    token: String,
}

fn revoke(cloud: &Cloud, asked: &Revoke) -> Result<Response<Body>, Error> {
    let token = match cloud.tokens.read(&asked.token, cloud.now()) {
        Ok(token) => token,
        Err(Refusal::Forged) => return Err(Error::invalid_argument("that is no token of ours")),
        Err(Refusal::Expired | Refusal::Revoked) => return Ok(done()),
    };
    let now = clock::seconds(cloud.now());
    cloud.state.change(|state| {
        state.revoked.retain(|_, row| row.until > now);
        state.revoked.insert(token.id, Revoked { until: token.expires });
        Ok(done())
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeAll {
    /// As in a binding; everybody when it is not told.
    member: Option<String>,
}

/// Every token that was issued until now is refused from now on.
fn revoke_all(cloud: &Cloud, asked: &RevokeAll) -> Result<Response<Body>, Error> {
    let member = asked.member.as_deref();
    let principal = member.map(|member| principal(cloud, member)).transpose()?;
    let until_us = clock::microseconds(cloud.now());
    cloud.state.change(|state| {
        state.settings.insert(revoked_until(principal.as_ref()), Value::from(until_us));
        Ok(done())
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReadOnly {
    read_only: bool,
}

fn read_only(cloud: &Cloud, name: &str, wanted: bool) -> Result<Response<Body>, Error> {
    cloud.state.change(|state| {
        let bucket = state.buckets.get_mut(name);
        bucket.ok_or_else(|| Error::not_found(format!("no bucket `{name}`")))?.read_only = wanted;
        Ok(done())
    })
}
