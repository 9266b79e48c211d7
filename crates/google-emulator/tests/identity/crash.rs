//! The program is killed at any moment, or its disk is full: every change that it answered is there
//! again, and no other.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{Program, furnish, operate};

async fn note(program: &Program, name: &str, value: &Value) -> (u16, Value) {
    let body = json!({ "value": value });
    program.operate("PUT", &format!("/notes/{name}"), &body).await.unwrap()
}

async fn noted(program: &Program, name: &str) -> Value {
    let (status, body) =
        program.operate("GET", &format!("/notes/{name}"), &Value::Null).await.unwrap();
    assert_eq!(status, 200);
    body["value"].clone()
}

fn length(folder: &Path, file: &str) -> u64 {
    fs::metadata(folder.join("state").join(file)).unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_that_was_answered_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    let mut answered = 0_u64;
    let mut authority: Option<Value> = None;
    for round in 0..12_u64 {
        let program = Program::start(folder.path());
        let found = noted(&program, "count").await.as_u64().unwrap_or(0);
        // A change whose answer was lost may be there; one that was answered must be.
        assert!(found >= answered, "round {round}: {found} of {answered}");
        assert!(found <= answered + 1, "round {round}: {found} of {answered}");
        let (_, ca) = program.operate("GET", "/authority", &Value::Null).await.unwrap();
        assert_eq!(*authority.get_or_insert_with(|| ca.clone()), ca);
        let admin = program.admin.clone();
        let writer = tokio::spawn(async move {
            let mut count = found;
            let put = |value: u64| json!({ "value": value });
            while let Some((status, _)) =
                operate(&admin, "PUT", "/notes/count", &put(count + 1)).await
            {
                assert_eq!(status, 200);
                count += 1;
            }
            count
        });
        let moment = tokio::time::Instant::now() + Duration::from_millis(5 + round * 7);
        tokio::time::sleep_until(moment).await;
        drop(program);
        answered = writer.await.unwrap();
    }
    assert!(answered > 0, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_finds_the_disk_full_is_refused_and_the_next_one_finds_room() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    let program = Program::start(folder.path());
    assert_eq!(note(&program, "count", &json!(1)).await.0, 200);
    let before = length(folder.path(), "journal");
    // Not even a whole line, so that there is something to take back.
    program.limit_files(Some(before + 10));
    for _ in 0..2 {
        let (status, answer) = note(&program, "count", &json!(2)).await;
        assert_eq!((status, &answer["error"]["status"]), (503, &json!("UNAVAILABLE")), "{answer}");
        assert_eq!(noted(&program, "count").await, 1);
        assert_eq!(length(folder.path(), "journal"), before);
    }
    // What changes nothing is served.
    let (status, _) = program.get("cloudresourcemanager.googleapis.com/v1/projects/local").await;
    assert_eq!(status, 200);
    program.limit_files(None);
    assert_eq!(note(&program, "count", &json!(3)).await.0, 200);
    assert_eq!(noted(&program, "count").await, 3);
    drop(program);
    let again = Program::start(folder.path());
    assert_eq!(noted(&again, "count").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_finds_no_room_leaves_the_room_to_the_journal() {
    const SNAPSHOT_AFTER: u64 = 4 << 20;
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    let program = Program::start(folder.path());
    let (fresh, long) = (length(folder.path(), "snapshot"), json!("x".repeat(1_000_000)));
    for name in ["a", "b", "c", "d"] {
        assert_eq!(note(&program, name, &long).await.0, 200);
    }
    // The journal becomes long enough for a snapshot, which would be longer still.
    let last = json!("x".repeat(300_000));
    let limit = length(folder.path(), "journal") + 300_000 + 500;
    assert!(fresh > 500 && limit > SNAPSHOT_AFTER);
    program.limit_files(Some(limit));
    assert_eq!(note(&program, "e", &last).await.0, 200);
    let journal = length(folder.path(), "journal");
    assert!(journal > SNAPSHOT_AFTER && length(folder.path(), "snapshot") == fresh);
    assert!(!folder.path().join("state/snapshot.tmp").exists());
    assert_eq!(note(&program, "f", &json!(5)).await.0, 200);
    assert!(length(folder.path(), "journal") > journal);
    program.limit_files(None);
    assert_eq!(note(&program, "f", &json!(6)).await.0, 200);
    assert_eq!(length(folder.path(), "journal"), 0);
    drop(program);
    let again = Program::start(folder.path());
    assert_eq!((noted(&again, "d").await, noted(&again, "f").await), (long, json!(6)));
}
