//! What is in the image, and what is not.

use crate::{
    container::{Image, Pod},
    scene::{Scene, play},
    stack::START,
};
use anyhow::{Context as _, ensure};

const OMITTED: &str = include_str!("../../../deploy/images/mlflow/omitted.txt");

/// Prints the distributions and the modules that it finds among the names it is given.
const LOOK: &str = "
import importlib.metadata, importlib.util, re, sys
plain = lambda name: re.sub('[-_.]+', '-', name).lower()
there = {plain(it.metadata['Name']) for it in importlib.metadata.distributions()}
modules = {'scikit-learn': 'sklearn', 'gitpython': 'git', 'databricks-sdk': 'databricks.sdk'}
def module(name):
    try: return importlib.util.find_spec(modules.get(name, name))
    except ModuleNotFoundError: return None
print('found', *sorted(name for name in sys.argv[1:] if plain(name) in there or module(name)))
";

async fn found(scene: &Scene, role: &'static str, names: &[&str]) -> anyhow::Result<Vec<String>> {
    let command = ["python3", "-c", LOOK].into_iter().chain(names.iter().copied());
    let python = Pod::new(Image::Mlflow, role).command(command).start(scene).await?;
    ensure!(python.exits(START).await? == 0, "python3 failed: {}", python.log());
    let log = python.log();
    let names = log.trim().strip_prefix("found").context("another answer than was asked for")?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn packages_left_out_are_absent_and_the_others_are_there() {
    play(async |scene| {
        let omitted: Vec<&str> = OMITTED
            .lines()
            .filter(|it| !it.trim().is_empty() && !it.starts_with('#'))
            .filter_map(|it| it.split([';', ' ']).next())
            .collect();
        assert!(omitted.contains(&"numpy") && omitted.len() > 5, "{omitted:?}");
        assert_eq!(found(scene, "omitted", &omitted).await?, Vec::<String>::new());
        // The same question about packages that are there, or the answer above would mean nothing.
        let kept = ["alembic", "google-cloud-storage", "mlflow", "psycopg2-binary", "uvicorn"];
        assert_eq!(found(scene, "kept", &kept).await?, kept);
        Ok(())
    });
}

#[test]
fn image_names_its_user_and_its_command() {
    play(async |scene| {
        for (variable, user, command) in [
            ("MLFLOW_GKE_IMAGE_MLFLOW", "10001:10001", Some("mlflow-server")),
            ("MLFLOW_GKE_IMAGE_POSTGRES", "10002:10002", Some("postgres-server")),
            ("MLFLOW_GKE_IMAGE_FAKE_GCS_SERVER", "10003:10003", None),
        ] {
            let image = std::env::var(variable).context(variable)?;
            let config = scene.docker.inspect_image(&image).await?.config;
            let config = config.context("an image without a configuration")?;
            assert_eq!(config.user.as_deref(), Some(user), "{image}");
            if let Some(command) = command {
                assert_eq!(config.cmd, Some(vec![command.to_owned()]), "{image}");
            }
        }
        Ok(())
    });
}
