//! GKE: clusters. There is one Kubernetes cluster behind it, and every cluster that is made here is
//! that one under another name.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, Request, Response, StatusCode};
use iam::Resource;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::authorize::{self, Context};
use crate::body::{self, Body};
use crate::clock;
use crate::cloud::Cloud;
use crate::error::{Error, Form};
use crate::state::{Operation, State};
use crate::surface::Path;

/// How long it takes to make a cluster. Google takes minutes; a client that waits for the operation
/// has to ask twice either way.
const MAKING_SECONDS: u64 = 1;
/// What a cluster has when the world does not say which version it is.
const VERSION: &str = "1.36.0-gke.1000000";
/// As in a node pool that nobody has thought about.
const MACHINE_TYPE: &str = "e2-medium";

/// Answers a request.
pub async fn handle(cloud: &Arc<Cloud>, request: Request<Body>) -> Response<Body> {
    answer(cloud, request).await.unwrap_or_else(|error| error.response(Form::Api))
}

/// What a path is about. The older form with `zones` means the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target<'a> {
    Clusters { project: &'a str, location: &'a str },
    Cluster { project: &'a str, location: &'a str, name: &'a str },
    Operation { project: &'a str, location: &'a str, name: &'a str },
    Operations { project: &'a str, location: &'a str },
    ServerConfig { project: &'a str, location: &'a str },
}

impl<'a> Target<'a> {
    fn of(parts: &[&'a str]) -> Option<Self> {
        let ["v1" | "v1beta1", "projects", project, "locations" | "zones", location, rest @ ..] =
            parts
        else {
            return None;
        };
        Some(match *rest {
            ["clusters"] => Self::Clusters { project, location },
            ["clusters", name] => Self::Cluster { project, location, name },
            ["operations"] => Self::Operations { project, location },
            ["operations", name] => Self::Operation { project, location, name },
            ["serverConfig" | "serverconfig"] => Self::ServerConfig { project, location },
            _ => return None,
        })
    }

    fn project(self) -> &'a str {
        match self {
            Self::Clusters { project, .. }
            | Self::Cluster { project, .. }
            | Self::Operation { project, .. }
            | Self::Operations { project, .. }
            | Self::ServerConfig { project, .. } => project,
        }
    }
}

async fn answer(cloud: &Arc<Cloud>, request: Request<Body>) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let context = authorize::caller(cloud, &authorize::CONTAINER, &parts)?;
    context.principal()?;
    let path = Path::parse(parts.uri.path());
    let segments = path.parts();
    let target = Target::of(&segments).filter(|_| path.verb.is_empty());
    let not_emulated = || Error::not_emulated(&format!("{} {}", parts.method, parts.uri.path()));
    let target = target.ok_or_else(not_emulated)?;
    let project = target.project();
    if !cloud.world.is_project(project) {
        // Google tells nobody whether a project of others exists.
        return Err(lacking("container.clusters.list", &format!("projects/{project}")));
    }
    context.require_enabled()?;
    let get = parts.method == Method::GET;
    match target {
        Target::Clusters { location, .. } if get => list(&context, location),
        Target::Clusters { location, .. } if parts.method == Method::POST => {
            let asked: Asked = body::request(body).await?;
            create(&context, location, asked.cluster)
        }
        Target::Cluster { location, name, .. } if get => show(&context, location, name),
        Target::Operation { location, name, .. } if get => operation(&context, location, name),
        Target::Operations { location, .. } if get => operations(&context, location),
        Target::ServerConfig { .. } if get => server_config(&context),
        _ => Err(not_emulated()),
    }
}

/// 403 in the words of GKE, seen in public logs.
fn lacking(permission: &str, resource: &str) -> Error {
    Error::new(
        StatusCode::FORBIDDEN,
        format!("Required \"{permission}\" permission(s) for \"{resource}\"."),
    )
}

fn require(context: &Context, permission: &str, resource: &Resource) -> Result<(), Error> {
    let denied = |_| lacking(permission, resource.relative_name());
    context.check(permission, resource).map(drop).map_err(denied)
}

fn list(context: &Context, location: &str) -> Result<Response<Body>, Error> {
    let project = &context.cloud.world.project.id;
    require(context, "container.clusters.list", &Resource::project(project))?;
    let here = |it: &Value| location == "-" || it["location"] == location;
    let clusters: Vec<Value> = clusters(&context.cloud).into_iter().filter(here).collect();
    // Google leaves an empty list out.
    Ok(body::ok(&if clusters.is_empty() { json!({}) } else { json!({ "clusters": clusters }) }))
}

