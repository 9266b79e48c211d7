//! One endless stream of what happens to the objects of one kind: list, watch, and again.

use futures::{TryStreamExt as _, pin_mut};
use kube::{
    Client,
    core::{
        Request, WatchEvent,
        params::{ListParams, WatchParams},
    },
};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// An API server that restarts is back within seconds, and is not to be hammered meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long the server keeps a silent watch open; then we ask for the next one.
const WATCH_SECONDS: u32 = 290;

/// What a stream is about.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    resource: &'static str,
    fields: Option<String>,
}

/// The pods of a node.
pub(super) fn pods(node: &str) -> Selection {
    Selection { resource: "pods", fields: Some(format!("spec.nodeName={node}")) }
}

/// All service accounts: nothing in them says on which node they are used.
pub(super) fn service_accounts() -> Selection {
    Selection { resource: "serviceaccounts", fields: None }
}

/// What a stream tells.
#[derive(Debug)]
pub(in super::super) enum Message {
    /// All there is: what is not in it is gone.
    Listed { resource: &'static str, items: Vec<Value> },
    /// A new or changed object.
    Applied { resource: &'static str, object: Value },
    /// An object that is gone.
    Deleted { resource: &'static str, object: Value },
    /// The server does not answer.
    Lost { resource: &'static str, error: String },
}

/// Follows a kind until nobody listens.
#[expect(
    clippy::disallowed_methods,
    reason = "a server that is down has nothing to watch; this is the pause between attempts"
)]
pub(super) async fn follow(client: Client, selection: Selection, out: UnboundedSender<Message>) {
    let resource = selection.resource;
    let mut version = None;
    let mut pause = FIRST_PAUSE;
    while !out.is_closed() {
        let error = match once(&client, &selection, &mut version, &out).await {
            Ok(()) => {
                pause = FIRST_PAUSE;
                continue;
            }
            Err(kube::Error::Api(status)) if status.code == 410 => {
                version = None;
                continue;
            }
            Err(error) => error,
        };
        let _ = out.send(Message::Lost { resource, error: error_chain(&error) });
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One list, if there is no version to go on from, and one watch until its end.
async fn once(
    client: &Client,
    selection: &Selection,
    version: &mut Option<String>,
    out: &UnboundedSender<Message>,
) -> kube::Result<()> {
    let from = match version.take() {
        Some(from) => from,
        None => list(client, selection, out).await?,
    };
    watch(client, selection, version.insert(from), out).await
}

async fn list(
    client: &Client,
    selection: &Selection,
    out: &UnboundedSender<Message>,
) -> kube::Result<String> {
    let resource = selection.resource;
    let params = ListParams { field_selector: selection.fields.clone(), ..ListParams::default() };
    let request = Request::new(format!("/api/v1/{resource}")).list(&params);
    let mut answer: Value = client.request(request.map_err(kube::Error::BuildRequest)?).await?;
    let version = text(&answer, "/metadata/resourceVersion").to_owned();
    let items = match answer.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let _ = out.send(Message::Listed { resource, items });
    Ok(version)
}

async fn watch(
    client: &Client,
    selection: &Selection,
    version: &mut String,
    out: &UnboundedSender<Message>,
) -> kube::Result<()> {
    let resource = selection.resource;
    let params = WatchParams {
        field_selector: selection.fields.clone(),
        bookmarks: true,
        timeout: Some(WATCH_SECONDS),
        ..WatchParams::default()
    };
    let request = Request::new(format!("/api/v1/{resource}")).watch(&params, version);
    let request = request.map_err(kube::Error::BuildRequest)?;
    let events = client.request_events::<Value>(request).await?;
    pin_mut!(events);
    // A connection that died without a word ends no watch: nothing comes, not even the end.
    let longest_silence = Duration::from_secs(u64::from(WATCH_SECONDS) + 10);
    loop {
        let Ok(next) = tokio::time::timeout(longest_silence, events.try_next()).await else {
            return Ok(());
        };
        let message = match next? {
            None => return Ok(()),
            Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                advance(version, text(&object, "/metadata/resourceVersion"));
                Message::Applied { resource, object }
            }
            Some(WatchEvent::Deleted(object)) => {
                advance(version, text(&object, "/metadata/resourceVersion"));
                Message::Deleted { resource, object }
            }
            Some(WatchEvent::Bookmark(mark)) => {
                *version = mark.metadata.resource_version;
                continue;
            }
            Some(WatchEvent::Error(status)) => return Err(kube::Error::Api(status)),
        };
        if out.send(message).is_err() {
            return Ok(());
        }
    }
}

fn advance(version: &mut String, to: &str) {
    if !to.is_empty() {
        to.clone_into(version);
    }
}

/// The text at a place, empty if there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// An error with all its causes, on one line.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        let text = it.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = it.source();
    }
    line
}
