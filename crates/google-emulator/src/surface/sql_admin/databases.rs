//! Databases: they are made in the real PostgreSQL before the answer says so.

use std::time::Duration;

use hyper::Response;
use serde::Deserialize;
use serde_json::json;

use super::operations::{self, Deed};
use super::{Call, resource, words};
use crate::body::{self, Body};
use crate::error::Error;
use crate::sql_port::{Name, statement, upstream_of};
use crate::state::sql::Database;

pub(super) fn list(call: &Call, instance: &str) -> Result<Response<Body>, Error> {
    call.instance(instance, "cloudsql.databases.list")?;
    let state = call.cloud().state();
    let below = call.key(&format!("{instance}/"));
    let rows = state.databases.prefix(&below);
    let items: Vec<_> = rows.map(|(_, it)| resource::database(call, instance, it)).collect();
    Ok(body::ok(&json!({ "kind": "sql#databasesList", "items": items })))
}

pub(super) fn get(call: &Call, instance: &str, name: &str) -> Result<Response<Body>, Error> {
    call.instance(instance, "cloudsql.databases.get")?;
    let state = call.cloud().state();
    let found = state.databases.get(&key(call, instance, name)).ok_or_else(words::not_found)?;
    Ok(body::ok(&resource::database(call, instance, found)))
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Written {
    name: String,
    charset: String,
    collation: String,
}

pub(super) async fn insert(
    call: &Call,
    instance: &str,
    written: Written,
) -> Result<Response<Body>, Error> {
    let row = call.instance(instance, "cloudsql.databases.create")?;
    let refused = |why: &str| {
        words::invalid(format!("failed to create database {}. Detail: pq: {why}\n", written.name))
    };
    let name = Name::new(&written.name).ok_or_else(|| refused("invalid name"))?;
    let charset = if written.charset.is_empty() { "UTF8" } else { &written.charset };
    let collation = Some(written.collation.as_str()).filter(|it| !it.is_empty());
    let server = upstream_of(call.cloud(), &row)?;
    let roles = server.run("postgres", &statement::own_roles()).await;
    roles.map_err(|error| words::upstream(&error, |why, _| refused(why)))?;
    let made = server.run("postgres", &statement::create_database(name, charset, collation)).await;
    made.map_err(|error| words::upstream(&error, |why, _| refused(why)))?;
    let mut database = Database::utf8(&written.name);
    database.charset = charset.to_uppercase();
    if let Some(collation) = collation {
        database.collation = collation.to_owned();
    }
    let operation = call.cloud().state.change(|state| {
        state.databases.insert(key(call, instance, &written.name), database);
        operations::record(call, state, &deed("CREATE_DATABASE", instance, &written.name))
    })?;
    Ok(operations::answer(call, &operation))
}

pub(super) async fn delete(
    call: &Call,
    instance: &str,
    name: &str,
) -> Result<Response<Body>, Error> {
    let row = call.instance(instance, "cloudsql.databases.delete")?;
    let state = call.cloud().state();
    if !state.databases.contains(&key(call, instance, name)) {
        return Err(words::not_found());
    }
    // As Google words it when somebody is connected (public logs of terraform destroy).
    let refused = |why: &str| {
        words::invalid(format!(
            "failed to delete database {name}. Detail: pq: {why}. (Please use psql client to \
             delete database that is not owned by \"cloudsqlsuperuser\")"
        ))
    };
    if name == "postgres" {
        return Err(refused("cannot drop the system database"));
    }
    let quoted = Name::new(name).ok_or_else(words::not_found)?;
    let server = upstream_of(call.cloud(), &row)?;
    let dropped = server.run("postgres", &statement::drop_database(quoted, false)).await;
    dropped.map_err(|error| words::upstream(&error, |why, _| refused(why)))?;
    let operation = call.cloud().state.change(|state| {
        state.databases.remove(&key(call, instance, name));
        operations::record(call, state, &deed("DELETE_DATABASE", instance, name))
    })?;
    Ok(operations::answer(call, &operation))
}

fn key(call: &Call, instance: &str, name: &str) -> String {
    call.key(&format!("{instance}/{name}"))
}

fn deed<'a>(kind: &'a str, instance: &'a str, name: &str) -> Deed<'a> {
    let target = format!("instances/{instance}/databases/{name}");
    Deed { kind, instance, target, takes: Duration::ZERO }
}
