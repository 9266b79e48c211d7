//! An image that nobody has: told in seconds, while the old server goes on serving.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::{DEPLOY_LIMIT, Open, deployed, run};

#[test]
fn a_missing_image_is_named_and_the_old_server_goes_on_serving() -> anyhow::Result<()> {
    deployed(|scene| {
        let open = Open::start(scene)?;
        let is_over = AtomicBool::new(false);
        let mut deploy = scene.xtask(&["deploy", "--env", "kind"]);
        deploy.env("MLFLOW_IMAGE_TAG", "nosuch");
        let (failed, answers) = std::thread::scope(|threads| {
            let asking = threads.spawn(|| {
                let mut answers = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    answers.push(open.mlflow.ask("GET", "/version", "").map(|it| it.status));
                }
                answers
            });
            let failed = run(deploy, DEPLOY_LIMIT);
            is_over.store(true, Ordering::Relaxed);
            (failed, asking.join())
        });
        failed?
            .expect(31)?
            .says("localhost/mlflow-gke/mlflow:nosuch")?
            .says("hint:")?
            .within(Duration::from_secs(60))?;
        let Ok(answers) = answers else { anyhow::bail!("the asking thread panicked") };
        let n_good = answers.iter().filter(|it| matches!(it, Ok(200))).count();
        assert!(n_good > 0 && n_good == answers.len(), "{n_good} of {} answered", answers.len());
        scene.deploy()?.expect(0)?;
        scene.run(&["status", "--env", "kind"])?.expect(0)?;
        Ok(())
    })
}
