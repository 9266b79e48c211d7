//! MLflow's page in a browser, as the person at the other end of `open` sees it.

use std::path::Path;

use anyhow::{Context as _, ensure};
use e2e::{LIMIT, Open, Scene, deployed, program, run};
use serde_json::Value;

const RUN: &str = "run-that-the-page-shows";

#[test]
fn the_page_shows_a_logged_run() -> anyhow::Result<()> {
    deployed(|scene| {
        let open = Open::start(scene)?;
        let run_id = open.mlflow.create_run("page", RUN)?;
        let run: Value = open.mlflow.run(&run_id)?;
        let experiment = run["info"]["experiment_id"].as_str().context("a run is in one")?;
        let url = format!("http://localhost:{}/#/experiments/{experiment}/runs", open.mlflow.port);
        let picture = scene.evidence()?.join("page.png");
        let page = browse(scene, &url, &picture)?;
        ensure!(page.contains(RUN), "the page does not show the run\n{page}");
        let n_bytes = picture.metadata().context("there is no screenshot")?.len();
        ensure!(n_bytes > 10_000, "the screenshot has {n_bytes} bytes: an empty page");
        Ok(())
    })
}

/// Opens a page in a headless Chromium of its own; returns the document and takes a picture of it.
fn browse(scene: &Scene, url: &str, picture: &Path) -> anyhow::Result<String> {
    let profile = std::env::temp_dir().join(format!("{}-{}", scene.name, std::process::id()));
    let mut chromium = program("chromium");
    chromium
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--no-proxy-server", "--window-size=1400,900"])
        // Time in the page stands still while it waits for the network.
        .args(["--virtual-time-budget=20000", "--timeout=60000", "--dump-dom"])
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url);
    let result = run(chromium, LIMIT);
    drop(std::fs::remove_dir_all(&profile));
    Ok(result?.expect(0)?.stdout)
}
