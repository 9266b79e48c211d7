//! A container as Kubernetes would run it, its log followed from the first line on.

use crate::scene::Scene;
use anyhow::{Context as _, bail, ensure};
use futures::TryStreamExt as _;
use std::time::Duration;
use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt as _,
    bollard::{
        errors::Error as DockerError,
        models::{HostConfig, Mount, MountType},
        query_parameters::{KillContainerOptions, WaitContainerOptions},
    },
    core::{ExecCommand, IntoContainerPort as _, logs::LogFrame},
    runners::AsyncRunner as _,
};
use tokio::{
    sync::watch,
    time::{interval, timeout},
};

/// How long a daemon under load may take for what it does in milliseconds.
const DAEMON: Duration = Duration::from_secs(60);

/// One of the project's images.
#[derive(Clone, Copy)]
pub(crate) enum Image {
    Mlflow,
    Postgres,
    FakeGcsServer,
}

impl Image {
    fn variable(self) -> &'static str {
        match self {
            Image::Mlflow => "MLFLOW_GKE_IMAGE_MLFLOW",
            Image::Postgres => "MLFLOW_GKE_IMAGE_POSTGRES",
            Image::FakeGcsServer => "MLFLOW_GKE_IMAGE_FAKE_GCS_SERVER",
        }
    }

    fn port(self) -> u16 {
        match self {
            Image::Mlflow => 5000,
            Image::Postgres => 5432,
            Image::FakeGcsServer => 4443,
        }
    }

    /// The image's name and tag, of which the daemon has a build: testcontainers would go looking
    /// for it in a registry otherwise.
    async fn found(self, scene: &Scene) -> anyhow::Result<(String, String)> {
        let variable = self.variable();
        let image = std::env::var(variable).with_context(|| {
            format!("{variable} does not name an image\nhint: cargo xtask test sets it")
        })?;
        scene.docker.inspect_image(&image).await.with_context(|| {
            format!(
                "{variable} names `{image}`, which is not here\nhint: cargo xtask test builds it"
            )
        })?;
        let (name, tag) = image.rsplit_once(':').context("an image without a tag")?;
        Ok((name.to_owned(), tag.to_owned()))
    }
}

/// What is to run.
pub(crate) struct Pod {
    image: Image,
    role: &'static str,
    command: Vec<String>,
    env: Vec<(String, String)>,
    root: bool,
    millicpus: Option<i64>,
    tmpfs: Vec<&'static str>,
    volumes: Vec<&'static str>,
    volumes_of: Option<String>,
}

impl Pod {
    /// The image with its own command. `role` ends the container's name, by which the others of the
    /// scene reach it.
    pub(crate) fn new(image: Image, role: &'static str) -> Pod {
        Pod {
            image,
            role,
            command: Vec::new(),
            env: Vec::new(),
            root: false,
            millicpus: None,
            tmpfs: vec!["/tmp"],
            volumes: Vec::new(),
            volumes_of: None,
        }
    }

    pub(crate) fn command<T: Into<String>>(mut self, command: impl IntoIterator<Item = T>) -> Pod {
        self.command = command.into_iter().map(Into::into).collect();
        self
    }

    pub(crate) fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Pod {
        self.env.push((name.into(), value.into()));
        self
    }

    /// As root, who prepares volumes as the kubelet does; no image is served this way.
    pub(crate) fn root(mut self) -> Pod {
        self.root = true;
        self
    }

    /// So much processor time and no more, which gives a test time to interfere.
    pub(crate) fn millicpus(mut self, millicpus: i64) -> Pod {
        self.millicpus = Some(millicpus);
        self
    }

    /// An empty folder in memory beside /tmp.
    pub(crate) fn tmpfs(mut self, path: &'static str) -> Pod {
        self.tmpfs.push(path);
        self
    }

    /// A new volume, which lives as long as any container that has it.
    pub(crate) fn volume(mut self, path: &'static str) -> Pod {
        self.volumes.push(path);
        self
    }

    /// The volumes of another container, at the same places.
    pub(crate) fn volumes_of(mut self, other: &Container) -> Pod {
        self.volumes_of = Some(other.inner.id().to_owned());
        self
    }

    pub(crate) async fn start(self, scene: &Scene) -> anyhow::Result<Container> {
        let name = format!("{}-{}", scene.id, self.role);
        let port = self.image.port();
        let (log, record) = Log::new(self.role);
        scene.keep(log.clone());
        let request = self.request(scene, &name).await?;
        let request = request.with_log_consumer(move |frame: &LogFrame| {
            record.send_modify(|it| it.extend_from_slice(frame.bytes()));
        });
        let inner = request.start().await.with_context(|| format!("start container {name}"))?;
        Ok(Container { inner, name, port, log, docker: scene.docker.clone() })
    }

