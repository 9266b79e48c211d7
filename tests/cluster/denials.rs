//! The denial matrix: what is wrong, what a client in the pod sees of it, what MLflow's user sees, and
//! that it heals once the wrong is put right.

mod database;
mod page;
mod storage;
mod wrong;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use e2e::{Cloud, LIMIT, Scene};
use health::Observed;
use serde::Deserialize;
use wrong::{Original, Wrong};

/// How long a wrong may take to be noticed.
const DENIED_LIMIT: Duration = Duration::from_mins(1);

/// A row of the matrix.
struct Denial {
    /// What is wrong, in words.
    name: &'static str,
    /// What makes it so, one after the other.
    wrong: &'static [Wrong],
    /// What the two try to do.
    deed: &'static str,
    /// The pods that have to start anew to notice it.
    restarts: Option<&'static str>,
    /// Whether they have to start anew once more to notice that it is right. The others heal by
    /// themselves.
    is_sticky: bool,
    /// Whether it passes by itself, so that it has to happen again until it is told as it should be.
    is_fleeting: bool,
    /// Google's words, as a client that starts now gets them.
    client: &'static str,
    /// What MLflow answers its user meanwhile: the status, and words of the body.
    user: (u16, &'static str),
    /// What puts it right, for people.
    remedy: &'static str,
}

/// What the two in the pod have seen.
#[derive(Debug, Deserialize)]
struct Seen {
    client: String,
    /// What the client has written elsewhere, which may be of an earlier attempt.
    #[serde(default)]
    log: String,
    status: u16,
    body: String,
}

impl Seen {
    fn client_says(&self, words: &str) -> bool {
        // Python shows a quote within a text with a stroke before it.
        self.client.replace("\\'", "'").contains(words) || self.log.contains(words)
    }

    fn is_well(&self) -> bool {
        self.client == "well" && self.status == 200
    }
}

/// Goes through the rows; a row that is not as told does not keep the others from being tried.
fn check(
    scene: &Scene,
    rows: &[Denial],
    ask: &impl Fn(&str) -> anyhow::Result<Seen>,
) -> anyhow::Result<()> {
    let cloud = Cloud::of(scene)?;
    let original = Original::of(&cloud)?;
    let mut failures = Vec::new();
    for row in rows {
        let denied = denied(scene, &cloud, row, ask);
        for wrong in row.wrong.iter().rev() {
            let right = original.put_right(scene, &cloud, *wrong);
            right.with_context(|| format!("{}: put right {wrong:?}", row.name))?;
        }
        let healed = healed(scene, row, ask);
        let errors = [denied, healed].into_iter().filter_map(Result::err);
        failures.extend(errors.map(|error| format!("{}: {error:#}", row.name)));
    }
    ensure!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

fn denied(
    scene: &Scene,
    cloud: &Cloud<'_>,
    row: &Denial,
    ask: &impl Fn(&str) -> anyhow::Result<Seen>,
) -> anyhow::Result<()> {
    happen(scene, cloud, row)?;
    if let Some(labels) = row.restarts {
        restart(scene, labels)?;
    }
    // A change takes its way, and a client that tries again may hear two things in turn.
    let (status, words) = row.user;
    let (mut client_saw, mut user_saw) = (false, false);
    let deadline = Instant::now() + DENIED_LIMIT;
    loop {
        let seen = ask(row.deed)?;
        client_saw |= seen.client_says(row.client);
        user_saw |= seen.status == status && seen.body.contains(words);
        if client_saw && user_saw {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "client as told: {client_saw}, user: {user_saw}, {seen:?}"
        );
        if row.is_fleeting {
            happen(scene, cloud, row)?;
        }
    }
}

fn happen(scene: &Scene, cloud: &Cloud<'_>, row: &Denial) -> anyhow::Result<()> {
    for wrong in row.wrong {
        wrong.happen(scene, cloud).with_context(|| format!("{wrong:?}"))?;
    }
    Ok(())
}

/// Asks until all is well again: clients try again in their own time.
fn healed(
    scene: &Scene,
    row: &Denial,
    ask: &impl Fn(&str) -> anyhow::Result<Seen>,
) -> anyhow::Result<()> {
    if let Some(labels) = row.restarts.filter(|_| row.is_sticky) {
        restart(scene, labels)?;
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        let seen = ask(row.deed)?;
        if seen.is_well() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("not healed within {LIMIT:?}: {seen:?}");
        }
    }
}

/// Runs one of the scripts in MLflow's pod.
fn run_script(scene: &Scene, script: &str, argument: &str) -> anyhow::Result<Seen> {
    let printed = scene.api.exec("app=mlflow", &["python3", "-c", script, argument])?;
    let line = printed.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("the script printed {printed:?}"))
}

/// Replaces the pods with these labels by new ones that run.
fn restart(scene: &Scene, labels: &str) -> anyhow::Result<()> {
    let old = scene.api.pods(labels)?;
    let uids: Vec<_> = old.iter().map(|it| it["metadata"]["uid"].clone()).collect();
    for pod in &old {
        let name = pod["metadata"]["name"].as_str().context("a pod has a name")?;
        let path =
            format!("/api/v1/namespaces/{}/pods/{name}?gracePeriodSeconds=0", e2e::NAMESPACE);
        scene.api.delete(&path)?;
    }
    let (key, value) = labels.split_once('=').context("a label has a value")?;
    scene.api.watch("a new pod is ready", LIMIT, |seen: &Observed| {
        seen.list(health::Kind::Pod).any(|pod| {
            let ready = pod["status"]["conditions"].as_array().into_iter().flatten();
            let is_ready =
                ready.filter(|it| it["type"] == "Ready").any(|it| it["status"] == "True");
            pod["metadata"]["labels"][key] == value
                && !uids.contains(&pod["metadata"]["uid"])
                && is_ready
        })
    })
}