fn show(context: &Context, location: &str, name: &str) -> Result<Response<Body>, Error> {
    let resource = Resource::cluster(&context.cloud.world.project.id, location, name);
    require(context, "container.clusters.get", &resource)?;
    let found = clusters(&context.cloud)
        .into_iter()
        .find(|it| it["name"] == name && it["location"] == location);
    let found = found.ok_or_else(|| not_found(resource.relative_name()))?;
    Ok(body::ok(&found))
}

/// Seen in public logs.
fn not_found(name: &str) -> Error {
    Error::not_found(format!("Not found: {name}."))
}

#[derive(Deserialize)]
struct Asked {
    cluster: AskedCluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AskedCluster {
    name: String,
    initial_node_count: Option<u32>,
}

fn create(context: &Context, location: &str, asked: AskedCluster) -> Result<Response<Body>, Error> {
    let cloud = &context.cloud;
    let project = &cloud.world.project.id;
    require(context, "container.clusters.create", &Resource::project(project))?;
    check_name(&asked.name)?;
    if cloud.world.kubernetes.endpoint.is_empty() {
        return Err(Error::not_emulated("A cluster without a Kubernetes cluster behind it"));
    }
    let resource = Resource::cluster(project, location, &asked.name);
    let name = resource.relative_name().to_owned();
    let now = clock::seconds(cloud.now());
    let operation = cloud.state.change(|state: &mut State| {
        let document = format!("container/{name}");
        if state.documents.contains(&document) || is_own(cloud, location, &asked.name) {
            // Seen in public logs.
            return Err(Error::already_exists(format!("Already exists: {name}.")));
        }
        let nodes = asked.initial_node_count.unwrap_or(0);
        let row = json!({ "created": now, "nodes": nodes, "ready": now + MAKING_SECONDS });
        state.documents.insert(document, row);
        let id = format!("operation-{now}-{:08x}", state.next_number());
        let number = cloud.world.project.number;
        let base = "https://container.googleapis.com/v1";
        let operation = Operation {
            project: project.clone(),
            created: now,
            done: now + MAKING_SECONDS,
            body: json!({
                "name": id,
                "zone": location,
                "operationType": "CREATE_CLUSTER",
                "selfLink": format!("{base}/projects/{number}/locations/{location}/operations/{id}"),
                "targetLink": format!("{base}/projects/{number}/locations/{location}/clusters/{}", asked.name),
            }),
            name: id,
        };
        state.operations.insert(format!("container/{}", operation.name), operation.clone());
        Ok(operation)
    })?;
    Ok(body::ok(&written(&operation, now)))
}

/// Letters, digits and dashes, beginning with a letter, at most 40: as documented.
fn check_name(name: &str) -> Result<(), Error> {
    let first = name.bytes().next().is_some_and(|it| it.is_ascii_lowercase());
    let last = name.bytes().next_back().is_some_and(|it| it != b'-');
    let all = name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
    if first && last && all && name.len() <= 40 {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "Invalid value for field \"cluster.name\": \"{name}\". Must be a match of regex \
         '(?:[a-z](?:[-a-z0-9]{{0,38}}[a-z0-9])?)'."
    )))
}

fn operation(context: &Context, location: &str, name: &str) -> Result<Response<Body>, Error> {
    let project = &context.cloud.world.project.id;
    require(context, "container.operations.get", &Resource::project(project))?;
    let state = context.cloud.state();
    let found = state.operations.get(&format!("container/{name}"));
    let found = found.filter(|it| it.body["zone"] == location);
    let missing =
        || not_found(&format!("projects/{project}/locations/{location}/operations/{name}"));
    Ok(body::ok(&written(found.ok_or_else(missing)?, clock::seconds(context.cloud.now()))))
}

fn operations(context: &Context, location: &str) -> Result<Response<Body>, Error> {
    let project = &context.cloud.world.project.id;
    require(context, "container.operations.list", &Resource::project(project))?;
    let state = context.cloud.state();
    let now = clock::seconds(context.cloud.now());
    let all = state.operations.prefix("container/").map(|(_, it)| it);
    let here = all.filter(|it| location == "-" || it.body["zone"] == location);
    let operations: Vec<Value> = here.map(|it| written(it, now)).collect();
    Ok(body::ok(&json!({ "operations": operations })))
}

fn written(operation: &Operation, now: u64) -> Value {
    let mut written = operation.body.clone();
    let done = operation.done <= now;
    written["status"] = Value::from(if done { "DONE" } else { "RUNNING" });
    written["startTime"] = Value::from(clock::rfc3339(clock::at(operation.created)));
    if done {
        written["endTime"] = Value::from(clock::rfc3339(clock::at(operation.done)));
    }
    written
}

