//! Instances: made from the servers that the world has to give, changed, restarted, deleted.

use std::time::Duration;

use hyper::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::operations::{self, Deed};
use super::{Call, path, resource, words};
use crate::body::{self, Body};
use crate::clock;
use crate::error::Error;
use crate::sql_port::{provision, upstream_of};
use crate::state::State;
use crate::state::sql::{Database, Instance, User};
use crate::world::SqlServer;

/// How long an instance takes no connections, unless the setting `sql_outage_seconds` says.
const OUTAGE_SECONDS: u64 = 3;
/// What PostgreSQL says last reaches its clients within this time.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) fn list(call: &Call) -> Result<Response<Body>, Error> {
    call.require_on_project("cloudsql.instances.list")?;
    if call.query.get("filter").is_some_and(|it| !it.is_empty()) {
        return Err(Error::not_emulated("A filter of Cloud SQL instances"));
    }
    let state = call.cloud().state();
    let below = call.key("");
    let rows = state.instances.prefix(&below);
    let rows = rows.map(|(_, it)| Ok((it.name.clone(), resource::instance(call, it)?)));
    let (items, next) = call.query.page(rows.collect::<Result<_, Error>>()?);
    let mut answer = json!({ "kind": "sql#instancesList", "items": items });
    if let Some(next) = next {
        answer["nextPageToken"] = Value::from(next);
    }
    Ok(body::ok(&answer))
}

pub(super) fn get(call: &Call, name: &str) -> Result<Response<Body>, Error> {
    let instance = call.instance(name, "cloudsql.instances.get")?;
    Ok(body::ok(&resource::instance(call, &instance)?))
}

/// What a new instance, or a change of one, says. What is not read here is not emulated and has
/// no effect; the answer shows what is in force.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct Written {
    name: String,
    region: String,
    database_version: String,
    root_password: String,
    /// A replica; there are none here.
    master_instance_name: String,
    settings: Map<String, Value>,
}

pub(super) async fn insert(call: &Call, written: Written) -> Result<Response<Body>, Error> {
    call.require_on_project("cloudsql.instances.create")?;
    if !path::is_instance_name(&written.name) {
        return Err(words::instance_name(&written.name));
    }
    if !written.database_version.starts_with("POSTGRES_") {
        return Err(Error::not_emulated(&format!("`{}`", written.database_version)));
    }
    if !written.master_instance_name.is_empty() {
        return Err(Error::not_emulated("A read replica of Cloud SQL"));
    }
    let key = call.key(&written.name);
    if call.cloud().state().instances.contains(&key) {
        return Err(words::instance_exists());
    }
    let servers = &call.cloud().world.sql_servers;
    let server = servers.iter().find(|it| is_free(&call.cloud().state(), it));
    let server = server.ok_or_else(words::no_more_instances)?;
    let instance = made(call, &written, server);
    let operation = call.cloud().state.change(|state| {
        // Another request may have been faster.
        if state.instances.contains(&key) {
            return Err(words::instance_exists());
        }
        if !is_free(state, server) {
            return Err(words::no_more_instances());
        }
        let user =
            User { name: "postgres".into(), kind: "BUILT_IN".into(), database_roles: vec![] };
        state.users.insert(format!("{key}/postgres"), user);
        state.databases.insert(format!("{key}/postgres"), Database::utf8("postgres"));
        state.instances.insert(key.clone(), instance.clone());
        operations::record(call, state, &deed("CREATE", &written.name, Duration::ZERO))
    })?;
    let password = Some(written.root_password.as_str()).filter(|it| !it.is_empty());
    if let Err(error) = provision::instance(call.cloud(), &key, password).await {
        // Whoever tries again must not hear that the instance exists.
        forget(call, &key)?;
        return Err(Error::unavailable(&error.to_string()));
    }
    Ok(operations::answer(call, &operation))
}

/// Takes an instance out of the state with all that belongs to it.
fn forget(call: &Call, key: &str) -> Result<(), Error> {
    call.cloud().state.change(|state| {
        remove(state, key);
        Ok(())
    })
}

fn remove(state: &mut State, key: &str) {
    let below = format!("{key}/");
    state.instances.remove(key);
    state.databases.retain(|it, _| !it.starts_with(&below));
    state.users.retain(|it, _| !it.starts_with(&below));
    state.client_certificates.retain(|_, it| it.instance != key);
    state.authorities.retain(|it, _| !it.starts_with(&format!("sql/{below}")));
}

fn made(call: &Call, written: &Written, server: &SqlServer) -> Instance {
    let region = Some(&written.region).filter(|it| !it.is_empty());
    let region = region.unwrap_or(&call.cloud().world.project.region).clone();
    Instance {
        project: call.project.clone(),
        name: written.name.clone(),
        region,
        database_version: written.database_version.clone(),
        state: "RUNNABLE".into(),
        address: server.address.clone(),
        listen: server.listen.clone(),
        upstream: server.upstream.clone(),
        created: clock::seconds(call.cloud().now()),
        settings: written.settings.clone(),
    }
}

