//! Secrets that are made at the first start and kept in the state's folder.

use std::io;
use std::path::Path;

use crate::state::{StoreError, write_whole};

/// The bytes of a file that only its owner can read; made when it is not there.
pub(crate) fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> io::Result<Vec<u8>>,
) -> Result<Vec<u8>, StoreError> {
    let failed = |what| move |source| StoreError::Io { path: path.to_owned(), what, source };
    match std::fs::read(path) {
        Ok(bytes) => return Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("cannot read it")(error)),
    }
    let bytes = make().map_err(failed("cannot make it"))?;
    write_whole(path, &bytes, true).map_err(failed("cannot write it"))?;
    Ok(bytes)
}
