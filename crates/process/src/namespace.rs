//! A network, mounts and process numbers that only one program and its children see.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program;

/// Namespaces for programs that take ports, addresses and host names: none of it is the machine's,
/// and nothing outlives the first program. Dropping this removes the folder of what they wrote.
pub struct Namespace {
    folder: PathBuf,
}

impl Namespace {
    /// Makes a folder for what the programs write; its name is short, since sockets are in it.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn make(name: &str) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("mlflow-gke-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        // PostgreSQL refuses to be root, and its user must come in.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder })
    }

    /// Where the programs write.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A program as the first in new namespaces, root there; killed with whoever waits for it.
    #[must_use]
    pub fn command(&self, first: impl AsRef<OsStr>) -> Command {
        let mut command = program("setpriv");
        command.args(["--pdeathsig=KILL", "unshare", "--net", "--mount", "--mount-proc"]);
        command.args(["--pid", "--fork", "--kill-child"]);
        if !rustix::process::geteuid().is_root() {
            command.args(["--map-root-user", "--map-auto"]);
        }
        command.arg(first).env("TMPDIR", &self.folder);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A temporary folder that stays behind harms nobody.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
