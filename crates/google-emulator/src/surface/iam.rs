//! IAM: service accounts, their policies, and roles.

mod accounts;
mod roles;

use std::sync::Arc;

use hyper::{Method, Request, Response};
use serde::Serialize;

use super::Path;
use crate::authorize::{self, IAM};
use crate::body::{self, Body};
use crate::cloud::Cloud;
use crate::error::{Error, Form};

/// Answers a request.
pub async fn handle(cloud: &Arc<Cloud>, request: Request<Body>) -> Response<Body> {
    route(cloud, request).await.unwrap_or_else(|error| error.response(Form::Api))
}

async fn route(cloud: &Arc<Cloud>, request: Request<Body>) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let context = authorize::caller(cloud, &IAM, &parts)?;
    context.principal()?;
    let path = Path::parse(parts.uri.path());
    let segments = path.parts();
    let query = parts.uri.query();
    let method = &parts.method;
    match (segments.as_slice(), path.verb.as_str()) {
        (["v1", "roles"], "") if method == Method::GET => ok(&roles::list(query)?),
        (["v1", "roles", name], "") if method == Method::GET => ok(&roles::get(name)?),
        (["v1", "projects", project, rest @ ..], verb) => {
            context.require_enabled()?;
            match (method, rest, verb) {
                (&Method::GET, ["serviceAccounts"], "") => {
                    ok(&accounts::list(&context, project, query)?)
                }
                (&Method::POST, ["serviceAccounts"], "") => {
                    ok(&accounts::create(&context, project, body).await?)
                }
                (_, ["serviceAccounts", name, rest @ ..], _) => {
                    let call = accounts::Call { method, query, rest, verb };
                    accounts::one(&context, project, name, call, body).await
                }
                _ => Err(Error::not_emulated(parts.uri.path())),
            }
        }
        _ => Err(Error::not_emulated(parts.uri.path())),
    }
}

fn ok(value: &impl Serialize) -> Result<Response<Body>, Error> {
    Ok(body::ok(value))
}
