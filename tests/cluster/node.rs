//! The whole machine stops and starts again: everything comes back, with all data.

use e2e::{LIMIT, Open, deployed, program, run};
use serde_json::json;

#[test]
fn a_stopped_node_is_started_again_with_all_data() -> anyhow::Result<()> {
    deployed(|scene| {
        let open = Open::start(scene)?;
        let run_id = open.mlflow.create_run("restart", "before the stop")?;
        let body = json!({ "run_id": run_id, "key": "kept", "value": 7.5, "timestamp": 1 });
        open.mlflow.json("POST", "/api/2.0/mlflow/runs/log-metric", &body)?;
        let artifact = open.mlflow.artifact_path(&run_id, "kept.txt")?;
        assert_eq!(open.mlflow.ask("PUT", &artifact, "kept bytes")?.status, 200);
        drop(open);

        let mut docker = program("docker");
        docker.args(["stop", &format!("{}-control-plane", scene.cluster)]);
        run(docker, LIMIT)?.expect(0)?;
        scene.run(&["status", "--env", "kind"])?.says("reach the API server")?;
        scene.deploy()?.expect(0)?.says("start the cluster")?;

        let open = Open::start(scene)?;
        let run = open.mlflow.run(&run_id)?;
        assert_eq!(run["data"]["metrics"][0]["value"], 7.5);
        assert_eq!(open.mlflow.ask("GET", &artifact, "")?.body, "kept bytes");
        scene.run(&["status", "--env", "kind"])?.expect(0)?;
        Ok(())
    })
}
