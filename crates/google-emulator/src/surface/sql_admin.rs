//! The Cloud SQL Admin API, `sqladmin.googleapis.com`, as far as gcloud, the connectors and this
//! project's own tools call it.

mod connect;
mod databases;
mod instances;
mod operations;
mod path;
mod resource;
mod users;
pub(crate) mod words;

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use iam::Resource;

use self::path::{Place, Query, Target};
use crate::authorize::{self, Context, SQL_ADMIN};
use crate::body::Body;
use crate::cloud::Cloud;
use crate::error::Error;
use crate::state::sql::Instance;

/// Answers one request.
pub async fn handle(cloud: &Arc<Cloud>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    answer(cloud, &parts, body).await.unwrap_or_else(|error| words::response(&error))
}

async fn answer(cloud: &Arc<Cloud>, parts: &Parts, body: Body) -> Result<Response<Body>, Error> {
    let context = authorize::caller(cloud, &SQL_ADMIN, parts)?;
    context.principal()?;
    let place = path::parse(parts.uri.path()).ok_or_else(|| unknown(parts))?;
    context.require_enabled()?;
    let query = Query::new(parts.uri.query());
    let call = Call { context, project: place.project.clone(), query };
    route(&call, &parts.method, place, body)
        .await
        .transpose()
        .unwrap_or_else(|| Err(unknown(parts)))
}

/// The answer; none for a call that is not known.
async fn route(
    call: &Call,
    method: &Method,
    place: Place,
    body: Body,
) -> Result<Option<Response<Body>>, Error> {
    let (get, post) = (method == Method::GET, method == Method::POST);
    let (put, patch, delete) =
        (method == Method::PUT, method == Method::PATCH, method == Method::DELETE);
    let answer = match place.target {
        Target::Instances if get => instances::list(call)?,
        Target::Instances if post => instances::insert(call, read(body).await?).await?,
        Target::Instance(name) if get => instances::get(call, &name)?,
        Target::Instance(name) if patch || put => {
            instances::change(call, &name, patch, read(body).await?)?
        }
        Target::Instance(name) if delete => instances::delete(call, &name).await?,
        Target::Verb(name, verb) => match (verb.as_str(), get, post) {
            ("connectSettings", true, _) => connect::settings(call, &name)?,
            ("generateEphemeralCert", _, true) => {
                connect::certificate(call, &name, read(body).await?)?
            }
            ("restart", _, true) => instances::restart(call, &name).await?,
            ("failover", _, true) => instances::failover(call, &name)?,
            _ => return Ok(None),
        },
        Target::Databases(instance) if get => databases::list(call, &instance)?,
        Target::Databases(instance) if post => {
            databases::insert(call, &instance, read(body).await?).await?
        }
        Target::Database(instance, name) if get => databases::get(call, &instance, &name)?,
        Target::Database(instance, name) if delete => {
            databases::delete(call, &instance, &name).await?
        }
        Target::Users(instance) if get => users::list(call, &instance)?,
        Target::Users(instance) if post => {
            users::insert(call, &instance, read(body).await?).await?
        }
        Target::Users(instance) if put => users::update(call, &instance, read(body).await?).await?,
        Target::Users(instance) if delete => users::delete(call, &instance).await?,
        Target::User(instance, name) if get => users::get(call, &instance, &name)?,
        Target::Operations if get => operations::list(call)?,
        Target::Operation(name) if get => operations::get(call, &name)?,
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

async fn read<T: serde::de::DeserializeOwned>(body: Body) -> Result<T, Error> {
    crate::body::request(body).await
}

fn unknown(parts: &Parts) -> Error {
    Error::not_emulated(&format!("{} {} of Cloud SQL Admin", parts.method, parts.uri.path()))
}

/// What the handlers of one request share.
struct Call {
    context: Context,
    project: String,
    query: Query,
}

impl Call {
    fn cloud(&self) -> &Arc<Cloud> {
        &self.context.cloud
    }

    /// `PROJECT/NAME`, the key of an instance.
    fn key(&self, instance: &str) -> String {
        format!("{}/{instance}", self.project)
    }

    /// Refuses what the caller may not do with the project.
    fn require_on_project(&self, permission: &str) -> Result<(), Error> {
        let resource = Resource::project(&self.project);
        self.context.check(permission, &resource).map(drop).map_err(|_| words::not_authorized())
    }

    /// The instance, for a caller with the permission on it.
    ///
    /// Who lacks the permission is not told whether the instance exists.
    fn instance(&self, name: &str, permission: &str) -> Result<Instance, Error> {
        self.instance_or(name, permission, || words::missing_permission(permission, name))
    }

    fn instance_or(
        &self,
        name: &str,
        permission: &str,
        refusal: impl FnOnce() -> Error,
    ) -> Result<Instance, Error> {
        if !path::is_instance_name(name) {
            return Err(words::instance_name(name));
        }
        let resource = Resource::instance(&self.project, name);
        self.context.check(permission, &resource).map_err(|_| refusal())?;
        let state = self.cloud().state();
        state.instances.get(&self.key(name)).cloned().ok_or_else(words::no_instance)
    }
}
