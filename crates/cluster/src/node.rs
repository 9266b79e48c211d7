//! The node image: built from our own Kubernetes, containerd and a Debian base.

use std::path::{Path, PathBuf};

use process::Line;

use crate::builder::Builder;
use crate::digest::Digest;
use crate::docker;
use crate::error::Error;
use crate::image::{copy_folder, import_base, label, link, reference};
use crate::program;
use crate::rust;

/// The Go programs that a node runs.
pub(crate) const PROGRAMS: [&str; 6] =
    ["kubernetes", "containerd", "containerd-shim-runc-v2", "ctr", "etcd", "coredns"];

/// The beginning of every node image's name: by it a cluster is known to be ours.
pub(crate) const NODE_IMAGE: &str = "localhost/mlflow-gke/node:";

/// The name of the node image that the checkout describes. Only files of the checkout are read.
///
/// # Errors
/// A file cannot be read.
pub fn image_name(root: &Path) -> Result<String, Error> {
    Ok(format!("{NODE_IMAGE}{}", tag(root)?))
}

/// The hash over the recipe.
///
/// # Errors
/// A file cannot be read.
pub fn tag(root: &Path) -> Result<String, Error> {
    let mut digest = Digest::default();
    digest.add("recipe", "node-2");
    digest.add("architecture", std::env::consts::ARCH);
    digest.add_folder(&root.join("deploy/cluster/node"))?;
    digest.add_folder(&root.join("crates/runtime-wrapper"))?;
    digest.add_file("base.excludes", &root.join("deploy/images/base.excludes"))?;
    for module in ["kubernetes", "containerd", "etcd", "coredns"] {
        digest.add_folder(&root.join("tools").join(module))?;
    }
    Ok(digest.finish())
}

/// The node image in Docker's store; when it is not there, from the registry if the user names one
/// that has it, and built otherwise. Putting it together takes seconds once its parts are in the
/// cache, so it has no archive of its own there.
///
/// # Errors
/// A part could not be built.
pub fn obtain_image(builder: &Builder) -> Result<String, Error> {
    let image = image_name(&builder.root)?;
    let _lock = builder.cache.lock_name(&builder.log, "node-image")?;
    if !docker::has_image(&image)? && !pull(builder, &image)? {
        build(builder, &image)?;
    }
    Ok(image)
}

/// The Kubernetes program. Rendering needs it long before a cluster needs a node, and it takes longer
/// to compile than everything else, so where the cache lacks it a node image of the registry gives it.
pub(crate) fn obtain_kubernetes(builder: &Builder) -> Result<PathBuf, Error> {
    let program = program::go_program("kubernetes")?;
    let is_missing = !program::missing_go(builder, &[program.name])?.is_empty();
    if is_missing && builder.registry.is_some() && docker::daemon().is_ok() {
        let image = image_name(&builder.root)?;
        let _lock = builder.cache.lock_name(&builder.log, "node-image")?;
        if docker::has_image(&image)? || pull(builder, &image)? {
            let title = "take Kubernetes out of the node image".to_owned();
            let path = format!("/usr/local/bin/{}", program.name);
            let take = |to: &Path| docker::copy_out(&image, &path, to);
            return program::take_go(builder, program, title, take);
        }
    }
    program::obtain_go(builder, program)
}

/// Whether the registry gave the image.
fn pull(builder: &Builder, image: &str) -> Result<bool, Error> {
    let Some(registry) = &builder.registry else { return Ok(false) };
    let tag = tag(&builder.root)?;
    if !registry.has(&builder.log, "node", &tag)? {
        return Ok(false);
    }
    let step = builder.log.step("pull-node", format!("pull the node image from {registry}"));
    let images = [image.to_owned()];
    let pulled = registry.pull(&step, "node", &tag, &images).map(|()| step.done(""));
    Ok(registry.excuse(&builder.log, pulled)?.is_some())
}

fn build(builder: &Builder, image: &str) -> Result<(), Error> {
    let folder = builder.root.join("deploy/cluster/node");
    let base = import_base(builder, "node", &folder)?;
    let mut programs = vec![rust::RUNTIME_WRAPPER.obtain(builder)?];
    for name in PROGRAMS {
        programs.push(program::obtain_go(builder, program::go_program(name)?)?);
    }
    let pause = program::obtain_pause(builder)?;
    let step = builder.log.step("image-node", "build the node image");
    let context = builder.cache.root().join("node-context");
    builder.need_space(builder.cache.root(), 2 * 1024)?;
    drop(std::fs::remove_dir_all(&context));
    let mut on_line = |line: Line<'_>| step.progress(line.text);
    stage(builder, &folder, &programs, &pause, &context, &mut on_line)?;
    let labels = [label("node", &tag(&builder.root)?)];
    let images = [image.to_owned()];
    docker::build(&context, &[("BASE", &base)], &labels, &images, &mut on_line)?;
    std::fs::remove_dir_all(&context).map_err(Error::file("remove", context))?;
    step.done("");
    Ok(())
}

fn stage(
    builder: &Builder,
    folder: &Path,
    programs: &[PathBuf],
    pause: &Path,
    context: &Path,
    on_line: &mut dyn FnMut(Line<'_>),
) -> Result<(), Error> {
    let pause_context = context.join("pause");
    link(pause, &pause_context.join("pause"))?;
    let dockerfile = pause_context.join("Dockerfile");
    std::fs::write(&dockerfile, "FROM scratch\nCOPY pause /pause\nENTRYPOINT [\"/pause\"]\n")
        .map_err(Error::file("write", dockerfile))?;
    let pause_image = [reference("pause", "1")];
    docker::build(&pause_context, &[], &[], &pause_image, on_line)?;
    std::fs::remove_dir_all(&pause_context).map_err(Error::file("remove", pause_context))?;
    copy_folder(folder, context)?;
    for program in programs {
        link(program, &context.join("bin").join(program.file_name().unwrap_or_default()))?;
    }
    let files = context.join("files/kind");
    docker::save(&pause_image, &files.join("pause.tar"))?;
    let version = program::kubernetes_version(&builder.root)?;
    std::fs::write(files.join("version"), version).map_err(Error::file("write", files))
}
