//! Database users: roles of the real PostgreSQL, with a password or with IAM alone.

use std::time::Duration;

use hyper::Response;
use serde::Deserialize;
use serde_json::json;

use super::operations::{self, Deed};
use super::{Call, resource, words};
use crate::body::{self, Body};
use crate::error::Error;
use crate::sql_port::{Name, provision, statement, upstream_of};
use crate::state::sql::{Instance, User};

const BUILT_IN: &str = "BUILT_IN";

pub(super) fn list(call: &Call, instance: &str) -> Result<Response<Body>, Error> {
    call.instance(instance, "cloudsql.users.list")?;
    let state = call.cloud().state();
    let below = call.key(&format!("{instance}/"));
    let rows = state.users.prefix(&below);
    let items: Vec<_> = rows.map(|(_, it)| resource::user(call, instance, it)).collect();
    Ok(body::ok(&json!({ "kind": "sql#usersList", "items": items })))
}

pub(super) fn get(call: &Call, instance: &str, name: &str) -> Result<Response<Body>, Error> {
    call.instance(instance, "cloudsql.users.get")?;
    let state = call.cloud().state();
    let found = state.users.get(&key(call, instance, name)).ok_or_else(words::not_found)?;
    Ok(body::ok(&resource::user(call, instance, found)))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Written {
    name: String,
    password: String,
    #[serde(rename = "type")]
    kind: String,
    database_roles: Vec<String>,
}

pub(super) async fn insert(
    call: &Call,
    instance: &str,
    written: Written,
) -> Result<Response<Body>, Error> {
    let row = call.instance(instance, "cloudsql.users.create")?;
    let user = checked(&written)?;
    let refused =
        |why: &str| words::invalid(format!("failed to create user \"{}\": {why}", written.name));
    let key = key(call, instance, &user.name);
    if call.cloud().state().users.contains(&key) {
        return Err(refused(&format!("role \"{}\" already exists", user.name)));
    }
    apply(call, &row, &user, &written.password).await.map_err(|error| match error {
        Failure::Server(error) => words::upstream(&error, |why, _| refused(why)),
        Failure::Name(name) => refused(&format!("invalid name \"{name}\"")),
        Failure::Other(error) => error,
    })?;
    let operation = call.cloud().state.change(|state| {
        state.users.insert(key, user);
        operations::record(call, state, &deed("CREATE_USER", instance))
    })?;
    Ok(operations::answer(call, &operation))
}

/// A user of a kind that exists, with a name that the kind can have.
fn checked(written: &Written) -> Result<User, Error> {
    let kind = if written.kind.is_empty() { BUILT_IN } else { &written.kind };
    let name = written.name.as_str();
    match kind {
        BUILT_IN => {}
        "CLOUD_IAM_SERVICE_ACCOUNT" if name.ends_with(".gserviceaccount.com") => {
            return Err(words::service_account_suffix());
        }
        "CLOUD_IAM_USER" | "CLOUD_IAM_SERVICE_ACCOUNT" if !name.contains('@') => {
            return Err(words::invalid(format!("\"{name}\" is not the name of an IAM principal")));
        }
        "CLOUD_IAM_USER" | "CLOUD_IAM_SERVICE_ACCOUNT" if !written.password.is_empty() => {
            return Err(words::invalid("an IAM user has no password"));
        }
        "CLOUD_IAM_USER" | "CLOUD_IAM_SERVICE_ACCOUNT" => {}
        other => return Err(Error::not_emulated(&format!("A database user of type `{other}`"))),
    }
    if Name::new(name).is_none() {
        return Err(words::invalid(format!("user name ({name})")));
    }
    let (kind, database_roles) = (kind.to_owned(), written.database_roles.clone());
    Ok(User { name: name.to_owned(), kind, database_roles })
}

enum Failure {
    Server(crate::sql_port::SqlError),
    Name(String),
    Other(Error),
}

async fn apply(call: &Call, row: &Instance, user: &User, password: &str) -> Result<(), Failure> {
    let server = upstream_of(call.cloud(), row).map_err(Failure::Other)?;
    let password = Some(password).filter(|it| !it.is_empty());
    let key = call.key(&row.name);
    let sql = provision::user_statement(call.cloud(), &key, user, password)
        .map_err(Failure::Other)?
        .ok_or_else(|| Failure::Name(user.name.clone()))?;
    server.run("postgres", &sql).await.map(drop).map_err(Failure::Server)
}

/// Sets a password. The user is named in the query, as gcloud does it.
pub(super) async fn update(
    call: &Call,
    instance: &str,
    written: Written,
) -> Result<Response<Body>, Error> {
    let row = call.instance(instance, "cloudsql.users.update")?;
    let name = call.query.get("name").filter(|it| !it.is_empty()).unwrap_or(&written.name);
    let state = call.cloud().state();
    let found = state.users.get(&key(call, instance, name)).ok_or_else(words::not_found)?;
    if found.kind != BUILT_IN && !written.password.is_empty() {
        return Err(words::invalid("an IAM user has no password"));
    }
    let mut user = found.clone();
    if !written.database_roles.is_empty() {
        user.database_roles = written.database_roles.clone();
    }
    let refused = |why: &str| words::invalid(format!("failed to update user \"{name}\": {why}"));
    apply(call, &row, &user, &written.password).await.map_err(|error| match error {
        Failure::Server(error) => words::upstream(&error, |why, _| refused(why)),
        Failure::Name(name) => refused(&format!("invalid name \"{name}\"")),
        Failure::Other(error) => error,
    })?;
    let operation = call.cloud().state.change(|state| {
        state.users.insert(key(call, instance, name), user);
        operations::record(call, state, &deed("UPDATE_USER", instance))
    })?;
    Ok(operations::answer(call, &operation))
}

pub(super) async fn delete(call: &Call, instance: &str) -> Result<Response<Body>, Error> {
    let row = call.instance(instance, "cloudsql.users.delete")?;
    let name = call.query.get("name").unwrap_or_default();
    let state = call.cloud().state();
    if !state.users.contains(&key(call, instance, name)) {
        return Err(words::not_found());
    }
    let quoted = Name::new(name).ok_or_else(words::not_found)?;
    let server = upstream_of(call.cloud(), &row)?;
    let dropped = server.run("postgres", &statement::drop_user(quoted)).await;
    // As Google words it when something is owned by the user (public logs of terraform destroy).
    dropped.map_err(|error| {
        words::upstream(&error, |why, detail| {
            let detail = detail.lines().next().unwrap_or_default();
            words::invalid(format!("failed to delete user {name}: . {why} Details: {detail}"))
        })
    })?;
    let operation = call.cloud().state.change(|state| {
        state.users.remove(&key(call, instance, name));
        operations::record(call, state, &deed("DELETE_USER", instance))
    })?;
    Ok(operations::answer(call, &operation))
}

fn key(call: &Call, instance: &str, name: &str) -> String {
    call.key(&format!("{instance}/{name}"))
}

fn deed<'a>(kind: &'a str, instance: &'a str) -> Deed<'a> {
    Deed { kind, instance, target: format!("instances/{instance}"), takes: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kind: &str, name: &str, password: &str) -> Written {
        let (kind, name, password) = (kind.into(), name.into(), password.into());
        Written { kind, name, password, database_roles: vec![] }
    }

    #[test]
    fn an_iam_user_has_the_name_that_google_wants_and_no_password() {
        let account = "CLOUD_IAM_SERVICE_ACCOUNT";
        assert!(checked(&written(account, "mlflow@p.iam", "")).is_ok());
        let full = checked(&written(account, "mlflow@p.iam.gserviceaccount.com", "")).unwrap_err();
        assert!(full.message.contains("without \".gserviceaccount.com\" suffix"), "{full}");
        assert!(checked(&written(account, "mlflow", "")).is_err());
        assert!(checked(&written(account, "mlflow@p.iam", "x")).is_err());
        assert_eq!(checked(&written("", "mlflow", "x")).unwrap().kind, BUILT_IN);
        assert!(checked(&written("", "", "x")).is_err());
    }
}
