//! Artifact Registry: repositories and their policies. Images themselves are not kept here.

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use iam::Resource;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::paging::Page;
use super::{Path, parameter, policy};
use crate::authorize::{self, ARTIFACT_REGISTRY, Context, require};
use crate::body::{self, Body};
use crate::clock;
use crate::cloud::Cloud;
use crate::error::{Error, Form};
use crate::state::{Operation, State};

/// How long an operation takes; a client that waits for it has to ask twice.
const TAKES_SECONDS: u64 = 1;
const MOST_ROWS: usize = 1000;
const TYPES: &str = "type.googleapis.com/google.devtools.artifactregistry.v1";
/// What can be kept in a repository, as documented.
const FORMATS: [&str; 9] =
    ["DOCKER", "MAVEN", "NPM", "APT", "YUM", "PYTHON", "KFP", "GO", "GENERIC"];

/// Answers a request.
pub async fn handle(cloud: &Arc<Cloud>, request: Request<Body>) -> Response<Body> {
    answer(cloud, request).await.unwrap_or_else(|error| error.response(Form::Api))
}

async fn answer(cloud: &Arc<Cloud>, request: Request<Body>) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let context = authorize::caller(cloud, &ARTIFACT_REGISTRY, &parts)?;
    context.principal()?;
    let path = Path::parse(parts.uri.path());
    let segments = path.parts();
    let ["v1" | "v1beta2", "projects", project, "locations", rest @ ..] = segments.as_slice()
    else {
        return Err(Error::not_emulated(parts.uri.path()));
    };
    if !cloud.world.is_project(project) {
        // Google tells nobody whether a project of others exists.
        let name = format!("//artifactregistry.googleapis.com/projects/{project}");
        return Err(Error::permission_denied("artifactregistry.repositories.list", Some(&name)));
    }
    context.require_enabled()?;
    match (&parts.method, rest, path.verb.as_str()) {
        (&Method::GET, [], "") => Ok(body::ok(&locations(&context)?)),
        (&Method::GET, [location, "repositories"], "") => list(&context, location, &parts),
        (&Method::POST, [location, "repositories"], "") => {
            create(&context, location, &parts, body::request(body).await?)
        }
        (&Method::GET, [location, "operations", id], "") => operation(&context, location, id),
        (method, [location, "repositories", name], verb) => {
            let resource = Resource::repository(&cloud.world.project.id, location, name);
            one(&context, &resource, (method, verb), parts.uri.query(), body).await
        }
        _ => Err(Error::not_emulated(parts.uri.path())),
    }
}

/// What is asked of one repository.
async fn one(
    context: &Context,
    resource: &Resource,
    asked: (&Method, &str),
    query: Option<&str>,
    body: Body,
) -> Result<Response<Body>, Error> {
    let permitted = |verb: &str| {
        require(context, &format!("artifactregistry.repositories.{verb}"), resource)?;
        found(&context.cloud.state(), resource)
    };
    match asked {
        (&Method::GET, "") => Ok(body::ok(&permitted("get")?)),
        (&Method::DELETE, "") => {
            permitted("delete")?;
            delete(context, resource)
        }
        (&Method::GET, "getIamPolicy") => {
            permitted("getIamPolicy")?;
            let version = policy::requested_version(query, body).await?;
            Ok(body::ok(&policy::get(&context.cloud, resource, version)?))
        }
        (&Method::POST, "setIamPolicy") => {
            permitted("setIamPolicy")?;
            Ok(body::ok(&policy::set(context, resource, body).await?))
        }
        (&Method::POST, "testIamPermissions") => {
            Ok(body::ok(&policy::test(context, resource, body).await?))
        }
        _ => Err(Error::not_emulated(resource.relative_name())),
    }
}

fn key(resource: &Resource) -> String {
    format!("artifactregistry/{}", resource.relative_name())
}

/// A repository, or Google's words for none (public logs).
fn found(state: &State, resource: &Resource) -> Result<Value, Error> {
    let document = state.documents.get(&key(resource)).cloned();
    document.ok_or_else(|| Error::not_found("Requested entity was not found."))
}

/// The one region that this cloud has.
fn locations(context: &Context) -> Result<Value, Error> {
    let project = &context.cloud.world.project;
    require(context, "artifactregistry.locations.list", &Resource::project(&project.id))?;
    let (id, region) = (&project.id, &project.region);
    let name = format!("projects/{id}/locations/{region}");
    Ok(json!({ "locations": [{ "name": name, "locationId": region }] }))
}

fn list(context: &Context, location: &str, parts: &Parts) -> Result<Response<Body>, Error> {
    let project = &context.cloud.world.project.id;
    require_in(context, "artifactregistry.repositories.list", location)?;
    let state = context.cloud.state();
    let prefix = match location {
        "-" => format!("artifactregistry/projects/{project}/locations/"),
        _ => format!("artifactregistry/projects/{project}/locations/{location}/repositories/"),
    };
    let rows = state.documents.prefix(&prefix).map(|(key, row)| (key.to_owned(), row.clone()));
    Ok(body::ok(&Page::of(parts.uri.query(), MOST_ROWS, rows)?.answer("repositories")))
}