fn server_config(context: &Context) -> Result<Response<Body>, Error> {
    let project = &context.cloud.world.project.id;
    require(context, "container.clusters.list", &Resource::project(project))?;
    let version = version(&context.cloud);
    Ok(body::ok(&json!({
        "defaultClusterVersion": version,
        "validMasterVersions": [version],
        "validNodeVersions": [version],
        "defaultImageType": "COS_CONTAINERD",
        "validImageTypes": ["COS_CONTAINERD"],
        "channels": [
            { "channel": "REGULAR", "defaultVersion": version, "validVersions": [version] },
        ],
    })))
}

fn version(cloud: &Cloud) -> &str {
    match cloud.world.kubernetes.version.as_str() {
        "" => VERSION,
        version => version,
    }
}

/// Whether it is the cluster that the world names.
fn is_own(cloud: &Cloud, location: &str, name: &str) -> bool {
    let project = &cloud.world.project;
    name == project.cluster && location == project.zone
}

/// The world's cluster, if there is one, and those that were made.
fn clusters(cloud: &Cloud) -> Vec<Value> {
    let state = cloud.state();
    let project = &cloud.world.project;
    let now = clock::seconds(cloud.now());
    let mut found = Vec::new();
    if !cloud.world.kubernetes.endpoint.is_empty() {
        found.push(cluster(cloud, &project.zone, &project.cluster, &json!({ "nodes": 1 }), now));
    }
    for (key, row) in state.documents.prefix("container/") {
        let segments: Vec<&str> = key.split('/').collect();
        if let ["container", "projects", _, "locations", location, "clusters", name] = *segments {
            found.push(cluster(cloud, location, name, row, now));
        }
    }
    found
}

/// A cluster as GKE writes it. gcloud reads the endpoint, the CA and both versions.
fn cluster(cloud: &Cloud, location: &str, name: &str, row: &Value, now: u64) -> Value {
    let project = &cloud.world.project;
    let (kubernetes, version) = (&cloud.world.kubernetes, version(cloud));
    let ready = row["ready"].as_u64().is_none_or(|it| it <= now);
    let link = format!(
        "https://container.googleapis.com/v1/projects/{}/locations/{location}/clusters/{name}",
        project.id
    );
    let mut cluster = json!({
        "name": name,
        "location": location,
        "zone": location,
        "locations": [project.zone],
        "status": if ready { "RUNNING" } else { "PROVISIONING" },
        "selfLink": link,
        "network": "default",
        "subnetwork": "default",
        "initialClusterVersion": version,
        "currentMasterVersion": version,
        "currentNodeVersion": version,
        "currentNodeCount": row["nodes"],
        "nodeConfig": {
            "machineType": MACHINE_TYPE,
            "workloadMetadataConfig": { "mode": "GKE_METADATA" },
        },
        "workloadIdentityConfig": { "workloadPool": cloud.world.pool() },
        "loggingService": "none",
        "monitoringService": "none",
    });
    if let Some(created) = row["created"].as_u64() {
        cluster["createTime"] = Value::from(clock::rfc3339(clock::at(created)));
    }
    if ready {
        cluster["endpoint"] = Value::from(kubernetes.endpoint.as_str());
        let certificate = STANDARD.encode(&kubernetes.certificate_authority);
        cluster["masterAuth"] = json!({ "clusterCaCertificate": certificate });
    }
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_paths_mean_the_same() {
        let (project, location, name) = ("p", "europe-north1", "c");
        for (path, expected) in [
            (
                "/v1/projects/p/locations/europe-north1/clusters/c",
                Some(Target::Cluster { project, location, name }),
            ),
            (
                "/v1/projects/p/zones/europe-north1/clusters/c",
                Some(Target::Cluster { project, location, name }),
            ),
            (
                "/v1/projects/p/locations/europe-north1/clusters",
                Some(Target::Clusters { project, location }),
            ),
            (
                "/v1/projects/p/locations/europe-north1/serverConfig",
                Some(Target::ServerConfig { project, location }),
            ),
            ("/v1/projects/p/locations/europe-north1/clusters/c/nodePools", None),
            ("/v1/projects/p/aggregated/usableSubnetworks", None),
            ("/", None),
        ] {
            assert_eq!(Target::of(&Path::parse(path).parts()), expected, "{path}");
        }
    }

    #[test]
    fn names_are_those_that_google_takes() {
        for name in ["a", "mlflow-1", &"a".repeat(40)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "A", "1a", "a-", "a_b", "ä", &"a".repeat(41)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_path_is_taken_apart(path in ".*") {
            let path = Path::parse(&path);
            let _ = Target::of(&path.parts());
        }
    }
}
