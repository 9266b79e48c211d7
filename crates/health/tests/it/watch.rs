//! The wait, against a server that can be closed, compacted and restarted.

use crate::{objects::*, server::Server};
use health::{
    Kind, Rules, Target, Verdict, Watcher,
    budget::Allowances,
    watch::{Change, Outcome},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn targets() -> Vec<Target> {
    vec![Target::new(Kind::Deployment, "mlflow")]
}

/// Waits, and lets the cluster go on whenever a target stands otherwise: `react` hears the reason.
async fn play(watcher: &mut Watcher, mut react: impl FnMut(&str)) -> (Outcome, Vec<String>) {
    let mut told = Vec::new();
    let outcome = watcher
        .wait(&targets(), Instant::now() + LONG, |change| {
            let Change::Verdict { verdict, .. } = change else { return };
            let reason = verdict.cause().map_or("healthy", |it| it.reason.as_str());
            react(reason);
            told.push(reason.to_owned());
        })
        .await
        .unwrap();
    (outcome, told)
}

/// Opens a watcher whose watches have all arrived at the server, so that closing them means something.
async fn open_fully(server: &Server) -> Watcher {
    let watcher = Watcher::open(server.client(), "mlflow").await.unwrap();
    let watches = || server.requests().iter().filter(|it| it.contains("watch=true")).count();
    while watches() < Kind::ALL.len() {
        tokio::task::yield_now().await;
    }
    watcher
}

fn crashing(exits: u32) -> Value {
    match exits {
        1 => pod("new", json!({"state": ended(1, 0, 5)})),
        _ => {
            let mut container = restarted(1, ended(1, 0, 5));
            container["state"] = ended(1, 50, 52);
            pod("new", container)
        }
    }
}

#[tokio::test]
async fn healthy_target_returns_at_once() {
    let server = Server::start().await;
    server.put(available("mlflow", 5));
    let mut watcher = Watcher::open(server.client(), "mlflow").await.unwrap();
    let (outcome, told) = play(&mut watcher, |_| {}).await;
    assert!(outcome.is_healthy());
    assert_eq!(told, ["healthy"]);
}

#[tokio::test]
async fn waits_until_the_deployment_is_available() {
    let server = Server::start().await;
    server.put(deployment());
    let mut watcher = Watcher::open(server.client(), "mlflow").await.unwrap();
    let react = |reason: &str| {
        if reason == "LessReady" {
            server.put(available("mlflow", 5));
        }
    };
    let (outcome, told) = play(&mut watcher, react).await;
    assert!(outcome.is_healthy());
    assert_eq!(told, ["LessReady", "healthy"]);
}

#[tokio::test]
async fn second_crash_is_doomed() {
    let server = Server::start().await;
    let mut watcher = Watcher::open(server.client(), "mlflow").await.unwrap();
    // After the watch was opened, as a deploy does it.
    server.put(deployment());
    server.put(replica_set("new", 2));
    server.put(crashing(1));
    let mut exits = 1;
    let react = |reason: &str| {
        if reason == "CrashLoopBackOff" && exits == 1 {
            exits = 2;
            server.put(crashing(exits));
        }
    };
    let (outcome, _) = play(&mut watcher, react).await;
    assert_eq!(exits, 2, "the first crash alone ended the wait");
    let (target, verdict) = outcome.failures().next().unwrap();
    assert_eq!(target.to_string(), "deployment/mlflow");
    assert!(matches!(verdict, Verdict::Doomed(cause) if cause.exit_code == Some(1)), "{verdict:?}");
}

#[tokio::test]
async fn old_generation_is_not_believed() {
    let server = Server::start().await;
    server.put(available("mlflow", 5));
    let mut watcher = Watcher::open(server.client(), "mlflow").await.unwrap();
    let mut newer = available("mlflow", 5);
    newer["metadata"]["generation"] = json!(3);
    let target = Target::written(&newer).unwrap();
    newer["status"]["observedGeneration"] = json!(3);
    let mut told = Vec::new();
    let outcome = watcher
        .wait(&[target], Instant::now() + LONG, |change| {
            let Change::Verdict { verdict, .. } = change else { return };
            if verdict.cause().is_some_and(|it| it.reason == "StaleGeneration") {
                server.put(newer.clone());
            }
            told.push(verdict.word());
        })
        .await
        .unwrap();
    assert!(outcome.is_healthy());
    assert_eq!(told, ["waiting", "healthy"]);
}

#[tokio::test]
async fn version_that_is_too_old_is_listed_anew() {
    let server = Server::start().await;
    let doomed = pod("new", waiting("ErrImageNeverPull", "not present"));
    server.put(deployment());
    server.put(replica_set("new", 2));
    server.put(doomed.clone());
    let mut watcher = open_fully(&server).await;
    // Each kind is listed anew in its own time, so there may be another wait in between.
    let mut is_gone = false;
    let outcome = watcher
        .wait(&targets(), Instant::now() + LONG, |change| {
            let is_waiting =
                matches!(change, Change::Verdict { verdict, .. } if verdict.is_waiting());
            if is_waiting && !std::mem::replace(&mut is_gone, true) {
                // Gone without an event that could be replayed.
                server.close_watches();
                server.delete(&doomed);
                server.put(available("mlflow", 5));
                server.compact();
            }
        })
        .await
        .unwrap();
    assert!(outcome.is_healthy(), "{outcome:?}");
    assert_eq!(watcher.snapshot().list(Kind::Pod).count(), 0);
}

#[tokio::test]
async fn server_that_restarts_is_waited_for() {
    let mut server = Server::start().await;
    server.put(deployment());
    let mut watcher = Watcher::open(server.client(), "mlflow").await.unwrap();
    server.stop().await;
    let (sender, mut lost) = tokio::sync::mpsc::unbounded_channel();
    let mut told = Vec::new();
    let targets = targets();
    let waiting = watcher.wait(&targets, Instant::now() + LONG, |change| match change {
        Change::Disconnected { .. } => {
            told.push("disconnected");
            sender.send(()).unwrap();
        }
        Change::Reconnected => told.push("reconnected"),
        Change::Verdict { .. } => {}
    });
    let restarting = async {
        lost.recv().await.unwrap();
        server.put(available("mlflow", 5));
        server.restart().await;
    };
    let (outcome, ()) = tokio::join!(waiting, restarting);
    assert!(outcome.unwrap().is_healthy());
    assert_eq!(told.first(), Some(&"disconnected"));
}

#[tokio::test]
async fn deadline_makes_what_is_not_healthy_late() {
    let server = Server::start().await;
    server.put(deployment());
    let mut watcher = Watcher::open(server.client(), "mlflow").await.unwrap();
    let deadline = Instant::now() + Duration::from_millis(20);
    let outcome = watcher.wait(&targets(), deadline, |_| {}).await.unwrap();
    let (_, verdict) = outcome.failures().next().unwrap();
    assert!(matches!(verdict, Verdict::Late(cause) if cause.reason == "LessReady"), "{verdict:?}");
}

#[tokio::test]
async fn budget_of_the_pod_ends_the_wait_before_the_deadline() {
    let server = Server::start().await;
    server.put(deployment());
    server.put(replica_set("new", 2));
    server.put(pod("new", waiting("ContainerCreating", "")));
    let image_pull = Duration::from_millis(20);
    let rules =
        Rules { allow: Allowances { image_pull, ..Allowances::default() }, ..Rules::default() };
    let watcher = Watcher::open(server.client(), "mlflow").await.unwrap();
    let mut watcher = watcher.with_rules(rules);
    let (outcome, _) = play(&mut watcher, |_| {}).await;
    let (_, verdict) = outcome.failures().next().unwrap();
    assert!(matches!(verdict, Verdict::Late(cause) if cause.reason == "ContainerCreating"));
    assert!(outcome.took < LONG);
}

#[tokio::test]
async fn one_watcher_serves_wave_after_wave() {
    let server = Server::start().await;
    let mut watcher = Watcher::open(server.client(), "mlflow").await.unwrap();
    let lists = server.requests().len();
    for name in ["postgres", "mlflow"] {
        server.put(available(name, 5));
        let target = Target::new(Kind::Deployment, name);
        let outcome = watcher.wait(&[target], Instant::now() + LONG, |_| {}).await.unwrap();
        assert!(outcome.is_healthy());
    }
    let more: Vec<String> =
        server.requests().into_iter().skip(lists).filter(|it| !it.contains("watch=true")).collect();
    assert_eq!(more, Vec::<String>::new());
}

#[tokio::test]
async fn status_sees_old_crashes_that_a_wait_does_not_count() {
    let server = Server::start().await;
    server.put(deployment());
    server.put(replica_set("new", 2));
    server.put(crashing(2));
    let mut watcher = Watcher::open(server.client(), "mlflow").await.unwrap();
    assert_eq!(watcher.verdicts(&targets())[0].1.word(), "doomed");
    let deadline = Instant::now() + Duration::from_millis(20);
    let outcome = watcher.wait(&targets(), deadline, |_| {}).await.unwrap();
    assert_eq!(outcome.verdicts[0].1.word(), "late");
}