fn is_free(state: &State, server: &SqlServer) -> bool {
    state.instances.iter().all(|(_, it)| it.upstream != server.upstream)
}

/// `patch` merges the settings, an update replaces them. Both name the version they know, or none.
pub(super) fn change(
    call: &Call,
    name: &str,
    patch: bool,
    written: Written,
) -> Result<Response<Body>, Error> {
    call.instance(name, "cloudsql.instances.update")?;
    let operation = call.cloud().state.change(|state| {
        let instance = state.instances.get_mut(&call.key(name)).ok_or_else(words::no_instance)?;
        let version = version(&instance.settings);
        let known = written.settings.get("settingsVersion").map(number);
        if known.is_some_and(|it| it != Some(version)) {
            return Err(words::stale());
        }
        if patch {
            merge(&mut instance.settings, &written.settings);
        } else {
            instance.settings = written.settings.clone();
        }
        let next = Value::from((version + 1).to_string());
        instance.settings.insert("settingsVersion".into(), next);
        operations::record(call, state, &deed("UPDATE", name, Duration::ZERO))
    })?;
    Ok(operations::answer(call, &operation))
}

fn version(settings: &Map<String, Value>) -> u64 {
    settings.get("settingsVersion").and_then(number).unwrap_or(1)
}

/// Google writes 64 bits as text, and reads both.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Objects are merged, `null` takes a field away, everything else replaces.
fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(name), value) {
            (_, Value::Null) => {
                into.remove(name);
            }
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            _ => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

pub(super) async fn delete(call: &Call, name: &str) -> Result<Response<Body>, Error> {
    let instance = call.instance(name, "cloudsql.instances.delete")?;
    let protected = instance.settings.get("deletionProtectionEnabled");
    if protected.and_then(Value::as_bool) == Some(true) {
        return Err(words::protected());
    }
    let key = call.key(name);
    // Nobody may log in while it goes, and nothing of it may be left for the next one.
    call.cloud().sql.gates.of(&key).close_for(Duration::ZERO);
    provision::clear(call.cloud(), &key)
        .await
        .map_err(|error| Error::unavailable(&error.to_string()))?;
    let operation = call.cloud().state.change(|state| {
        remove(state, &key);
        operations::record(call, state, &deed("DELETE", name, Duration::ZERO))
    })?;
    Ok(operations::answer(call, &operation))
}

/// PostgreSQL itself tells its clients that it goes, as a fast shutdown does.
pub(super) async fn restart(call: &Call, name: &str) -> Result<Response<Body>, Error> {
    let instance = call.instance(name, "cloudsql.instances.restart")?;
    if let Ok(server) = upstream_of(call.cloud(), &instance) {
        drop(provision::end_sessions(&server).await);
        call.cloud().sql.gates.of(&call.key(name)).drained(LAST_WORDS).await;
    }
    outage(call, name, "RESTART")
}

/// The old primary is gone without a word.
pub(super) fn failover(call: &Call, name: &str) -> Result<Response<Body>, Error> {
    let instance = call.instance(name, "cloudsql.instances.failover")?;
    if instance.settings.get("availabilityType").and_then(Value::as_str) != Some("REGIONAL") {
        return Err(words::invalid("failover needs an instance with availabilityType REGIONAL"));
    }
    outage(call, name, "FAILOVER")
}

fn outage(call: &Call, name: &str, kind: &str) -> Result<Response<Body>, Error> {
    let state = call.cloud().state();
    let seconds = state.settings.get("sql_outage_seconds").and_then(Value::as_u64);
    let takes = Duration::from_secs(seconds.unwrap_or(OUTAGE_SECONDS));
    let operation = call
        .cloud()
        .state
        .change(|state| operations::record(call, state, &deed(kind, name, takes)))?;
    call.cloud().sql.gates.of(&call.key(name)).close_for(takes);
    Ok(operations::answer(call, &operation))
}

fn deed<'a>(kind: &'a str, instance: &'a str, takes: Duration) -> Deed<'a> {
    Deed { kind, instance, target: format!("instances/{instance}"), takes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_merges_what_it_names_and_leaves_the_rest() {
        let object = |value: Value| value.as_object().unwrap().clone();
        let mut settings = object(json!({ "tier": "a", "ip": { "v4": true, "ssl": 1 }, "old": 1 }));
        merge(&mut settings, &object(json!({ "ip": { "ssl": 2 }, "old": null, "new": [1] })));
        let expected = json!({ "tier": "a", "ip": { "v4": true, "ssl": 2 }, "new": [1] });
        assert_eq!(Value::Object(settings), expected);
    }
}
