//! Names for what was built: a hash over everything that went into it.

use std::io::Read;
use std::path::Path;

use crate::Error;

/// Collects the inputs of a build. Each is named, so that two inputs cannot trade places.
pub struct Digest(ring::digest::Context);

impl Default for Digest {
    fn default() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }
}

impl Digest {
    /// Adds one named input.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        for part in [name.as_bytes(), value] {
            self.0.update(&part.len().to_le_bytes());
            self.0.update(part);
        }
    }

    /// Adds a file under a name that does not depend on where the checkout is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn add_file(&mut self, name: &str, path: &Path) -> Result<(), Error> {
        let content = std::fs::read(path).map_err(Error::file("read", path))?;
        self.add(name, content);
        Ok(())
    }

    /// Adds every file below a folder, by its path inside the folder, in the order of their names.
    ///
    /// # Errors
    /// A file or folder cannot be read.
    pub fn add_folder(&mut self, folder: &Path) -> Result<(), Error> {
        for file in files(folder)? {
            let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
            self.add_file(&name, &file)?;
        }
        Ok(())
    }

    /// The first 16 hexadecimal digits: enough for names on one machine, short enough for people.
    #[must_use]
    pub fn finish(self) -> String {
        hex(self.0.finish().as_ref(), 8)
    }
}

/// All files below a folder, sorted, without editors' and Python's leftovers.
///
/// # Errors
/// A folder cannot be read.
pub(crate) fn files(folder: &Path) -> Result<Vec<std::path::PathBuf>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
            let entry = entry.map_err(Error::file("read", &folder))?;
            let name = entry.file_name();
            if name == "__pycache__" || name.to_string_lossy().ends_with('~') {
                continue;
            }
            let kind = entry.file_type().map_err(Error::file("read", entry.path()))?;
            if kind.is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    Ok(found)
}

/// The whole hash of a file's content.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn of_file(path: &Path) -> Result<String, Error> {
    let mut file = std::fs::File::open(path).map_err(Error::file("open", path))?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).map_err(Error::file("read", path))?;
        if n == 0 {
            return Ok(hex(context.finish().as_ref(), 32));
        }
        context.update(&buffer[..n]);
    }
}

fn hex(bytes: &[u8], n_bytes: usize) -> String {
    bytes.iter().take(n_bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(inputs: &[(&str, &str)]) -> String {
        let mut digest = Digest::default();
        inputs.iter().for_each(|(name, value)| digest.add(name, value));
        digest.finish()
    }

    #[test]
    fn equal_inputs_have_equal_names() {
        assert_eq!(of(&[("a", "1")]), of(&[("a", "1")]));
        assert_eq!(of(&[("a", "1")]).len(), 16);
    }

    #[test]
    fn inputs_cannot_trade_places_or_run_together() {
        assert_ne!(of(&[("a", "1"), ("b", "2")]), of(&[("b", "2"), ("a", "1")]));
        assert_ne!(of(&[("ab", "c")]), of(&[("a", "bc")]));
    }
}
