//! Operations: most are done when they are answered, a restart takes its time.

use std::time::Duration;

use hyper::Response;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

use super::resource::{hex, link};
use super::{Call, words};
use crate::body::{self, Body};
use crate::clock;
use crate::error::Error;
use crate::state::{Operation, State};

const SERVICE: &str = "sqladmin.googleapis.com";
/// Google lists them for some time as well; older ones make room.
const KEPT: usize = 200;

/// What an operation did.
pub(super) struct Deed<'a> {
    /// `CREATE_DATABASE`.
    pub(super) kind: &'a str,
    pub(super) instance: &'a str,
    /// What it was done to: `instances/I/databases/D`.
    pub(super) target: String,
    /// How long it takes from now.
    pub(super) takes: Duration,
}

/// Writes an operation into the state.
pub(super) fn record(call: &Call, state: &mut State, deed: &Deed<'_>) -> Result<Operation, Error> {
    let now = call.cloud().now();
    let created = clock::seconds(now);
    let name = uuid()?;
    let body = json!({
        "kind": "sql#operation",
        "name": name,
        "operationType": deed.kind,
        "targetId": deed.instance,
        "targetProject": call.project,
        "targetLink": link(&call.project, &deed.target),
        "selfLink": link(&call.project, &format!("operations/{name}")),
        "user": call.context.caller.to_string(),
        "insertTime": clock::rfc3339_millis(now),
        "startTime": clock::rfc3339_millis(now),
        "endTime": clock::rfc3339_millis(now + deed.takes),
    });
    let done = created + deed.takes.as_secs();
    let project = call.project.clone();
    let operation = Operation { name, project, created, done, body };
    state.operations.insert(key(&operation.name), operation.clone());
    make_room(state);
    Ok(operation)
}

fn make_room(state: &mut State) {
    let mut all: Vec<(u64, String)> =
        state.operations.prefix(&key("")).map(|(key, it)| (it.created, key.to_owned())).collect();
    if all.len() <= KEPT {
        return;
    }
    all.sort();
    for (_, key) in all.iter().take(all.len() - KEPT) {
        state.operations.remove(key);
    }
}

fn key(name: &str) -> String {
    format!("{SERVICE}/{name}")
}

fn uuid() -> Result<String, Error> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::internal("No random numbers."))?;
    let text = hex(&bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| text.get(range).unwrap_or(""));
    Ok(parts.join("-"))
}

/// The operation as it stands now.
pub(super) fn answer(call: &Call, operation: &Operation) -> Response<Body> {
    body::ok(&shown(call, operation))
}

fn shown(call: &Call, operation: &Operation) -> Value {
    let mut body = operation.body.clone();
    let done = clock::seconds(call.cloud().now()) >= operation.done;
    body["status"] = Value::from(if done { "DONE" } else { "RUNNING" });
    if !done && let Some(fields) = body.as_object_mut() {
        fields.remove("endTime");
    }
    body
}

pub(super) fn get(call: &Call, name: &str) -> Result<Response<Body>, Error> {
    call.require_on_project("cloudsql.instances.get")?;
    let state = call.cloud().state();
    let found = state.operations.get(&key(name)).filter(|it| it.project == call.project);
    Ok(answer(call, found.ok_or_else(words::not_found)?))
}

/// The newest first, of one instance when it is named.
pub(super) fn list(call: &Call) -> Result<Response<Body>, Error> {
    call.require_on_project("cloudsql.instances.get")?;
    let state = call.cloud().state();
    let instance = call.query.get("instance");
    let mut found: Vec<&Operation> = state
        .operations
        .prefix(&key(""))
        .map(|(_, it)| it)
        .filter(|it| it.project == call.project)
        .filter(|it| instance.is_none_or(|instance| it.body["targetId"] == instance))
        .collect();
    found.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.name.cmp(&b.name)));
    // Rows are numbered so that a page's token is in their order.
    let rows = found.into_iter().enumerate();
    let rows = rows.map(|(at, it)| (format!("{at:06}"), shown(call, it))).collect();
    let (items, next) = call.query.page(rows);
    let mut answer = json!({ "kind": "sql#operationsList", "items": items });
    if let Some(next) = next {
        answer["nextPageToken"] = Value::from(next);
    }
    Ok(body::ok(&answer))
}
