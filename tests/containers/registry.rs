//! A real registry: what is pushed comes back as it was, and what it spoils is built instead.
//!
//! Checkout, cache and tags are the test's own, so no image of the user's is touched, but for the
//! name `dev`: every build moves it, and the test moves it back.

use crate::scene::{Scene, play};
use anyhow::{Context as _, ensure};
use e2e::{Background, Checkout, LIMIT, Run, program, root, run};
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};
use testcontainers::bollard::query_parameters::{RemoveImageOptions, TagImageOptionsBuilder};

const NAME: &str = "localhost/mlflow-gke/fake-gcs-server";
const DEV: &str = "localhost/mlflow-gke/fake-gcs-server:dev";

/// A checkout and a cache of the test's own, and a registry that runs on this machine.
struct Stage<'a> {
    scene: &'a Scene,
    checkout: Checkout,
    xtask: PathBuf,
    place: String,
    _server: Background,
}

impl Stage<'_> {
    async fn set(scene: &Scene) -> anyhow::Result<Stage<'_>> {
        let xtask = std::env::var_os("MLFLOW_GKE_XTASK")
            .context("MLFLOW_GKE_XTASK is not set\nhint: cargo xtask test sets it")?;
        let checkout = Checkout::copy(&root(), "registry")?;
        let cache = checkout.root.join("cache");
        fs::create_dir_all(&cache)?;
        // The program in the image takes a minute to compile, and is the same.
        let theirs = std::env::var_os("MLFLOW_GKE_CACHE").context("MLFLOW_GKE_CACHE is not set")?;
        std::os::unix::fs::symlink(Path::new(&theirs).join("program"), cache.join("program"))?;
        let config = checkout.root.join("registry.yml");
        let storage = checkout.root.join("registry");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            storage.display()
        );
        fs::write(&config, text)?;
        let mut server = program("docker-registry");
        server.arg("serve").arg(&config);
        let mut server = Background::start(server).context("hint: cargo xtask doctor --fix")?;
        let line = server.line(LIMIT, |it| it.contains("listening on "))?;
        let address = line.split("listening on ").nth(1).unwrap_or_default();
        let address = address.split('"').next().unwrap_or_default();
        let place = format!("{address}/mlflow-gke");
        Ok(Stage { scene, checkout, xtask: xtask.into(), place, _server: server })
    }

    /// A command of the command line on the test's checkout and cache.
    fn xtask(&self, place: &str, arguments: &str) -> anyhow::Result<Run> {
        let mut command = program(&self.xtask);
        command.args(arguments.split(' ')).args(["--registry", place]);
        command.env("MLFLOW_GKE_ROOT", &self.checkout.root);
        command.env("MLFLOW_GKE_CACHE", self.checkout.root.join("cache"));
        run(command, LIMIT)?.expect(0)
    }

    fn build(&self) -> anyhow::Result<Run> {
        self.xtask(&self.place, "images build fake-gcs-server")
    }

    /// Changes the recipe, and gives the image's new name. The image gets a layer that no other has:
    /// what the daemon has already it would not pull.
    fn change(&self, what: &str) -> anyhow::Result<String> {
        self.checkout.write("fake-gcs/marker", &format!("{what} of {}", self.scene.id))?;
        let dockerfile = fs::read_to_string(self.checkout.root.join("fake-gcs/Dockerfile"))?;
        if !dockerfile.contains("marker") {
            self.checkout.write("fake-gcs/Dockerfile", &format!("{dockerfile}COPY marker /\n"))?;
        }
        let list = self.xtask(&self.place, "images list")?.stdout;
        let name = list.split_whitespace().find(|it| it.starts_with(NAME));
        Ok(name.with_context(|| format!("no {NAME} in\n{list}"))?.to_owned())
    }

    /// An image's digest, if the daemon has the image.
    async fn id(&self, image: &str) -> Option<String> {
        self.scene.docker.inspect_image(image).await.ok()?.id
    }

    /// Removes the image from the cache and from the daemon.
    async fn forget(&self, image: &str) -> anyhow::Result<()> {
        let id = self.id(image).await.context("the image is not there")?;
        for name in [image, DEV] {
            let options = None::<RemoveImageOptions>;
            self.scene.docker.remove_image(name, options, None).await?;
        }
        fs::remove_dir_all(self.checkout.root.join("cache/image/fake-gcs-server"))?;
        ensure!(self.id(&id).await.is_none(), "{id} is still there under another name");
        Ok(())
    }

    /// The file in which the registry keeps the digest of a tag's manifest.
    fn link_of(&self, image: &str) -> anyhow::Result<PathBuf> {
        let (_, tag) = image.rsplit_once(':').context("an image without a tag")?;
        let tags = "repositories/mlflow-gke/fake-gcs-server/_manifests/tags";
        Ok(self.storage().join(tags).join(tag).join("current/link"))
    }

    fn blob(&self, digest: &str) -> anyhow::Result<PathBuf> {
        let hash = digest.trim().strip_prefix("sha256:").context("an unknown digest")?;
        Ok(self.storage().join("blobs/sha256").join(&hash[..2]).join(hash).join("data"))
    }

    fn storage(&self) -> PathBuf {
        self.checkout.root.join("registry/docker/registry/v2")
    }

    /// Cuts the image's layers in half.
    fn truncate_layers(&self, image: &str) -> anyhow::Result<()> {
        let manifest = self.blob(&fs::read_to_string(self.link_of(image)?)?)?;
        let manifest: Value = serde_json::from_str(&fs::read_to_string(manifest)?)?;
        let layers = manifest["layers"].as_array().context("a manifest without layers")?;
        ensure!(!layers.is_empty(), "an image without layers");
        for layer in layers {
            let path = self.blob(layer["digest"].as_str().unwrap_or_default())?;
            let file = fs::File::options().write(true).open(path)?;
            file.set_len(file.metadata()?.len() / 2)?;
        }
        Ok(())
    }

    /// Lets the tag of one image lead to another.
    fn move_tag(&self, of: &str, to: &str) -> anyhow::Result<()> {
        let link = self.link_of(of)?;
        fs::create_dir_all(link.parent().context("a link in no folder")?)?;
        fs::copy(self.link_of(to)?, link)?;
        Ok(())
    }
}

