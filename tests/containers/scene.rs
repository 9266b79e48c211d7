//! One test: a name for all its containers and its network, a bound in time, and what is left over
//! when it fails (evidence to read, nothing to clean up).

use crate::container::Log;
use anyhow::Context as _;
use std::{
    cell::RefCell,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use testcontainers::{
    bollard::{
        Docker,
        query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder},
    },
    core::client::docker_client_instance,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
};

/// How many tests of one process hold containers at once. Each has a network, of which a daemon has
/// about thirty, and up to three servers.
static SLOTS: Semaphore = Semaphore::const_new(4);

/// Set by the first SIGINT or SIGTERM, so that the tests that have not begun end as well.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Far above what any test needs, also on a busy machine: a hang ends, and with evidence.
const LIMIT: Duration = Duration::from_secs(300);

/// What the containers of one test share.
pub(crate) struct Scene {
    /// The name of the network, and the beginning of every container's name.
    pub(crate) id: String,
    /// The daemon that testcontainers uses.
    pub(crate) docker: Docker,
    logs: RefCell<Vec<Log>>,
}

impl Scene {
    /// Keeps a log for the case that the test fails.
    pub(crate) fn keep(&self, log: Log) {
        self.logs.borrow_mut().push(log);
    }
}

/// Runs a test. Containers are removed when the test's variables go out of scope, which they do at
/// its end, when it panics and when it is interrupted.
#[track_caller]
pub(crate) fn play(body: impl AsyncFnOnce(&Scene) -> anyhow::Result<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs nothing but file descriptors");
    let scene = runtime.block_on(open()).expect("the Docker daemon must run: `cargo xtask doctor`");
    let ended = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let _slot = SLOTS.acquire().await;
            tokio::select! {
                ended = tokio::time::timeout(LIMIT, body(&scene)) => {
                    ended.with_context(|| format!("no end after {LIMIT:?}"))?
                }
                interrupted = interrupted() => interrupted,
            }
        })
    }));
    if matches!(ended, Ok(Ok(()))) {
        return;
    }
    runtime.block_on(async {
        sweep(&scene).await;
        for log in scene.logs.take() {
            show(&log.whole().await);
        }
    });
    match ended {
        Ok(Err(error)) => panic!("{error:?}"),
        Err(panic) => std::panic::resume_unwind(panic),
        Ok(Ok(())) => unreachable!("returned above"),
    }
}

async fn open() -> anyhow::Result<Scene> {
    let docker = docker_client_instance().await?;
    docker.ping().await?;
    // Random without a dependency: the standard library seeds its hash maps so.
    let number = RandomState::new().build_hasher().finish();
    let id = format!("mlflow-gke-container-{number:016x}");
    Ok(Scene { id, docker, logs: RefCell::default() })
}

async fn interrupted() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    if !INTERRUPTED.load(Ordering::Relaxed) {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    anyhow::bail!("interrupted")
}

/// Removes what testcontainers loses sight of: a container that was created and did not start.
async fn sweep(scene: &Scene) {
    let named = [("name".to_owned(), vec![scene.id.clone()])].into();
    let all = ListContainersOptionsBuilder::new().all(true).filters(&named).build();
    let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    for left in scene.docker.list_containers(Some(all)).await.unwrap_or_default() {
        let id = left.id.unwrap_or_default();
        // Whether it was there or not, it is gone; an error here must not hide the test's own.
        let _ = scene.docker.remove_container(&id, Some(force.clone())).await;
    }
    let _ = scene.docker.remove_network(&scene.id).await;
}

#[expect(clippy::print_stderr, reason = "the test runner shows it with the test that failed")]
fn show(text: &str) {
    eprintln!("{text}");
}
