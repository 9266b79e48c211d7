//! The loop against a server that answers from a script, in time that passes only when all wait.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not find ends the test")]

mod script;

use script::{Answer, Heard, object, play, play_from, play_while};
use serde_json::json;
use watch::{Message, Selection};

/// The kinds of messages in order, with the names of their objects.
fn words(heard: &Heard) -> Vec<String> {
    let name = |it: &serde_json::Value| it["metadata"]["name"].as_str().unwrap().to_owned();
    let word = |message: &Message| match message {
        Message::Listed(items) => {
            format!("listed {}", items.iter().map(name).collect::<Vec<_>>().join(" "))
        }
        Message::Applied(it) => format!("applied {}", name(it)),
        Message::Deleted(it) => format!("deleted {}", name(it)),
        Message::Lost(_) => "lost".to_owned(),
        Message::Found => "found".to_owned(),
    };
    heard.messages.iter().map(word).collect()
}

/// What is told and what was asked, for these answers.
#[track_caller]
fn check(heard: &Heard, told: &[&str], asked: &[&str]) {
    assert_eq!((words(heard), heard.questions()), (owned(told), owned(asked)));
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|it| (*it).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_told_and_then_every_change() {
    let events = Answer::events([
        ("ADDED", object("b", 8)),
        ("MODIFIED", object("a", 9)),
        ("DELETED", object("b", 10)),
    ]);
    let heard = play(vec![Answer::list(7, &["a"]), events]).await;
    check(&heard, &["listed a", "applied b", "applied a", "deleted b"], &["list", "watch from 7"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_goes_on_from_where_it_was() {
    let change = Answer::events([("MODIFIED", object("a", 9))]);
    let bookmark = Answer::events([("BOOKMARK", object("", 12))]);
    let heard = play(vec![Answer::list(7, &["a"]), change, bookmark, Answer::events([])]).await;
    let asked = ["list", "watch from 7", "watch from 9", "watch from 12"];
    check(&heard, &["listed a", "applied a"], &asked);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_known_needs_no_list() {
    let change = Answer::events([("ADDED", object("a", 4))]);
    let heard = play_from(Some("3"), vec![change]).await;
    check(&heard, &["applied a"], &["watch from 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_is_listed_anew_and_is_no_failure() {
    let gone = json!({"kind": "Status", "code": 410, "reason": "Expired"});
    for too_old in [Answer::Status(410), Answer::events([("ERROR", gone)])] {
        let again = Answer::list(20, &["b"]);
        let answers = vec![Answer::list(7, &["a"]), too_old, again, Answer::events([])];
        let heard = play(answers).await;
        let asked = ["list", "watch from 7", "list", "watch from 20"];
        check(&heard, &["listed a", "listed b"], &asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_asked_less_and_less_often_until_it_answers() {
    let mut answers: Vec<Answer> = (0..7).map(|_| Answer::Refused).collect();
    answers.extend([Answer::list(7, &["a"]), Answer::events([])]);
    let heard = play(answers).await;
    let told = ["lost", "lost", "lost", "lost", "lost", "lost", "lost", "found", "listed a"];
    assert_eq!(words(&heard), told);
    let pauses_ms: Vec<u128> =
        heard.asked.windows(2).map(|it| (it[1].0 - it[0].0).as_millis()).collect();
    assert_eq!(pauses_ms, [50, 100, 200, 400, 800, 1000, 1000, 0]);
    assert!(matches!(&heard.messages[0], Message::Lost(why) if why.ends_with("nobody listens")));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_told_and_nothing_is_listed_anew() {
    let forbidden = json!({"kind": "Status", "code": 500, "message": "etcd is gone"});
    for broken in [
        Answer::broken([("ADDED", object("b", 8))]),
        Answer::events([("ADDED", object("b", 8)), ("ERROR", forbidden)]),
    ] {
        let answers = vec![
            Answer::list(7, &["a"]),
            broken,
            Answer::Refused,
            Answer::Status(500),
            Answer::events([]),
            Answer::Refused,
            Answer::events([]),
        ];
        let heard = play(answers).await;
        let told = ["listed a", "applied b", "lost", "lost", "lost", "found", "lost", "found"];
        let mut asked = vec!["list", "watch from 7"];
        asked.extend(["watch from 8"; 5]);
        check(&heard, &told, &asked);
        let last_pause = heard.asked[6].0 - heard.asked[5].0;
        assert_eq!(last_pause.as_millis(), 50, "an answer ends the doubling");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_has_died_without_a_word_is_opened_anew() {
    let silent = Answer::silent([("ADDED", object("b", 8))]);
    let heard = play(vec![Answer::list(7, &["a"]), silent, Answer::events([])]).await;
    check(&heard, &["listed a", "applied b"], &["list", "watch from 7", "watch from 8"]);
    assert_eq!((heard.asked[2].0 - heard.asked[1].0).as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_answers_is_asked_again() {
    let answers = vec![
        Answer::Silence,
        Answer::list(7, &["a"]),
        Answer::Silence,
        Answer::events([("ADDED", object("b", 8))]),
    ];
    let heard = play(answers).await;
    let told = ["lost", "found", "listed a", "lost", "found", "applied b"];
    check(&heard, &told, &["list", "list", "watch from 7", "watch from 7"]);
    assert_eq!(heard.messages[0], Message::Lost("no answer within 60 s".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_watch_at_once_is_not_hammered() {
    let ends = (0..20).map(|_| Answer::events([]));
    let heard = play([Answer::list(7, &[])].into_iter().chain(ends).collect()).await;
    let took = heard.asked[20].0 - heard.asked[1].0;
    assert_eq!(took.as_millis(), 19 * 50);
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_listens_any_more() {
    let answers = || {
        let change = ("ADDED", object("b", 8));
        vec![Answer::list(7, &["a"]), Answer::Refused, Answer::events([change])]
    };
    let told = ["listed a", "lost", "found", "applied b"];
    for heard_messages in 1..=told.len() {
        let heard = play_while(answers(), heard_messages).await;
        assert_eq!(words(&heard), told[..heard_messages]);
    }
}

#[tokio::test(start_paused = true)]
async fn every_question_is_about_the_selected_objects_alone() {
    let selection = Selection::new("/api/v1/namespaces/mlflow/pods")
        .labels("app=mlflow")
        .fields("spec.nodeName=n");
    let heard = script::play_of(selection, vec![Answer::list(7, &[]), Answer::events([])]).await;
    for (_, question) in &heard.asked {
        let (path, query) = question.split_once('?').unwrap();
        assert_eq!(path, "/api/v1/namespaces/mlflow/pods");
        assert!(query.contains("labelSelector=app%3Dmlflow"), "{query}");
        assert!(query.contains("fieldSelector=spec.nodeName%3Dn"), "{query}");
    }
    let (_, watch) = &heard.asked[1];
    assert!(watch.contains("allowWatchBookmarks=true"), "{watch}");
    assert!(watch.contains("timeoutSeconds=290"), "{watch}");
}
