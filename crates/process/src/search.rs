//! Where a program is.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The file that PATH gives for `program`, or one of the administrator's folders that PATH of an
/// ordinary user leaves out (`dockerd` and `runc` are there on Debian).
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| {
            file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
        })
}
