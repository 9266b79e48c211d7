//! The whole machine stops and starts again: everything comes back, with all data.

use anyhow::ensure;
use e2e::{LIMIT, Open, Run, deployed, program, run};
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

        let node = format!("{}-control-plane", scene.cluster);
        let address = address(&node)?;
        docker(&["stop", &node])?.expect(0)?;
        // Somebody else gets its address meanwhile, as another cluster would.
        let _others = Others::take(&address)?;
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

fn address(container: &str) -> anyhow::Result<String> {
    let format = "--format={{.NetworkSettings.Networks.kind.IPAddress}}";
    let address = docker(&["inspect", format, container])?.expect(0)?.stdout.trim().to_owned();
    ensure!(!address.is_empty(), "{container} has no address in the network");
    Ok(address)
}

/// Containers in the clusters' network that do nothing but have addresses.
struct Others(Vec<String>);

impl Others {
    /// Starts as many as it takes until one has the address.
    fn take(wanted: &str) -> anyhow::Result<Self> {
        let mut others = Self(Vec::new());
        for _ in 0..8 {
            let image = ["--entrypoint=sleep", "localhost/mlflow-gke/postgres:dev", "600"];
            let run = [&["run", "--detach", "--rm", "--network=kind"][..], &image].concat();
            let id = docker(&run)?.expect(0)?.stdout.trim().to_owned();
            others.0.push(id.clone());
            if address(&id)? == wanted {
                return Ok(others);
            }
        }
        anyhow::bail!("none of {} containers got the address {wanted}", others.0.len())
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for id in &self.0 {
            // They end by themselves too, after ten minutes.
            drop(docker(&["rm", "--force", id]));
        }
    }
}

fn docker(arguments: &[&str]) -> anyhow::Result<Run> {
    let mut docker = program("docker");
    docker.args(arguments);
    run(docker, LIMIT)
}
