//! An API server without a network: it gives the answers of a script, one after the other.

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{StreamBody, combinators::UnsyncBoxBody};
use hyper::{Request, Response, body::Frame};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use watch::{Message, Selection, follow};

/// What one question is answered with.
pub(crate) enum Answer {
    /// JSON, line by line, and how it ends.
    Lines(Vec<Value>, End),
    /// A failure with this code.
    Status(u16),
    /// The server cannot be reached.
    Refused,
    /// It takes the question and says nothing.
    Silence,
}

/// How the body of an answer ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Closed,
    Broken,
    Never,
}

type Event = (&'static str, Value);

impl Answer {
    pub(crate) fn list(version: u64, names: &[&str]) -> Answer {
        let items: Vec<Value> = names.iter().map(|it| object(it, version)).collect();
        let list = json!({"metadata": {"resourceVersion": version.to_string()}, "items": items});
        Answer::Lines(vec![list], End::Closed)
    }

    pub(crate) fn events<const N: usize>(events: [Event; N]) -> Answer {
        Answer::watch(events, End::Closed)
    }

    pub(crate) fn broken<const N: usize>(events: [Event; N]) -> Answer {
        Answer::watch(events, End::Broken)
    }

    pub(crate) fn silent<const N: usize>(events: [Event; N]) -> Answer {
        Answer::watch(events, End::Never)
    }

    fn watch<const N: usize>(events: [Event; N], end: End) -> Answer {
        let lines = events.map(|(kind, object)| json!({"type": kind, "object": object}));
        Answer::Lines(lines.to_vec(), end)
    }
}

pub(crate) fn object(name: &str, version: u64) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": name, "resourceVersion": version.to_string()},
    })
}

/// What came of a script.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) messages: Vec<Message>,
    /// The questions, and when they came.
    pub(crate) asked: Vec<(Duration, String)>,
}

impl Heard {
    /// The questions in short: `list`, `watch from 7`.
    pub(crate) fn questions(&self) -> Vec<String> {
        let short = |uri: &String| match uri.split_once("resourceVersion=") {
            Some((_, rest)) => format!("watch from {}", rest.split('&').next().unwrap()),
            None => "list".to_owned(),
        };
        self.asked.iter().map(|(_, uri)| short(uri)).collect()
    }
}

pub(crate) async fn play(answers: Vec<Answer>) -> Heard {
    play_from(None, answers).await
}

pub(crate) async fn play_from(version: Option<&str>, answers: Vec<Answer>) -> Heard {
    run(pods(), version, answers, usize::MAX).await
}

/// Hears so many messages and no more; the loop has to end by itself.
pub(crate) async fn play_while(answers: Vec<Answer>, messages: usize) -> Heard {
    run(pods(), None, answers, messages).await
}

pub(crate) async fn play_of(selection: Selection, answers: Vec<Answer>) -> Heard {
    run(selection, None, answers, usize::MAX).await
}

fn pods() -> Selection {
    Selection::new("/api/v1/pods")
}

/// Follows until the script has come to its end, or nobody listens.
async fn run(
    selection: Selection,
    version: Option<&str>,
    answers: Vec<Answer>,
    at_most: usize,
) -> Heard {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let over = Arc::new(Notify::new());
    let client = client(answers, Arc::clone(&heard), Arc::clone(&over));
    let hearing = Arc::clone(&heard);
    let following = follow(client, selection, version.map(str::to_owned), move |message| {
        let messages = &mut hearing.lock().unwrap().messages;
        messages.push(message);
        messages.len() < at_most
    });
    tokio::select! {
        () = following => assert_ne!(at_most, usize::MAX, "it has ended while somebody listened"),
        () = over.notified() => assert_eq!(at_most, usize::MAX, "it has not ended"),
    }
    std::mem::take(&mut heard.lock().unwrap())
}

fn client(answers: Vec<Answer>, heard: Arc<Mutex<Heard>>, over: Arc<Notify>) -> kube::Client {
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let begun = Instant::now();
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let answer = answers.lock().unwrap().pop_front();
        if answer.is_some() {
            let question = (begun.elapsed(), request.uri().to_string());
            heard.lock().unwrap().asked.push(question);
        } else {
            over.notify_one();
        }
        respond(answer.unwrap_or(Answer::Silence))
    });
    kube::Client::new(service, "default")
}

async fn respond(answer: Answer) -> io::Result<Response<UnsyncBoxBody<Bytes, io::Error>>> {
    let (code, lines, end) = match answer {
        Answer::Lines(lines, end) => (200, lines, end),
        Answer::Status(code) => {
            let status = json!({"kind": "Status", "code": code, "status": "Failure"});
            (code, vec![status], End::Closed)
        }
        Answer::Refused => return Err(io::Error::other("nobody listens")),
        Answer::Silence => std::future::pending().await,
    };
    let frame = |line: Value| Ok(Frame::data(Bytes::from(format!("{line}\n"))));
    let lines = stream::iter(lines.into_iter().map(frame));
    let end = match end {
        End::Closed => stream::empty().boxed(),
        End::Broken => stream::iter([Err(io::Error::other("torn"))]).boxed(),
        End::Never => stream::pending().boxed(),
    };
    let body = UnsyncBoxBody::new(StreamBody::new(lines.chain(end)));
    Ok(Response::builder().status(code).body(body).unwrap())
}
