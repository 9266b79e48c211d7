//! The local cluster itself: made by kind, started again, taken away.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use events::Log;
use process::{Call, Line, cmd};

use crate::addons;
use crate::builder::Builder;
use crate::docker::{self, Container};
use crate::error::Error;
use crate::image::Built;
use crate::kubectl::kubectl;
use crate::node;
use crate::poll;
use crate::program::{self, shell};
use crate::state::{State, judge, stale_pods};

/// `kind create cluster` takes twelve seconds on an idle machine with two cores.
const CREATE_LIMIT: Duration = Duration::from_secs(5 * 60);
const NODE_LIMIT: Duration = Duration::from_secs(2 * 60);
/// The file in the node that says that it is finished, and from which cache it was made.
const FINISHED: &str = "/kind/finished";
/// Where the node finds the image archives of the cache.
const IMAGES_IN_NODE: &str = "/images";

/// A local cluster by its name.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The name that kind knows it by.
    pub name: String,
    /// The folder with what we know of it.
    folder: PathBuf,
}

/// Whether a cluster had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Up {
    /// It was there and running.
    Running,
    /// It was there and stopped; it runs again.
    Started,
    /// It was made.
    Created,
}

impl Cluster {
    /// The cluster called `name`; nothing is looked at yet.
    #[must_use]
    pub fn named(builder: &Builder, name: &str) -> Self {
        Self { name: name.to_owned(), folder: builder.cache.root().join("clusters").join(name) }
    }

    /// The kubeconfig that only this project reads. The user's own is never touched.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The name of the cluster's context in [`Self::kubeconfig`].
    #[must_use]
    pub fn context(&self) -> String {
        format!("kind-{}", self.name)
    }

    /// The name of the one node and of its container.
    #[must_use]
    pub fn node(&self) -> String {
        format!("{}-control-plane", self.name)
    }

