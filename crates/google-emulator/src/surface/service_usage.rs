//! Service Usage: which APIs are enabled.

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::{Method, Request, Response, StatusCode};
use iam::Resource;
use serde::Deserialize;
use serde_json::{Value, json};

use super::paging::Page;
use super::{Path, parameter};
use crate::authorize::{self, Context, SERVICE_USAGE, require};
use crate::body::{self, Body};
use crate::clock;
use crate::cloud::Cloud;
use crate::error::{Error, Form};
use crate::state::{Operation, State};

/// APIs that a project can enable, with their titles. Others are not known here.
const CATALOGUE: [(&str, &str); 18] = [
    ("artifactregistry.googleapis.com", "Artifact Registry API"),
    ("cloudbuild.googleapis.com", "Cloud Build API"),
    ("cloudresourcemanager.googleapis.com", "Cloud Resource Manager API"),
    ("compute.googleapis.com", "Compute Engine API"),
    ("container.googleapis.com", "Kubernetes Engine API"),
    ("dns.googleapis.com", "Cloud DNS API"),
    ("iam.googleapis.com", "Identity and Access Management (IAM) API"),
    ("iamcredentials.googleapis.com", "IAM Service Account Credentials API"),
    ("logging.googleapis.com", "Cloud Logging API"),
    ("monitoring.googleapis.com", "Cloud Monitoring API"),
    ("secretmanager.googleapis.com", "Secret Manager API"),
    ("servicenetworking.googleapis.com", "Service Networking API"),
    ("serviceusage.googleapis.com", "Service Usage API"),
    ("sql-component.googleapis.com", "Cloud SQL"),
    ("sqladmin.googleapis.com", "Cloud SQL Admin API"),
    ("storage-api.googleapis.com", "Google Cloud Storage JSON API"),
    ("storage.googleapis.com", "Cloud Storage API"),
    ("sts.googleapis.com", "Security Token Service API"),
];
/// A batch is not longer than this, as the reference of batchEnable says.
const MOST_IN_BATCH: usize = 20;
/// Operations are forgotten after this time.
const KEEP_SECONDS: u64 = 3600;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    #[serde(default)]
    service_ids: Vec<String>,
}

/// Answers a request.
pub async fn handle(cloud: &Arc<Cloud>, request: Request<Body>) -> Response<Body> {
    route(cloud, request).await.unwrap_or_else(|error| error.response(Form::Api))
}

async fn route(cloud: &Arc<Cloud>, request: Request<Body>) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let context = authorize::caller(cloud, &SERVICE_USAGE, &parts)?;
    context.principal()?;
    let path = Path::parse(parts.uri.path());
    let query = parts.uri.query();
    let answer = match (&parts.method, path.parts().as_slice(), path.verb.as_str()) {
        (&Method::GET, ["v1", "operations", name], "") => operation(cloud, name)?,
        (&Method::GET, ["v1", "projects", project, "services"], "") => {
            allowed(&context, project, "serviceusage.services.list")?;
            list(cloud, query)?
        }
        (&Method::GET, ["v1", "projects", project, "services"], "batchGet") => {
            allowed(&context, project, "serviceusage.services.get")?;
            let names = names(query);
            let services: Result<Vec<Value>, Error> =
                names.iter().map(|it| service(cloud, &cloud.state(), it)).collect();
            json!({ "services": services? })
        }
        (&Method::GET, ["v1", "projects", project, "services", name], "") => {
            allowed(&context, project, "serviceusage.services.get")?;
            service(cloud, &cloud.state(), name)?
        }
        (&Method::POST, ["v1", "projects", project, "services"], "batchEnable") => {
            allowed(&context, project, "serviceusage.services.enable")?;
            let batch: Batch = body::request(body).await?;
            if batch.service_ids.is_empty() || batch.service_ids.len() > MOST_IN_BATCH {
                return Err(Error::invalid_argument("Request contains an invalid argument."));
            }
            switch(cloud, &batch.service_ids, true, "BatchEnableServicesResponse")?
        }
        (&Method::POST, ["v1", "projects", project, "services", name], "enable") => {
            allowed(&context, project, "serviceusage.services.enable")?;
            switch(cloud, &[(*name).to_owned()], true, "EnableServiceResponse")?
        }
        (&Method::POST, ["v1", "projects", project, "services", name], "disable") => {
            allowed(&context, project, "serviceusage.services.disable")?;
            switch(cloud, &[(*name).to_owned()], false, "DisableServiceResponse")?
        }
        _ => return Err(Error::not_emulated(parts.uri.path())),
    };
    Ok(body::ok(&answer))
}

