//! What every build needs: where the recipes are, where results go, whom to tell.

use std::path::{Path, PathBuf};

use events::Log;

use crate::cache::Cache;
use crate::error::Error;
use crate::registry::Registry;

/// The context of a build.
#[derive(Clone)]
pub struct Builder {
    /// The checkout.
    pub root: PathBuf,
    /// Where results are kept.
    pub cache: Cache,
    /// Where steps are told.
    pub log: Log,
    /// Where images are looked for before they are built; nowhere unless the user names one.
    pub registry: Option<Registry>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use events::{Estimates, Style};

    #[test]
    fn a_disk_without_room_is_refused_with_what_is_free_and_the_way_out() {
        let cache = Cache::at(std::env::temp_dir()).unwrap();
        let log = Log::new(Style::Quiet, Estimates::load("/nonexistent".into(), &[]), None);
        let builder = Builder { root: PathBuf::new(), cache, log, registry: None };
        // No room at all, on every Linux.
        let error = builder.need_space(Path::new("/proc"), 1).unwrap_err().to_string();
        assert_eq!(
            error,
            "`/proc` has 0 MiB free, 1 MiB are wanted\nhint: free some space, or set MLFLOW_GKE_CACHE to a folder on another disk"
        );
        builder.need_space(Path::new("/proc"), 0).unwrap();
    }
}
