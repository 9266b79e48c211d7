//! The programs inside Kubernetes' one binary that run on the host: kubectl and, for tests, the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use process::{Call, cmd};

use crate::builder::Builder;
use crate::error::Error;
use crate::node;
use crate::program::shell;

/// Kustomize reads a few dozen small files.
const RENDER_LIMIT: Duration = Duration::from_secs(60);

/// The manifests of a Kustomize folder, by the kubectl of this project's Kubernetes.
///
/// # Errors
/// The folder does not render, or kubectl could not be built.
pub fn render(builder: &Builder, folder: &Path) -> Result<String, Error> {
    let kubectl = kubectl(builder)?;
    let sh = shell()?;
    let call = Call::new(cmd!(sh, "{kubectl} kustomize {folder}"), RENDER_LIMIT).without_trust();
    Ok(call.run()?.stdout)
}

/// This project's kubectl: the Kubernetes program under that name. Every environment renders with
/// it, whatever else is on PATH.
///
/// # Errors
/// It could not be built.
pub fn kubectl(builder: &Builder) -> Result<PathBuf, Error> {
    kubernetes_as(builder, "kubectl")
}

/// This project's API server, for tests that need no more than that.
///
/// # Errors
/// It could not be built.
pub fn kube_apiserver(builder: &Builder) -> Result<PathBuf, Error> {
    kubernetes_as(builder, "kube-apiserver")
}

/// The Kubernetes program under the name of one of its parts.
fn kubernetes_as(builder: &Builder, name: &str) -> Result<PathBuf, Error> {
    let kubernetes = node::obtain_kubernetes(builder)?;
    let link = builder.cache.root().join("bin").join(name);
    if std::fs::read_link(&link).is_ok_and(|it| it == kubernetes) {
        return Ok(link);
    }
    let folder = builder.cache.root().join("bin");
    std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    let new = folder.join(format!("{name}.{}", std::process::id()));
    std::os::unix::fs::symlink(&kubernetes, &new).map_err(Error::file("create", &new))?;
    std::fs::rename(&new, &link).map_err(Error::file("create", &link))?;
    Ok(link)
}
