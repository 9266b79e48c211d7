//! Ten thousand connections that ask nothing: who asks something is served, and nothing is kept.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::program::{Program, furnish};

const PROJECT: &str = "cloudresourcemanager.googleapis.com/v1/projects/local";
/// Connections that the gateway, the proxy, Cloud SQL's port and the admin port keep at once.
const MOST: usize = 1024 + 2 * 1024 + 512 + 64;
/// What the program may hold beside them, and what may be on its way.
const BESIDE: usize = 200;
/// Twice what all places cost when they are taken.
const MOST_MEMORY_KIB: u64 = 96 << 10;
/// Longer than a machine that is busy with other things takes to close some thousand sockets.
const PATIENCE: Duration = Duration::from_secs(60);

/// Some say nothing, some begin a handshake and stop, some finish it and stop.
async fn crowd(program: &Program) -> Vec<Box<dyn Send>> {
    let mut crowd: Vec<Box<dyn Send>> = Vec::new();
    for _ in 0..50 {
        crowd.push(Box::new(program.tls("storage.googleapis.com").await));
    }
    let tunnel = b"CONNECT storage.googleapis.com:443 HTTP/1.1\r\nHost: x\r\n\r\n";
    for (port, count, words) in [
        (&program.gateway, 10_000, &[0x16, 3, 1][..]),
        (&program.proxy, 1_500, tunnel),
        (&program.sql, 1_500, &[0x16, 3, 1]),
        (&program.admin, 500, b"GET"),
    ] {
        for number in 0..count {
            let mut stream = TcpStream::connect(port).await.unwrap();
            if number % 2 == 0 {
                // It may have had to make room already.
                drop(stream.write_all(words).await);
            }
            crowd.push(Box::new(stream));
        }
    }
    crowd
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_stop_nobody_and_leave_nothing_behind() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    let program = Program::start(folder.path());
    assert_eq!(program.get(PROJECT).await.0, 200);
    let (descriptors, memory_kib) = (program.descriptors(), program.resident_kib());

    let crowd = crowd(&program).await;
    assert_eq!(program.get(PROJECT).await.0, 200);
    let (held, held_kib) = (program.descriptors(), program.resident_kib());
    assert!(held <= MOST + BESIDE, "{held} descriptors");
    assert!(held_kib <= memory_kib + MOST_MEMORY_KIB, "{memory_kib} KiB became {held_kib} KiB");

    drop(crowd);
    let given_back = async {
        // A request at a time, until the program has seen everybody go.
        while program.descriptors() > descriptors + 8 {
            program.operate("GET", "/healthz", &Value::Null).await.unwrap();
        }
    };
    let given_back = tokio::time::timeout(PATIENCE, given_back).await;
    assert!(given_back.is_ok(), "{descriptors} descriptors became {}", program.descriptors());
    assert_eq!(program.get(PROJECT).await.0, 200);
}
