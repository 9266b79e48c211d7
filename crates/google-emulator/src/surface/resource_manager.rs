//! Resource Manager: projects and their policies, in versions 1 and 3.

use std::sync::Arc;

use hyper::{Method, Request, Response};
use iam::Resource;
use serde_json::{Value, json};

use super::{Path, policy};
use crate::authorize::{self, Context, RESOURCE_MANAGER};
use crate::body::{self, Body};
use crate::cloud::Cloud;
use crate::error::{Error, Form};

/// No project of this cloud was made at another time.
const CREATED: &str = "2024-01-01T00:00:00.000Z";

/// Answers a request.
pub async fn handle(cloud: &Arc<Cloud>, request: Request<Body>) -> Response<Body> {
    route(cloud, request).await.unwrap_or_else(|error| error.response(Form::Api))
}

async fn route(cloud: &Arc<Cloud>, request: Request<Body>) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let context = authorize::caller(cloud, &RESOURCE_MANAGER, &parts)?;
    context.principal()?;
    let path = Path::parse(parts.uri.path());
    let segments = path.parts();
    let query = parts.uri.query();
    match (&parts.method, segments.as_slice(), path.verb.as_str()) {
        (&Method::GET, ["v1", "projects"], "") => Ok(body::ok(&list(&context))),
        (&Method::GET, ["v1" | "v3", "projects", name], "") => {
            context.require_enabled()?;
            allowed(&context, name, "resourcemanager.projects.get")?;
            Ok(body::ok(&if segments[0] == "v1" { v1(cloud) } else { v3(cloud) }))
        }
        (&Method::POST, ["v1" | "v3", "projects", name], "getIamPolicy") => {
            context.require_enabled()?;
            let project = allowed(&context, name, "resourcemanager.projects.getIamPolicy")?;
            let version = policy::requested_version(query, body).await?;
            Ok(body::ok(&policy::get(cloud, &project, version)?))
        }
        (&Method::POST, ["v1" | "v3", "projects", name], "setIamPolicy") => {
            context.require_enabled()?;
            let project = allowed(&context, name, "resourcemanager.projects.setIamPolicy")?;
            Ok(body::ok(&policy::set(&context, &project, body).await?))
        }
        (&Method::POST, ["v1" | "v3", "projects", name], "testIamPermissions") => {
            context.require_enabled()?;
            let project = project(cloud, name).ok_or_else(refused)?;
            Ok(body::ok(&policy::test(&context, &project, body).await?))
        }
        _ => Err(Error::not_emulated(parts.uri.path())),
    }
}

/// The project, when the caller has the permission on it. A project that does not exist is told
/// like one without permission.
fn allowed(context: &Context, name: &str, permission: &str) -> Result<Resource, Error> {
    let known = project(&context.cloud, name);
    let resource = known.clone().unwrap_or_else(|| Resource::project(name));
    context.check(permission, &resource).map_err(|_| refused())?;
    known.ok_or_else(refused)
}

fn project(cloud: &Cloud, name: &str) -> Option<Resource> {
    cloud.world.is_project(name).then(|| Resource::project(&cloud.world.project.id))
}

/// What gcloud prints behind "does not have permission to access projects instance" (public logs).
fn refused() -> Error {
    Error::new(hyper::StatusCode::FORBIDDEN, "The caller does not have permission")
}

fn list(context: &Context) -> Value {
    let project = Resource::project(&context.cloud.world.project.id);
    let mine = context.granted(&["resourcemanager.projects.get"], &project);
    if mine.is_empty() { json!({}) } else { json!({ "projects": [v1(&context.cloud)] }) }
}

fn v1(cloud: &Cloud) -> Value {
    let project = &cloud.world.project;
    json!({
        "projectNumber": project.number.to_string(),
        "projectId": project.id,
        "lifecycleState": "ACTIVE",
        "name": project.id,
        "createTime": CREATED,
    })
}

fn v3(cloud: &Cloud) -> Value {
    let project = &cloud.world.project;
    json!({
        "name": format!("projects/{}", project.number),
        "projectId": project.id,
        "state": "ACTIVE",
        "displayName": project.id,
        "createTime": CREATED,
        "etag": "W/\"1\"",
    })
}
