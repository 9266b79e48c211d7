//! The emulated Google Cloud from the host, through the variables that a person would export.

use anyhow::Context as _;
use e2e::{LIMIT, Run, Scene, deployed, program, run};

/// Google's names, asked by what comes with Python: it reads the variables as every client does.
const ASK: &str = r#"
import os, sys, urllib.error, urllib.request
token = open(os.environ["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"]).read().strip()
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + token})
try:
    with urllib.request.urlopen(request, timeout=30) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"#;
const BUCKET: &str = "https://storage.googleapis.com/storage/v1/b/mlflow-artifacts";

#[test]
fn the_host_reaches_it_by_its_own_names_as_whoever_it_says_it_is() -> anyhow::Result<()> {
    deployed(|scene| {
        let owner = ask(scene, "user:you@example.com", BUCKET)?;
        owner.says("200 ")?.says("\"name\":\"mlflow-artifacts\"")?;
        let server = "serviceAccount:mlflow@mlflow-gke-local.iam.gserviceaccount.com";
        ask(scene, server, &format!("{BUCKET}/o"))?.says("200 ")?;
        let refused = ask(scene, server, BUCKET)?;
        refused.says("403 ")?.says(
            "mlflow@mlflow-gke-local.iam.gserviceaccount.com does not have storage.buckets.get access to the Google Cloud Storage bucket.",
        )?;
        let nobody = scene.run(&["google", "token", "--as", "somebody"])?.expect(2)?;
        nobody.says("the emulator gives `somebody` no token")?.says("hint: --as user:EMAIL")?;
        Ok(())
    })
}

/// The answer's status and body, with nothing of the test's own environment but the path.
fn ask(scene: &Scene, member: &str, url: &str) -> anyhow::Result<Run> {
    let printed = scene.run(&["google", "env", "--as", member])?.expect(0)?;
    let mut client = program("python3");
    client.args(["-c", ASK, url]).env_clear();
    client.env("PATH", std::env::var_os("PATH").context("there is no PATH")?);
    for line in printed.stdout.lines() {
        let variable = line.strip_prefix("export ").and_then(|it| it.split_once('='));
        let (name, value) = variable.with_context(|| format!("`{line}` exports nothing"))?;
        client.env(name, value.trim_matches('\''));
    }
    run(client, LIMIT)?.expect(0)
}
