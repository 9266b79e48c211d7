//! Pods deleted while clients write: what was acknowledged is there afterwards.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::{LIMIT, Mlflow, NAMESPACE, Open, Scene, deployed};
use health::{Kind, Observed};
use serde_json::json;

const N_WRITERS: u32 = 4;
/// How many acknowledged writes make a phase of the test.
const PHASE: usize = 40;
/// The bound of each writer, whatever the test does.
const MOST_WRITES: u32 = 5_000;

#[test]
fn what_was_acknowledged_survives_the_deletion_of_both_pods() -> anyhow::Result<()> {
    deployed(|scene| {
        let open = Open::start(scene)?;
        let run_id = open.mlflow.create_run("load", "under load")?;
        let load = Load::default();
        let result = std::thread::scope(|threads| {
            for writer in 0..N_WRITERS {
                let (load, run_id) = (&load, &run_id);
                threads.spawn(move || load.write(open.mlflow, run_id, writer));
            }
            let result = delete_both(scene, &load);
            load.stop();
            result
        });
        result?;
        let acknowledged = load.acknowledged();
        let stored: BTreeSet<(u32, u32)> = scene
            .api
            .sql(&format!("SELECT key, step FROM metrics WHERE run_uuid = '{run_id}'"))?
            .iter()
            .filter_map(|row| {
                let (key, step) = row.split_once(' ')?;
                Some((key.strip_prefix("writer")?.parse().ok()?, step.parse().ok()?))
            })
            .collect();
        let lost: Vec<_> = acknowledged.difference(&stored).collect();
        assert!(lost.is_empty(), "of {} acknowledged writes: {lost:?}", acknowledged.len());
        // The same process on the same port, after two replacements.
        open.mlflow.run(&run_id)?;
        open.interrupt()?.expect(0)?;
        Ok(())
    })
}

fn delete_both(scene: &Scene, load: &Load) -> anyhow::Result<()> {
    load.wait_for_more(PHASE)?;
    for app in ["mlflow", "postgres"] {
        let pods = scene.api.pods(&format!("app={app}"))?;
        let name = pods.first().and_then(|it| it["metadata"]["name"].as_str());
        let name = name.with_context(|| format!("no pod of {app}"))?.to_owned();
        scene.api.delete(&format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}"))?;
        scene.api.watch("the deleted pod is gone", LIMIT, |seen: &Observed| {
            seen.list(Kind::Pod).all(|it| it["metadata"]["name"] != name.as_str())
        })?;
        load.wait_for_more(PHASE)?;
    }
    Ok(())
}

/// Writers that log metrics, and what MLflow has acknowledged to them.
#[derive(Default)]
struct Load {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    acknowledged: BTreeSet<(u32, u32)>,
    last_failure: String,
    is_over: bool,
}

impl Load {
    /// Writes one metric after the other; each step is tried once, acknowledged or not.
    fn write(&self, mlflow: Mlflow, run_id: &str, writer: u32) {
        for step in 0..MOST_WRITES {
            let body = json!({
                "run_id": run_id, "key": format!("writer{writer}"),
                "value": step, "timestamp": 1, "step": step,
            });
            let answer = mlflow.json("POST", "/api/2.0/mlflow/runs/log-metric", &body);
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(_) => {
                    state.acknowledged.insert((writer, step));
                    self.changed.notify_all();
                }
                Err(error) => {
                    state.last_failure = format!("{error:#}");
                    // A server without its database refuses at once; there is no use in flooding it.
                    let pause = Duration::from_millis(100);
                    let waited = self.changed.wait_timeout_while(state, pause, |it| !it.is_over);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
            if state.is_over {
                return;
            }
        }
    }

    /// Waits until that many more writes are acknowledged.
    fn wait_for_more(&self, n_writes: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + LIMIT;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = state.acknowledged.len() + n_writes;
        while state.acknowledged.len() < wanted {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(
                !left.is_zero(),
                "{} of {wanted} writes acknowledged; last failure: {}",
                state.acknowledged.len(),
                state.last_failure
            );
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.changed.notify_all();
    }

    fn acknowledged(&self) -> BTreeSet<(u32, u32)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).acknowledged.clone()
    }
}