    async fn request(
        self,
        scene: &Scene,
        name: &str,
    ) -> anyhow::Result<ContainerRequest<GenericImage>> {
        let (image, tag) = self.image.found(scene).await?;
        let mut request = GenericImage::new(image, tag)
            .with_mapped_port(0, self.image.port().tcp())
            .with_container_name(name)
            .with_network(&scene.id)
            .with_cmd(self.command)
            .with_readonly_rootfs(true)
            .with_security_opt("no-new-privileges")
            .with_startup_timeout(DAEMON);
        for (name, value) in self.env {
            request = request.with_env_var(name, value);
        }
        request = match self.root {
            true => request.with_user("0:0"),
            false => request.with_cap_drop("ALL"),
        };
        let (tmpfs, volumes, of, millicpus) =
            (self.tmpfs, self.volumes, self.volumes_of, self.millicpus);
        Ok(request.with_host_config_modifier(move |host: &mut HostConfig| {
            let folders =
                tmpfs.iter().map(|it| ((*it).to_owned(), "size=512m,mode=1777".to_owned()));
            host.tmpfs = Some(folders.collect());
            // Without a name: the daemon removes such a volume with its last container.
            let volume = |path: &&str| Mount {
                target: Some((*path).to_owned()),
                typ: Some(MountType::VOLUME),
                ..Mount::default()
            };
            host.mounts = Some(volumes.iter().map(volume).collect());
            host.volumes_from = of.clone().map(|it| vec![it]);
            host.nano_cpus = millicpus.map(|it| it * 1_000_000);
            // The test is on this machine, and nobody else needs to reach the container.
            for bindings in host.port_bindings.iter_mut().flat_map(|it| it.values_mut()).flatten() {
                bindings.iter_mut().for_each(|it| it.host_ip = Some("127.0.0.1".to_owned()));
            }
        }))
    }
}

/// A container that was started. Goes away with this value.
pub(crate) struct Container {
    inner: ContainerAsync<GenericImage>,
    name: String,
    port: u16,
    log: Log,
    docker: testcontainers::bollard::Docker,
}

/// What a command in a container came to.
pub(crate) struct Output {
    pub(crate) status: i64,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Container {
    /// The name under which the others of the scene reach it.
    pub(crate) fn host(&self) -> &str {
        &self.name
    }

    /// The image's port, where this machine reaches it.
    pub(crate) async fn address(&self) -> anyhow::Result<String> {
        let port = self.inner.get_host_port_ipv4(self.port).await?;
        Ok(format!("127.0.0.1:{port}"))
    }

    /// All that it has written.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until it writes that.
    pub(crate) async fn says(&self, words: &str, within: Duration) -> anyhow::Result<()> {
        let mut log = self.log.text.clone();
        let found = log.wait_for(|it| String::from_utf8_lossy(it).contains(words));
        match timeout(within, found).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => bail!("{} ended and never said `{words}`", self.log.role),
            Err(_) => bail!("{} did not say `{words}` within {within:?}", self.log.role),
        }
    }

    /// Waits for its end, after which the log is complete.
    pub(crate) async fn exits(&self, within: Duration) -> anyhow::Result<i64> {
        let ended = self.docker.wait_container(self.inner.id(), None::<WaitContainerOptions>);
        let mut ended = std::pin::pin!(ended);
        let status = match timeout(within, ended.try_next()).await {
            Err(_) => bail!("{} still runs after {within:?}", self.log.role),
            Ok(Ok(Some(ended))) => ended.status_code,
            Ok(Err(DockerError::DockerContainerWaitError { code, .. })) => code,
            Ok(Ok(None)) => bail!("the daemon does not say how {} ended", self.log.role),
            Ok(Err(error)) => return Err(error.into()),
        };
        self.log.clone().whole().await;
        Ok(status)
    }

    /// Ends it as the kubelet does: the image's signal, and SIGKILL after the grace (status 137).
    pub(crate) async fn stop(&self, grace_s: i32) -> anyhow::Result<i64> {
        self.inner.stop_with_timeout(Some(grace_s)).await?;
        self.exits(DAEMON).await
    }

    /// Ends it as a power failure does.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        self.docker.kill_container(self.inner.id(), None::<KillContainerOptions>).await?;
        let status = self.exits(DAEMON).await?;
        ensure!(status == 137, "{} ended by itself with {status}", self.log.role);
        Ok(())
    }

    /// Removes it, so that another can take its name.
    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        self.inner.rm().await.context("remove a container")
    }

    /// Runs a command beside the container's own.
    pub(crate) async fn run<T: Into<String>>(
        &self,
        command: impl IntoIterator<Item = T>,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Output> {
        let command = ExecCommand::new(command).with_env_vars(env.iter().copied());
        let mut running = self.inner.exec(command).await?;
        let stdout = String::from_utf8(running.stdout_to_vec().await?)?;
        let stderr = String::from_utf8(running.stderr_to_vec().await?)?;
        // The daemon closes the output first and notes the status then, of which it tells nobody.
        let mut again = interval(Duration::from_millis(20));
        let status = async {
            loop {
                again.tick().await;
                if let Some(status) = running.exit_code().await? {
                    return anyhow::Ok(status);
                }
            }
        };
        let status =
            timeout(DAEMON, status).await.context("a command without an exit status")??;
        Ok(Output { status, stdout, stderr })
    }
}

/// What a container writes, kept until after it is gone.
#[derive(Clone)]
pub(crate) struct Log {
    role: &'static str,
    text: watch::Receiver<Vec<u8>>,
}

impl Log {
    fn new(role: &'static str) -> (Log, watch::Sender<Vec<u8>>) {
        let (sender, text) = watch::channel(Vec::new());
        (Log { role, text }, sender)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.borrow()).into_owned()
    }

    /// Waits until no more can come, which is when the container has ended.
    pub(crate) async fn whole(mut self) -> String {
        let end = async { while self.text.changed().await.is_ok() {} };
        let complete = timeout(Duration::from_secs(5), end).await.is_ok();
        let note = if complete { "" } else { " (incomplete)" };
        format!("--- log of {}{note}\n{}", self.role, self.text())
    }
}