fn allowed(context: &Context, project: &str, permission: &str) -> Result<(), Error> {
    let world = &context.cloud.world;
    let id = if world.is_project(project) { &world.project.id } else { project };
    require(context, permission, &Resource::project(id))?;
    if world.is_project(project) {
        return Ok(());
    }
    // Whoever may do this on a project that does not exist would be an owner of everything.
    Err(Error::permission_denied(permission, Some(Resource::project(project).name())))
}

fn list(cloud: &Cloud, query: Option<&str>) -> Result<Value, Error> {
    let state = cloud.state();
    let wanted = match parameter(query, "filter").unwrap_or_default().as_str() {
        "" => None,
        "state:ENABLED" => Some(true),
        "state:DISABLED" => Some(false),
        other => {
            let message = format!("Invalid filter: '{other}'.");
            return Err(Error::invalid_argument(message));
        }
    };
    let project = &cloud.world.project.id;
    let names = CATALOGUE.iter().map(|(name, _)| *name);
    let names = names.filter(|it| wanted.is_none_or(|wanted| state.enabled(project, it) == wanted));
    let rows: Result<Vec<(String, Value)>, Error> =
        names.map(|it| Ok((it.to_owned(), service(cloud, &state, it)?))).collect();
    Ok(Page::of(query, 200, rows?.into_iter())?.answer("services"))
}

fn names(query: Option<&str>) -> Vec<String> {
    let pairs = query.unwrap_or_default().split('&').filter_map(|it| it.split_once('='));
    let values = pairs.filter(|(key, _)| *key == "names").map(|(_, value)| super::decode(value));
    values.map(|it| it.rsplit('/').next().unwrap_or_default().to_owned()).collect()
}

fn service(cloud: &Cloud, state: &State, name: &str) -> Result<Value, Error> {
    let title = CATALOGUE.iter().find(|(it, _)| *it == name).map(|(_, title)| *title);
    let title = title.ok_or_else(|| unknown(&[name]))?;
    let project = &cloud.world.project;
    let enabled = state.enabled(&project.id, name);
    Ok(json!({
        "name": format!("projects/{}/services/{name}", project.number),
        "config": { "name": name, "title": title },
        "state": if enabled { "ENABLED" } else { "DISABLED" },
        "parent": format!("projects/{}", project.number),
    }))
}

/// In the words of public logs of `gcloud services enable`.
fn unknown(names: &[&str]) -> Error {
    let message = format!("Not found or permission denied for service(s): {}.", names.join(", "));
    Error::new(StatusCode::FORBIDDEN, message).info(
        "SERVICE_CONFIG_NOT_FOUND_OR_PERMISSION_DENIED",
        "serviceusage.googleapis.com",
        &json!({ "services": names.join(",") }),
    )
}

/// Enables or disables, and gives the operation: running when there was something to do, so that
/// clients ask for it again, and done the next time.
fn switch(cloud: &Cloud, names: &[String], on: bool, answer: &str) -> Result<Value, Error> {
    let strangers: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| !CATALOGUE.iter().any(|(it, _)| it == name))
        .collect();
    if !strangers.is_empty() {
        return Err(unknown(&strangers));
    }
    let project = &cloud.world.project;
    cloud.state.change(|state| {
        let wanted: BTreeSet<&String> = names.iter().collect();
        let change: Vec<&String> =
            wanted.into_iter().filter(|it| state.enabled(&project.id, it) != on).collect();
        for name in &change {
            state.services.insert(format!("{}/{name}", project.id), on);
        }
        let services: Result<Vec<Value>, Error> =
            names.iter().map(|it| service(cloud, state, it)).collect();
        let mut response =
            json!({ "@type": format!("type.googleapis.com/google.api.serviceusage.v1.{answer}") });
        match (services?, answer) {
            (services, "BatchEnableServicesResponse") => response["services"] = json!(services),
            (services, _) => response["service"] = services.into_iter().next().unwrap_or_default(),
        }
        if change.is_empty() {
            let name = "operations/noop.DONE_OPERATION";
            return Ok(json!({ "name": name, "done": true, "response": response }));
        }
        let now = clock::seconds(cloud.now());
        state.operations.retain(|_, it| it.done + KEEP_SECONDS > now);
        let number = state.next_number();
        let name = format!("operations/acat.p2-{}-{number:08x}", project.number);
        let body = json!({ "name": name, "done": true, "response": response });
        let row = Operation {
            name: name.clone(),
            project: project.id.clone(),
            created: now,
            done: now,
            body,
        };
        state.operations.insert(format!("serviceusage/{name}"), row);
        Ok(json!({ "name": name }))
    })
}

fn operation(cloud: &Cloud, name: &str) -> Result<Value, Error> {
    let state = cloud.state();
    let row = state.operations.get(&format!("serviceusage/operations/{name}"));
    row.map(|it| it.body.clone()).ok_or_else(|| Error::not_found("Operation not found."))
}
