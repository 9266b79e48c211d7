//! Subcommands: cargo xtask images build, load, list

use cluster::image::{Built, IMAGES, reference};

use crate::context::Context;
use crate::{doctor, output};

/// The container images.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Build the images that are not in the cache.
    #[command(after_help = "Example: cargo xtask images build")]
    Build,
    /// Load the images into the local cluster.
    #[command(after_help = "Example: cargo xtask images load")]
    Load,
    /// List the images, whether they are built, and whether the local cluster has them.
    #[command(after_help = "Example: cargo xtask images list")]
    List,
}

/// Runs a command of the group.
pub(crate) fn run(context: &Context, command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Build => {
            doctor::ensure(context)?;
            let built = build_all(context)?;
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
        Command::List => list(context)?,
    }
    Ok(())
}

/// Every image of the cluster, built when the cache lacks it.
pub(crate) fn build_all(context: &Context) -> anyhow::Result<Vec<Built>> {
    cluster::outlook::tell(&context.builder)?;
    let mut built = Vec::new();
    for image in &IMAGES {
        built.push(image.obtain(&context.builder)?);
    }
    Ok(built)
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
