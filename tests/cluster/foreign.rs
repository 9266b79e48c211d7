//! What is not ours is not touched: clusters, kubeconfigs, ports.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context as _, ensure};
use e2e::{LIMIT, Run, Scene, program, run, with_cluster};

#[test]
fn a_foreign_cluster_of_our_name_is_refused() -> anyhow::Result<()> {
    with_cluster(|scene| {
        let name = format!("{}-foreign", scene.cluster);
        let container = Container::create(&name)?;
        for arguments in
            [&["cluster", "up"][..], &["cluster", "down"], &["deploy", "--env", "kind"]]
        {
            let mut command = scene.xtask(arguments);
            command.env("MLFLOW_GKE_CLUSTER", &name);
            run(command, LIMIT)?.expect(40)?.says(&name)?.says("hint:")?;
        }
        ensure!(container.exists()?, "the foreign container is gone");
        Ok(())
    })
}

#[test]
fn a_taken_port_is_told_with_the_fix() -> anyhow::Result<()> {
    with_cluster(|scene| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port().to_string();
        scene
            .run(&["open", "--env", "kind", "--port", &port])?
            .expect(10)?
            .says(&format!("port {port} of this machine is taken"))?
            .says("--port 0")?;
        Ok(())
    })
}

#[test]
fn a_kubeconfig_that_leads_elsewhere_is_refused_and_nothing_is_sent() -> anyhow::Result<()> {
    with_cluster(|scene| {
        // Not the loopback address that kind uses, yet one that would be heard here.
        let elsewhere = TcpListener::bind("127.0.0.2:0")?;
        elsewhere.set_nonblocking(true)?;
        let server = format!("https://{}", elsewhere.local_addr()?);
        let cache = Cache::leading_to(scene, &server)?;
        for arguments in [
            &["deploy", "--env", "kind"][..],
            &["deploy", "--env", "kind", "--dry-run"],
            &["diff", "--env", "kind"],
            &["status", "--env", "kind"],
            &["logs", "--env", "kind"],
            &["open", "--env", "kind", "--port", "0"],
        ] {
            let mut command = scene.xtask(arguments);
            command.env("MLFLOW_GKE_CACHE", &cache.0);
            run(command, LIMIT)?.expect(40)?.says(&server)?.says("nothing was sent there")?;
        }
        let heard = elsewhere.accept();
        ensure!(heard.is_err(), "somebody connected: {heard:?}");
        Ok(())
    })
}

/// A container that looks like the node of somebody's kind cluster.
struct Container(String);

impl Container {
    fn create(cluster: &str) -> anyhow::Result<Self> {
        let container = Self(format!("{cluster}-control-plane"));
        container.remove()?;
        let label = format!("io.x-k8s.kind.cluster={cluster}");
        let role = "io.x-k8s.kind.role=control-plane";
        let image = "localhost/mlflow-gke/postgres:dev";
        let create = ["create", "--name", &container.0, "--label", &label, "--label", role, image];
        docker(&create)?.expect(0)?;
        Ok(container)
    }

    fn exists(&self) -> anyhow::Result<bool> {
        Ok(docker(&["container", "inspect", &self.0])?.code == 0)
    }

    fn remove(&self) -> anyhow::Result<Run> {
        docker(&["rm", "--force", &self.0])
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The next run removes it too.
        drop(self.remove());
    }
}

fn docker(arguments: &[&str]) -> anyhow::Result<Run> {
    let mut docker = program("docker");
    docker.args(arguments);
    run(docker, LIMIT)
}

/// The cache of the command line with the kubeconfig of its cluster changed, and all else the same.
struct Cache(std::path::PathBuf);

impl Cache {
    fn leading_to(scene: &Scene, server: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("{}-{}", scene.name, std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        let cache = Self(folder);
        let clusters = cache.0.join("clusters").join(&scene.cluster);
        std::fs::create_dir_all(&clusters)?;
        for entry in std::fs::read_dir(scene.cache()?)? {
            let entry = entry?;
            if entry.file_name() != "clusters" {
                std::os::unix::fs::symlink(entry.path(), cache.0.join(entry.file_name()))?;
            }
        }
        let original = scene.kubeconfig.parent().context("a file is in a folder")?;
        for file in ["kind.yaml", "node-id", "addons.yaml"] {
            std::fs::copy(original.join(file), clusters.join(file))?;
        }
        let text = std::fs::read_to_string(&scene.kubeconfig)?;
        std::fs::write(clusters.join("kubeconfig"), elsewhere(&text, server))?;
        Ok(cache)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // Symbolic links go, what they lead to stays.
        drop(std::fs::remove_dir_all(Path::new(&self.0)));
    }
}

fn elsewhere(kubeconfig: &str, server: &str) -> String {
    let line = |line: &str| match line.trim_start().starts_with("server:") {
        true => format!("    server: {server}\n"),
        false => format!("{line}\n"),
    };
    kubeconfig.lines().map(line).collect()
}
