//! Subcommands: cargo xtask images build, load, push, list

use cluster::image::{Built, IMAGES, Image, ensure_in_docker, reference};
use cluster::{Pushed, docker, node};

use crate::context::Context;
use crate::{doctor, exit, output};

/// What is pushed: the cluster's images, and that of its node.
const PUSHED: [&str; 6] =
    [IMAGES[0].name, IMAGES[1].name, IMAGES[2].name, IMAGES[3].name, IMAGES[4].name, "node"];

/// The container images.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Build the images that are not in the cache.
    #[command(after_help = "Examples:
  cargo xtask images build           all of them
  cargo xtask images build mlflow    this one
  cargo xtask images build --registry europe-north1-docker.pkg.dev/my-project/mlflow-gke
                                     pulled instead where that registry has them")]
    Build {
        /// Only these.
        #[arg(value_name = "NAME", value_parser = IMAGES.map(|it| it.name))]
        names: Vec<String>,
    },
    /// Load the images into the local cluster.
    #[command(after_help = "Example: cargo xtask images load")]
    Load,
    /// Push the images that are built to a registry, the node's included, where it lacks them.
    #[command(after_help = "Example:
  cargo xtask images push --registry europe-north1-docker.pkg.dev/my-project/mlflow-gke")]
    Push {
        /// Only these.
        #[arg(value_name = "NAME", value_parser = PUSHED)]
        names: Vec<String>,
    },
    /// List the images, whether they are built, and whether the local cluster has them.
    #[command(after_help = "Example: cargo xtask images list")]
    List,
}

/// Runs a command of the group.
pub(crate) fn run(context: &Context, command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Build { names } => {
            doctor::ensure(context)?;
            let built = match names.is_empty() {
                true => build_all(context)?,
                false => build(context, |it| names.iter().any(|name| name == it.name))?,
            };
            let lines: Vec<String> = built.iter().map(Built::reference).collect();
            output::result(context, &lines.join("\n"), serde_json::json!({ "images": lines }));
        }
        Command::Load => {
            doctor::ensure(context)?;
            if !context.cluster.is_running()? {
                return Err(cluster::Error::NoCluster { name: context.cluster.name.clone() }.into());
            }
            let built = build_all(context)?;
            context.cluster.load(&context.log, &built)?;
        }
        Command::Push { names } => push(context, names)?,
        Command::List => list(context)?,
    }
    Ok(())
}

/// Every image of the cluster, built when the cache lacks it.
pub(crate) fn build_all(context: &Context) -> anyhow::Result<Vec<Built>> {
    cluster::outlook::tell(&context.builder)?;
    build(context, |_| true)
}

fn build(context: &Context, is_wanted: impl Fn(&Image) -> bool) -> anyhow::Result<Vec<Built>> {
    let mut built = Vec::new();
    for image in IMAGES.iter().filter(|it| is_wanted(it)) {
        built.push(image.obtain(&context.builder)?);
    }
    Ok(built)
}

fn push(context: &Context, names: &[String]) -> anyhow::Result<()> {
    let Some(registry) = &context.builder.registry else {
        return Err(exit::error(
            exit::USAGE,
            "no registry is set to push to\nhint: --registry HOST[:PORT]/PATH, or the variable MLFLOW_GKE_REGISTRY",
        ));
    };
    doctor::ensure(context)?;
    let mut rows = Vec::new();
    let mut images = Vec::new();
    for name in PUSHED.iter().filter(|it| names.is_empty() || names.iter().any(|name| name == *it))
    {
        let (tag, is_built) = ready(context, name)?;
        let image = registry.reference(name, &tag);
        let state = match is_built {
            false => "not built",
            true => match registry.push(&context.log, name, &tag)? {
                Pushed::Now => "pushed",
                Pushed::Before => "present",
            },
        };
        rows.push(vec![state.to_owned(), image.clone()]);
        images.push(serde_json::json!({ "image": image, "state": state }));
    }
    if rows.iter().all(|row| row[0] == "not built") {
        return Err(exit::error(
            exit::FAILED,
            "none of these images is built, so there is nothing to push\nhint: cargo xtask cluster up",
        ));
    }
    output::result(context, &output::table(&rows), serde_json::json!({ "images": images }));
    Ok(())
}

/// An image's tag, and whether it is built; then Docker has it.
fn ready(context: &Context, name: &str) -> anyhow::Result<(String, bool)> {
    let Some(image) = IMAGES.iter().find(|it| it.name == name) else {
        let tag = node::tag(&context.root)?;
        let is_built = docker::has_image(&reference(name, &tag))?;
        return Ok((tag, is_built));
    };
    let is_built = image.is_built(&context.builder)?;
    if is_built {
        ensure_in_docker(&image.obtain(&context.builder)?)?;
    }
    Ok((image.tag(&context.root)?, is_built))
}

fn list(context: &Context) -> anyhow::Result<()> {
    let loaded = match context.cluster.is_running() {
        Ok(true) => context.cluster.loaded()?,
        _ => Vec::new(),
    };
    let mut rows = vec![["IMAGE", "BUILT", "LOADED", "UNPACKED"].map(str::to_owned).to_vec()];
    let mut images = Vec::new();
    for image in &IMAGES {
        let name = reference(image.name, &image.tag(&context.root)?);
        let is_built = image.is_built(&context.builder)?;
        let is_loaded = loaded.contains(&name);
        let size_mb = cluster::docker::size_mb(&name)?;
        let size = size_mb.map_or("-".to_owned(), |mb| format!("{mb} MB"));
        rows.push(vec![name.clone(), yes_no(is_built), yes_no(is_loaded), size]);
        images.push(serde_json::json!({
            "image": name, "built": is_built, "loaded": is_loaded, "unpacked_mb": size_mb,
        }));
    }
    output::result(context, &output::table(&rows), serde_json::json!({ "images": images }));
    Ok(())
}

fn yes_no(it: bool) -> String {
    if it { "yes" } else { "no" }.to_owned()
}
