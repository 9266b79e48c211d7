//! The loop: what ends a watch, and what comes after it.

use crate::{
    error_chain,
    request::{List, Selection, WATCH, list, version_of, watch},
};
use futures::{StreamExt as _, pin_mut};
use kube::{Client, core::WatchEvent};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// An API server that restarts is back within seconds, and is not to be hammered meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// An API server gives up a list after a minute (its `--request-timeout`) and accepts a watch at once:
/// after this time the connection has died without a word.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// The server would have ended the watch before: the connection has died without a word.
const LONGEST_SILENCE: Duration = Duration::from_secs(WATCH.as_secs() + 10);

/// What is told of the objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// All there is: what is not in it is gone.
    Listed(Vec<Value>),
    /// A new or changed object.
    Applied(Value),
    /// An object that is gone, or is no longer selected.
    Deleted(Value),
    /// The server does not answer, and why. It is asked again until it does.
    Lost(String),
    /// It answers again; what has changed meanwhile comes next.
    Found,
}

/// How one watch ended.
enum End {
    /// The server closed it, as it does every few minutes: go on from this version.
    At(String),
    /// The version is too old: list again.
    TooOld,
    /// The connection broke.
    Broken { why: String, version: String },
    /// Nobody listens any more.
    Unheard,
}

/// Follows objects until nobody listens, which `tell` says by returning `false`.
///
/// Begins with a list, unless given the version of one. A version that has become too old is
/// listed anew: a [`Message::Listed`] may come at any time.
pub async fn follow(
    client: Client,
    selection: Selection,
    from_version: Option<String>,
    tell: impl FnMut(Message) -> bool,
) {
    let mut listener = Listener { tell, pause: None };
    let mut version = from_version;
    loop {
        let from = match version.take() {
            Some(from) => from,
            None => match in_time(list(&client, &selection)).await {
                Ok(List { items, version }) => {
                    if !listener.hear(Message::Listed(items)) {
                        return;
                    }
                    version
                }
                Err(failure) => {
                    if !listener.lose(failure.why()).await {
                        return;
                    }
                    continue;
                }
            },
        };
        let begun = Instant::now();
        match once(&client, &selection, from, &mut listener).await {
            End::At(at) => {
                version = Some(at);
                breathe(begun).await;
            }
            End::TooOld => breathe(begun).await,
            End::Unheard => return,
            End::Broken { why, version: at } => {
                version = Some(at);
                if !listener.lose(why).await {
                    return;
                }
            }
        }
    }
}

/// One watch until its end.
async fn once<T: FnMut(Message) -> bool>(
    client: &Client,
    selection: &Selection,
    mut version: String,
    listener: &mut Listener<T>,
) -> End {
    let events = match in_time(watch(client, selection, &version)).await {
        Ok(events) => events,
        Err(failure) if failure.is_too_old() => return End::TooOld,
        Err(failure) => return End::Broken { why: failure.why(), version },
    };
    pin_mut!(events);
    if !listener.hear(Message::Found) {
        return End::Unheard;
    }
    loop {
        let next = match timeout(LONGEST_SILENCE, events.next()).await {
            Ok(Some(Ok(next))) => next,
            Ok(None) | Err(_) => return End::At(version),
            Ok(Some(Err(error))) => return End::Broken { why: error_chain(&error), version },
        };
        let message = match next {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Message::Applied(object),
            WatchEvent::Deleted(object) => Message::Deleted(object),
            WatchEvent::Bookmark(mark) => {
                version = mark.metadata.resource_version;
                continue;
            }
            WatchEvent::Error(status) => {
                let failure = Failure::Answered(kube::Error::Api(status));
                if failure.is_too_old() {
                    return End::TooOld;
                }
                return End::Broken { why: failure.why(), version };
            }
        };
        advance(&mut version, &message);
        if !listener.hear(message) {
            return End::Unheard;
        }
    }
}

/// The next watch begins after the last object that was told.
fn advance(version: &mut String, message: &Message) {
    if let Message::Applied(object) | Message::Deleted(object) = message
        && !version_of(object).is_empty()
    {
        version_of(object).clone_into(version);
    }
}

/// Why there is no answer.
enum Failure {
    Answered(kube::Error),
    Silent,
}

impl Failure {
    fn is_too_old(&self) -> bool {
        matches!(self, Failure::Answered(kube::Error::Api(status)) if status.code == 410)
    }

    fn why(&self) -> String {
        match self {
            Failure::Answered(error) => error_chain(error),
            Failure::Silent => format!("no answer within {} s", ANSWER_LIMIT.as_secs()),
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match timeout(ANSWER_LIMIT, answer).await {
        Ok(answer) => answer.map_err(Failure::Answered),
        Err(_) => Err(Failure::Silent),
    }
}

/// Who hears of it, and how long the next pause is; none while all is well.
struct Listener<T> {
    tell: T,
    pause: Option<Duration>,
}

impl<T: FnMut(Message) -> bool> Listener<T> {
    /// A first message after a failure is preceded by the news that all is well again; without a
    /// failure that is no news.
    fn hear(&mut self, message: Message) -> bool {
        if self.pause.take().is_some() && !(self.tell)(Message::Found) {
            return false;
        }
        message == Message::Found || (self.tell)(message)
    }

    /// Says so, and waits a little before the next attempt.
    async fn lose(&mut self, why: String) -> bool {
        let pause = self.pause.map_or(FIRST_PAUSE, |it| (it * 2).min(LONGEST_PAUSE));
        self.pause = Some(pause);
        let is_heard = (self.tell)(Message::Lost(why));
        if is_heard {
            wait(pause).await;
        }
        is_heard
    }
}

/// A server that ends every watch at once is not asked without a pause.
async fn breathe(begun: Instant) {
    if begun.elapsed() < FIRST_PAUSE {
        wait(FIRST_PAUSE).await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a server that is down has nothing to watch; this is the pause between attempts"
)]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}
