//! One endless stream of what happens to the objects of one kind: list, watch, and again.

use crate::observed::Kind;
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

/// What a stream tells.
#[derive(Debug)]
pub(crate) enum Message {
    /// All there is: what is not in it is gone.
    Listed { kind: Kind, items: Vec<Value> },
    /// A new or changed object.
    Applied { kind: Kind, object: Value },
    /// An object that is gone.
    Deleted { kind: Kind, object: Value },
    /// The server does not answer.
    Lost { kind: Kind, error: String },
    /// It answers again.
    Found { kind: Kind },
}

/// Which objects a stream is about.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) labels: Option<String>,
}

/// All objects, and the version of the list to watch from.
pub(crate) async fn list(
    client: &Client,
    kind: Kind,
    namespace: &str,
    labels: Option<&str>,
) -> kube::Result<(Vec<Value>, String)> {
    let (group, plural) = kind.resource();
    list_at(client, &format!("{group}/namespaces/{namespace}/{plural}"), labels).await
}

/// As [`list`], of any resource.
pub(crate) async fn list_at(
    client: &Client,
    path: &str,
    labels: Option<&str>,
) -> kube::Result<(Vec<Value>, String)> {
    let params = ListParams { label_selector: labels.map(str::to_owned), ..ListParams::default() };
    let request = Request::new(path).list(&params).map_err(kube::Error::BuildRequest)?;
    let mut answer: Value = client.request(request).await?;
    let version = crate::fields::text(&answer, "/metadata/resourceVersion").to_owned();
    let items = match answer.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    Ok((items, version))
}

/// How one watch ended.
enum End {
    /// The server closed it, as it does every few minutes: go on from this version.
    At(String),
    /// The version is too old: list again.
    TooOld,
    /// The connection broke.
    Broken(kube::Error, String),
    /// Nobody listens any more.
    Unheard,
}

/// Follows a kind until nobody listens. Begins with a list unless given the version of one.
pub(crate) async fn follow(
    client: Client,
    selection: Selection,
    mut version: Option<String>,
    out: UnboundedSender<Message>,
) {
    let kind = selection.kind;
    let mut pause = None;
    loop {
        let from = match version.take() {
            Some(version) => version,
            None => {
                match list(&client, kind, &selection.namespace, selection.labels.as_deref()).await {
                    Ok((items, version)) => {
                        if !tell(&out, &mut pause, Message::Listed { kind, items }) {
                            return;
                        }
                        version
                    }
                    Err(error) => {
                        if !lost(&out, kind, &error, &mut pause).await {
                            return;
                        }
                        continue;
                    }
                }
            }
        };
        match watch(&client, &selection, from, &out, &mut pause).await {
            End::At(at) => version = Some(at),
            End::TooOld => {}
            End::Unheard => return,
            End::Broken(error, at) => {
                version = Some(at);
                if !lost(&out, kind, &error, &mut pause).await {
                    return;
                }
            }
        }
    }
}

/// Sends a message; a first message after a failure is preceded by the news that all is well again.
fn tell(out: &UnboundedSender<Message>, pause: &mut Option<Duration>, message: Message) -> bool {
    let kind = match &message {
        Message::Listed { kind, .. }
        | Message::Applied { kind, .. }
        | Message::Deleted { kind, .. }
        | Message::Lost { kind, .. }
        | Message::Found { kind } => *kind,
    };
    if pause.take().is_some() && out.send(Message::Found { kind }).is_err() {
        return false;
    }
    matches!(message, Message::Found { .. }) || out.send(message).is_ok()
}

/// Says so, and waits a little before the next attempt.
#[expect(
    clippy::disallowed_methods,
    reason = "a server that is down has nothing to watch; this is the pause between attempts"
)]
async fn lost(
    out: &UnboundedSender<Message>,
    kind: Kind,
    error: &kube::Error,
    pause: &mut Option<Duration>,
) -> bool {
    let next = pause.map_or(FIRST_PAUSE, |it| (it * 2).min(LONGEST_PAUSE));
    *pause = Some(next);
    let error = error_chain(error);
    if out.send(Message::Lost { kind, error }).is_err() {
        return false;
    }
    tokio::time::sleep(next).await;
    !out.is_closed()
}

async fn watch(
    client: &Client,
    selection: &Selection,
    mut version: String,
    out: &UnboundedSender<Message>,
    pause: &mut Option<Duration>,
) -> End {
    let kind = selection.kind;
    let (group, plural) = kind.resource();
    let path = format!("{group}/namespaces/{}/{plural}", selection.namespace);
    let params = WatchParams {
        label_selector: selection.labels.clone(),
        bookmarks: true,
        timeout: Some(WATCH_SECONDS),
        ..WatchParams::default()
    };
    let request = match Request::new(path).watch(&params, &version) {
        Ok(request) => request,
        Err(error) => return End::Broken(kube::Error::BuildRequest(error), version),
    };
    let events = match client.request_events::<Value>(request).await {
        Ok(events) => events,
        Err(kube::Error::Api(status)) if status.code == 410 => return End::TooOld,
        Err(error) => return End::Broken(error, version),
    };
    pin_mut!(events);
    // The server has accepted the watch, even if nothing happens for minutes.
    if !tell(out, pause, Message::Found { kind }) {
        return End::Unheard;
    }
    // A connection that died without a word ends no watch: nothing comes, not even the end.
    let longest_silence = Duration::from_secs(u64::from(WATCH_SECONDS) + 10);
    loop {
        let next = match tokio::time::timeout(longest_silence, events.try_next()).await {
            Ok(Ok(Some(next))) => next,
            Ok(Ok(None)) | Err(_) => return End::At(version),
            Ok(Err(error)) => return End::Broken(error, version),
        };
        let message = match next {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                version_of(&object, &mut version);
                Message::Applied { kind, object }
            }
            WatchEvent::Deleted(object) => {
                version_of(&object, &mut version);
                Message::Deleted { kind, object }
            }
            WatchEvent::Bookmark(mark) => {
                version = mark.metadata.resource_version;
                continue;
            }
            WatchEvent::Error(status) if status.code == 410 => return End::TooOld,
            WatchEvent::Error(status) => return End::Broken(kube::Error::Api(status), version),
        };
        if !tell(out, pause, message) {
            return End::Unheard;
        }
    }
}

fn version_of(object: &Value, version: &mut String) {
    let newer = crate::fields::text(object, "/metadata/resourceVersion");
    if !newer.is_empty() {
        newer.clone_into(version);
    }
}

/// An error with all its causes, on one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
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