    /// Whether a cluster of this name was made here and has not been taken away.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.folder.join("node-id").exists()
    }

    /// Refuses a name that somebody else uses, before minutes are spent on images for it.
    ///
    /// # Errors
    /// The cluster of that name is not ours, or was made from another cache.
    pub fn refuse_others(&self) -> Result<(), Error> {
        match self.state()? {
            State::Foreign { image } => {
                Err(Error::ForeignCluster { name: self.name.clone(), image })
            }
            State::Elsewhere { cache } => Err(Error::OtherCache { name: self.name.clone(), cache }),
            State::Absent | State::Ours(_) | State::Unfinished => Ok(()),
        }
    }

    /// Brings the cluster up with the given images loaded and the add-ons applied.
    ///
    /// # Errors
    /// A part could not be built, kind failed, or a cluster of that name is not ours.
    pub fn up(&self, builder: &Builder, images: &[Built]) -> Result<Up, Error> {
        let _lock = builder.cache.lock_name(&builder.log, &format!("cluster-{}", self.name))?;
        // What both sides below need is there before they begin.
        kubectl(builder)?;
        let (up, addons) = std::thread::scope(|scope| {
            let rendering = scope.spawn(|| addons::render_all(builder));
            let up = self.ensure(builder, images)?;
            let addons = rendering.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok::<_, Error>((up, addons?))
        })?;
        self.load(&builder.log, images)?;
        self.apply_addons(&builder.log, addons)?;
        Ok(up)
    }

    /// Brings the bare cluster up.
    fn ensure(&self, builder: &Builder, images: &[Built]) -> Result<Up, Error> {
        Ok(match self.state()? {
            State::Foreign { image } => {
                return Err(Error::ForeignCluster { name: self.name.clone(), image });
            }
            State::Ours(container) if container.state == "running" => Up::Running,
            State::Ours(container) => {
                self.start(&builder.log, &container)?;
                Up::Started
            }
            State::Elsewhere { cache } => {
                return Err(Error::OtherCache { name: self.name.clone(), cache });
            }
            State::Unfinished => {
                builder.log.note("an interrupted run left half a cluster: making it anew");
                self.delete(builder)?;
                self.create(builder, images)?;
                Up::Created
            }
            State::Absent => {
                self.create(builder, images)?;
                Up::Created
            }
        })
    }

    /// Takes the cluster away, with its volumes. Returns whether there was one.
    ///
    /// # Errors
    /// The cluster of that name is not ours, or kind failed.
    pub fn down(&self, builder: &Builder) -> Result<bool, Error> {
        let _lock = builder.cache.lock_name(&builder.log, &format!("cluster-{}", self.name))?;
        match self.state()? {
            State::Absent => {
                drop(std::fs::remove_dir_all(&self.folder));
                Ok(false)
            }
            State::Foreign { image } => {
                Err(Error::ForeignCluster { name: self.name.clone(), image })
            }
            State::Ours(_) | State::Unfinished | State::Elsewhere { .. } => {
                let step =
                    builder.log.step("cluster-down", format!("remove the cluster {}", self.name));
                self.delete(builder)?;
                if docker::containers("label=io.x-k8s.kind.cluster")?.is_empty() {
                    docker::remove_idle_network("kind")?;
                }
                step.done("");
                Ok(true)
            }
        }
    }

    /// Whether the cluster is ours and its node runs.
    ///
    /// # Errors
    /// Docker does not answer, or the cluster of that name is not ours.
    pub fn is_running(&self) -> Result<bool, Error> {
        match self.state()? {
            State::Foreign { image } => {
                Err(Error::ForeignCluster { name: self.name.clone(), image })
            }
            State::Ours(container) => Ok(container.state == "running"),
            State::Absent | State::Unfinished | State::Elsewhere { .. } => Ok(false),
        }
    }

    /// The images that the node's containerd has, by name.
    ///
    /// # Errors
    /// The node does not run.
    pub fn loaded(&self) -> Result<Vec<String>, Error> {
        let command = ["ctr", "--namespace=k8s.io", "images", "list", "--quiet"];
        let names = docker::exec(&self.node(), &command, NODE_LIMIT)?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Loads what the node lacks, straight from the cache's archives.
    ///
    /// # Errors
    /// An archive could not be read, or the node does not run.
    pub fn load(&self, log: &Log, images: &[Built]) -> Result<(), Error> {
        let loaded = self.loaded()?;
        for built in images.iter().filter(|it| !loaded.contains(&it.reference())) {
            let step =
                log.step(&format!("load-{}", built.name), format!("load the {} image", built.name));
            self.import(built)?;
            step.done("");
        }
        Ok(())
    }

    fn import(&self, built: &Built) -> Result<(), Error> {
        let archive = format!("{IMAGES_IN_NODE}/{}/{}/image.tar", built.name, built.tag);
        // Through the transfer service, ctr's default, the bytes take more than twice as long.
        let command =
            ["ctr", "--namespace=k8s.io", "images", "import", "--local", archive.as_str()];
        docker::exec(&self.node(), &command, NODE_LIMIT)?;
        Ok(())
    }

    /// Ours is what runs our node image; finished is what has the id that we wrote down at the end.
    fn state(&self) -> Result<State, Error> {
        let nodes = docker::containers(&format!("label=io.x-k8s.kind.cluster={}", self.name))?;
        let finished = std::fs::read_to_string(self.folder.join("node-id")).unwrap_or_default();
        match judge(nodes, finished.trim()) {
            // The node itself knows whether somebody else brought it to its end.
            State::Unfinished => Ok(match docker::read_file(&self.node(), FINISHED)? {
                Some(cache) => State::Elsewhere { cache: cache.trim().to_owned() },
                None => State::Unfinished,
            }),
            state => Ok(state),
        }
    }

    fn create(&self, builder: &Builder, images: &[Built]) -> Result<(), Error> {
        let node_image = node::obtain_image(builder)?;
        let kind = program::obtain_go(builder, program::go_program("kind")?)?;
        std::fs::create_dir_all(&self.folder).map_err(Error::file("create", &self.folder))?;
        let config = self.write_config(builder)?;
        let step =
            builder.log.step("cluster-create", format!("create the kind cluster {}", self.name));
        let (tell, told) = channel();
        let importer = self.import_beside(told, images);
        let (name, kubeconfig) = (&self.name, self.kubeconfig());
        let sh = shell()?;
        let call = cmd!(
            sh,
            "{kind} create cluster --name={name} --kubeconfig={kubeconfig} --config={config} --image={node_image} --wait=0s"
        );
        let mut on_line = |line: Line<'_>| self.on_kind_line(line.text, &tell, &step);
        let created = Call::new(call, CREATE_LIMIT).without_trust().lines(&mut on_line).run();
        drop(tell);
        // What could not be imported here is imported by `load`, which tells why if it fails again.
        drop(importer.join());
        if let Err(error) = created {
            // kind does not say it when the daemon stopped under it; the daemon does.
            docker::daemon()?;
            return Err(error.into());
        }
        let nodes = docker::containers(&format!("label=io.x-k8s.kind.cluster={}", self.name))?;
        let id = nodes.first().map_or("", |it| it.id.as_str());
        let cache = builder.cache.root().display().to_string();
        docker::exec_with_input(&self.node(), &["tee", FINISHED], cache, NODE_LIMIT)?;
        let marker = self.folder.join("node-id");
        std::fs::write(&marker, id).map_err(Error::file("write", marker))?;
        step.done("");
        Ok(())
    }

    fn on_kind_line(&self, line: &str, tell: &Sender<()>, step: &events::Step) {
        step.progress(line.trim());
        // From here on kubeadm waits for the control plane, and containerd has time for us.
        if line.contains("Starting control-plane") {
            let _ = tell.send(());
        }
    }

    /// Imports the images while kubeadm works: both wait more than they compute.
    fn import_beside(&self, told: Receiver<()>, images: &[Built]) -> std::thread::JoinHandle<()> {
        let (cluster, images) = (self.clone(), images.to_vec());
        std::thread::spawn(move || {
            if told.recv().is_ok() {
                for built in &images {
                    drop(cluster.import(built));
                }
            }
        })
    }

    /// The checkout's configuration, and the cache's images mounted into the node.
    fn write_config(&self, builder: &Builder) -> Result<PathBuf, Error> {
        let source = builder.root.join("deploy/cluster/kind.yaml");
        let text = std::fs::read_to_string(&source).map_err(Error::file("read", &source))?;
        let images = builder.cache.root().join("image");
        std::fs::create_dir_all(&images).map_err(Error::file("create", &images))?;
        let path = self.folder.join("kind.yaml");
        std::fs::write(&path, with_images(&text, &images)).map_err(Error::file("write", &path))?;
        Ok(path)
    }

    fn delete(&self, builder: &Builder) -> Result<(), Error> {
        let kind = program::obtain_go(builder, program::go_program("kind")?)?;
        let (name, kubeconfig) = (&self.name, self.kubeconfig());
        let sh = shell()?;
        let call = cmd!(sh, "{kind} delete cluster --name={name} --kubeconfig={kubeconfig}");
        Call::new(call, NODE_LIMIT).without_trust().run()?;
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("remove", &self.folder)(error))
            }
            _ => Ok(()),
        }
    }

    fn start(&self, log: &Log, container: &Container) -> Result<(), Error> {
        let step = log.step("cluster-start", format!("start the cluster {} again", self.name));
        docker::start(&container.id)?;
        poll::until("the node's API server", NODE_LIMIT, || self.ready())?;
        let since = docker::started_at(&container.id)?;
        poll::until("the node's pods", NODE_LIMIT, || self.restarted(&since))?;
        step.done("");
        Ok(())
    }

    /// Which pods still have the status of the node's last life. Until the kubelet has started their
    /// containers again, the API server calls them ready, and nobody answers there.
    fn restarted(&self, since: &str) -> Result<(), String> {
        let format = "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[*].state.running.startedAt}{\"\\n\"}{end}";
        let command = [
            "kubectl",
            "--kubeconfig=/etc/kubernetes/admin.conf",
            "get",
            "pods",
            "--all-namespaces",
            "--output",
            format,
        ];
        let pods = docker::exec(&self.node(), &command, Duration::from_secs(10))
            .map_err(|error| error.to_string())?;
        let stale = stale_pods(&pods, since);
        if stale.is_empty() { Ok(()) } else { Err(format!("not yet: {}", stale.join(", "))) }
    }

    /// Why the API server does not answer, if it does not.
    fn ready(&self) -> Result<(), String> {
        let command =
            ["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "get", "--raw=/readyz"];
        docker::exec(&self.node(), &command, Duration::from_secs(10))
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Applies DNS and the emulated Google Cloud with the node's own kubectl.
    fn apply_addons(&self, log: &Log, manifests: String) -> Result<(), Error> {
        let applied = self.folder.join("addons.yaml");
        if std::fs::read_to_string(&applied).is_ok_and(|it| it == manifests) {
            return Ok(());
        }
        let step = log.step("cluster-addons", "apply DNS and the emulated Google Cloud");
        let command = [
            "kubectl",
            "--kubeconfig=/etc/kubernetes/admin.conf",
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=mlflow-xtask",
            "--filename=-",
        ];
        docker::exec_with_input(&self.node(), &command, manifests.clone(), NODE_LIMIT)?;
        std::fs::write(&applied, manifests).map_err(Error::file("write", applied))?;
        step.done("");
        Ok(())
    }
}

/// kind's configuration with a mount of the image archives on its first node.
fn with_images(config: &str, images: &Path) -> String {
    let mount = format!(
        "  - role: control-plane\n    extraMounts:\n      - hostPath: {}\n        containerPath: {IMAGES_IN_NODE}\n        readOnly: true\n",
        images.display()
    );
    config.replace("  - role: control-plane\n", &mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_are_mounted_into_the_node() {
        let config = with_images("nodes:\n  - role: control-plane\nx: 1\n", Path::new("/c/image"));
        assert!(
            config.contains("hostPath: /c/image\n        containerPath: /images\n"),
            "{config}"
        );
        assert!(config.ends_with("x: 1\n"));
    }
}
