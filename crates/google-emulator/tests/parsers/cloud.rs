//! A cloud for a parser's check, and one request to it.

use std::cell::RefCell;
use std::sync::Arc;

use google_emulator::body;
use google_emulator::clock;
use google_emulator::cloud::{Cloud, Config, Upstreams};
use google_emulator::gateway;
use google_emulator::key_source::{KeySource, Place};
use google_emulator::log::Log;
use google_emulator::world::World;
use http_body_util::BodyExt as _;
use hyper::Request;
use serde_json::Value;

pub(crate) const NOW: u64 = 1_900_000_000;
/// The log of a cloud in memory keeps every line, so a long run needs a new cloud now and then.
const CHECKS_OF_A_CLOUD: usize = 2_000;
/// Tokens among the seeds are sealed with it.
const SEALING_KEY: [u8; 32] = *b"a key that is no secret to tests";
const WORLD: &str = r#"
project: {id: local, number: 123456789012, region: europe-north1, zone: europe-north1-a, cluster: c}
kubernetes: {issuer: "https://kubernetes.default.svc.cluster.local"}
services: [storage.googleapis.com]
bindings:
  - {on: project, role: roles/owner, members: ["user:owner@example.com"]}
"#;

thread_local! {
    static CURRENT: RefCell<Option<(Arc<Cloud>, usize)>> = const { RefCell::new(None) };
}

/// The cloud of this thread; it believes tokens that were signed with `keys`.
pub(crate) fn cloud(keys: &Value) -> Arc<Cloud> {
    CURRENT.with_borrow_mut(|current| match current {
        Some((cloud, uses)) if *uses < CHECKS_OF_A_CLOUD => {
            *uses += 1;
            Arc::clone(cloud)
        }
        _ => {
            let cloud = open(keys);
            *current = Some((Arc::clone(&cloud), 1));
            cloud
        }
    })
}

fn open(keys: &Value) -> Arc<Cloud> {
    // Nothing in these checks is written, so the folder may go at once.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token.key"), SEALING_KEY).unwrap();
    let clock = Arc::new(clock::Set::at(clock::at(NOW)));
    let config = Config {
        world: World::parse(WORLD).unwrap(),
        state_folder: folder.path().to_owned(),
        clock: clock.clone(),
        log: Log::memory(clock),
        upstreams: Upstreams::default(),
        keys: KeySource::new(Place::Given(keys.clone())),
    };
    Cloud::open(config).unwrap()
}

/// Sends a request to the gateway; the answer's status and body.
pub(crate) fn ask(
    cloud: &Arc<Cloud>,
    request: hyper::http::request::Builder,
    body: Vec<u8>,
) -> (u16, Vec<u8>) {
    let request: Request<body::Body> = request.body(body::full(body)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let response = gateway::answer(cloud, request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    })
}
