//! What every build needs: where the recipes are, where results go, whom to tell.

use std::path::{Path, PathBuf};

use events::Log;

use crate::cache::Cache;
use crate::error::Error;

/// The context of a build.
#[derive(Clone)]
pub struct Builder {
    /// The checkout.
    pub root: PathBuf,
    /// Where results are kept.
    pub cache: Cache,
    /// Where steps are told.
    pub log: Log,
}

impl Builder {
    /// Refuses to begin what would fill the disk half-way.
    ///
    /// # Errors
    /// Less than `wanted_mib` is free where `folder` is.
    pub fn need_space(&self, folder: &Path, wanted_mib: u64) -> Result<(), Error> {
        let free_mib = free_mib(folder)?;
        if free_mib < wanted_mib {
            return Err(Error::DiskFull { path: folder.to_owned(), free_mib, wanted_mib });
        }
        Ok(())
    }
}

/// The free space where `folder` is, in MiB, as an ordinary user may use it.
///
/// # Errors
/// The file system does not tell.
pub fn free_mib(folder: &Path) -> Result<u64, Error> {
    let stat = rustix::fs::statvfs(folder)
        .map_err(|error| Error::file("measure", folder)(error.into()))?;
    Ok(stat.f_bavail * stat.f_frsize / (1 << 20))
}