#[test]
fn what_a_registry_has_comes_back_as_it_was_and_what_it_spoils_is_built() {
    play(async |scene| {
        let stage = Stage::set(scene).await?;
        let dev = stage.id(DEV).await;
        let mut images = Vec::new();
        let ended = scenes(&stage, &mut images).await;
        match dev {
            Some(id) => {
                let options = TagImageOptionsBuilder::new().repo(NAME).tag("dev").build();
                scene.docker.tag_image(&id, Some(options)).await?;
            }
            None => images.push(DEV.to_owned()),
        }
        for image in images {
            // One that a failed test has not made is not there.
            let options = None::<RemoveImageOptions>;
            drop(scene.docker.remove_image(&image, options, None).await);
        }
        ended
    });
}

/// The images that it makes are in `images` when it ends, however it ends.
async fn scenes(stage: &Stage<'_>, images: &mut Vec<String>) -> anyhow::Result<()> {
    let first = stage.change("first")?;
    images.push(first.clone());
    stage.build()?.says("has no fake-gcs-server:")?.says("✓ build the fake-gcs-server image")?;
    let id = stage.id(&first).await.context("the image was not built")?;
    stage.xtask(&stage.place, "images push fake-gcs-server")?.says("pushed")?;
    stage.xtask(&stage.place, "images push fake-gcs-server")?.says("present")?;

    stage.forget(&first).await?;
    let pulled = stage.build()?.says("✓ pull the fake-gcs-server image")?;
    ensure!(!pulled.stderr.contains("build the"), "it was built: {}", pulled.stderr);
    ensure!(pulled.stdout.trim() == first, "another image was pulled: {}", pulled.stdout);
    ensure!(stage.id(&first).await == Some(id.clone()), "it has come back as something else");
    ensure!(stage.id(DEV).await == Some(id.clone()), "`dev` is another image");

    // Half of each layer is lost.
    stage.forget(&first).await?;
    stage.truncate_layers(&first)?;
    stage
        .build()?
        .says("failed while it gave fake-gcs-server:")?
        .says("✓ build the fake-gcs-server image")?;

    // Somebody has moved a tag to an image of another recipe; Docker has its layers.
    let second = stage.change("second")?;
    images.push(second.clone());
    stage.move_tag(&second, &first)?;
    stage
        .build()?
        .says("gave something else as fake-gcs-server:")?
        .says("✓ build the fake-gcs-server image")?;
    ensure!(stage.id(&second).await != stage.id(&first).await, "the wrong one got the name");

    // It takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let place = format!("{}/mlflow-gke", silent.local_addr()?);
    images.push(stage.change("third")?);
    stage
        .xtask(&place, "images build fake-gcs-server")?
        .says("gave no answer within 5 s; images are built instead")?
        .says("✓ build the fake-gcs-server image")?;
    Ok(())
}