/// What is granted on the project is asked of the location: Google names it in its refusal.
fn require_in(context: &Context, permission: &str, location: &str) -> Result<(), Error> {
    let project = &context.cloud.world.project.id;
    let name = format!("//artifactregistry.googleapis.com/projects/{project}/locations/{location}");
    let denied = |_| Error::permission_denied(permission, Some(&name));
    context.check(permission, &Resource::project(project)).map(drop).map_err(denied)
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    format: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn create(
    context: &Context,
    location: &str,
    parts: &Parts,
    asked: Asked,
) -> Result<Response<Body>, Error> {
    require_in(context, "artifactregistry.repositories.create", location)?;
    let id = parameter(parts.uri.query(), "repositoryId").unwrap_or_default();
    check(&id, &asked.format)?;
    let cloud = &context.cloud;
    let resource = Resource::repository(&cloud.world.project.id, location, &id);
    let now = clock::rfc3339(cloud.now());
    let mut document = json!({
        "name": resource.relative_name(),
        "format": asked.format,
        "createTime": now,
        "updateTime": now,
        "mode": "STANDARD_REPOSITORY",
    });
    for (name, value) in asked.rest {
        if matches!(name.as_str(), "description" | "labels" | "dockerConfig" | "cleanupPolicies") {
            document[name] = value;
        }
    }
    let operation = cloud.state.change(|state| {
        if state.documents.contains(&key(&resource)) {
            // Public logs of gcloud.
            return Err(Error::already_exists("the repository already exists"));
        }
        state.documents.insert(key(&resource), document.clone());
        let response = with_type(document, "Repository");
        Ok(begin(cloud, state, location, response))
    })?;
    Ok(body::ok(&written(&operation, clock::seconds(cloud.now()))))
}

/// As documented for `repositoryId`.
fn check(id: &str, format: &str) -> Result<(), Error> {
    let letters = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    let named = id.len() <= 63
        && id.bytes().all(letters)
        && id.bytes().next().is_some_and(|it| it.is_ascii_lowercase())
        && !id.ends_with('-');
    match (named, FORMATS.contains(&format)) {
        (true, true) => Ok(()),
        _ => Err(Error::new(StatusCode::BAD_REQUEST, "Request contains an invalid argument.")),
    }
}

fn delete(context: &Context, resource: &Resource) -> Result<Response<Body>, Error> {
    let cloud = &context.cloud;
    let location = resource.relative_name().split('/').nth(3).unwrap_or_default().to_owned();
    let operation = cloud.state.change(|state| {
        state.documents.remove(&key(resource));
        // Who makes a repository of the same name again begins without its grants.
        state.policies.remove(resource.name());
        let response = json!({ "@type": "type.googleapis.com/google.protobuf.Empty" });
        Ok(begin(cloud, state, &location, response))
    })?;
    Ok(body::ok(&written(&operation, clock::seconds(cloud.now()))))
}

fn with_type(mut value: Value, kind: &str) -> Value {
    value["@type"] = Value::from(format!("{TYPES}.{kind}"));
    value
}

fn begin(cloud: &Cloud, state: &mut State, location: &str, response: Value) -> Operation {
    let project = cloud.world.project.id.clone();
    let now = clock::seconds(cloud.now());
    let number = state.next_number();
    let id = format!("{now:08x}-0000-4000-8000-{number:012x}");
    let operation = Operation {
        name: format!("projects/{project}/locations/{location}/operations/{id}"),
        project,
        created: now,
        done: now + TAKES_SECONDS,
        body: response,
    };
    state.operations.insert(format!("artifactregistry/{}", operation.name), operation.clone());
    operation
}

fn operation(context: &Context, location: &str, id: &str) -> Result<Response<Body>, Error> {
    let project = &context.cloud.world.project.id;
    let name = format!("projects/{project}/locations/{location}/operations/{id}");
    let state = context.cloud.state();
    let found = state.operations.get(&format!("artifactregistry/{name}"));
    let found = found.ok_or_else(|| Error::not_found("Requested entity was not found."))?;
    // Who sees an operation may see what it makes.
    require_in(context, "artifactregistry.repositories.get", location)?;
    Ok(body::ok(&written(found, clock::seconds(context.cloud.now()))))
}

fn written(operation: &Operation, now: u64) -> Value {
    let metadata = with_type(json!({}), "OperationMetadata");
    let mut written = json!({ "name": operation.name, "metadata": metadata });
    if operation.done <= now {
        written["done"] = Value::from(true);
        written["response"] = operation.body.clone();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_formats_are_those_that_google_takes() {
        for (id, format, taken) in [
            ("mlflow", "DOCKER", true),
            ("a", "PYTHON", true),
            ("", "DOCKER", false),
            ("1a", "DOCKER", false),
            ("a_b", "DOCKER", false),
            ("a-", "DOCKER", false),
            ("mlflow", "", false),
            ("mlflow", "ZIP", false),
        ] {
            assert_eq!(check(id, format).is_ok(), taken, "{id} {format}");
        }
    }
}
