//! What was built, by the hash of what it was built from, outside the checkout.
//!
//! `ROOT/KIND/NAME/KEY/` is one result. It is built in a folder beside it and renamed into place, so
//! a result is there whole or not at all, whenever the build is stopped. A lock per name makes the
//! second of two builders wait for the first one's result. A seal holds each file's hash; a result
//! that no longer matches is thrown away and built again.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use events::{Log, Step};

use crate::digest;
use crate::error::Error;

/// The file that closes a result: each file's hash, by its path inside the result.
const SEAL: &str = ".seal.json";

/// The cache. Its root is `MLFLOW_GKE_CACHE`, or `mlflow-gke` in the user's cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// One thing that can be built.
pub struct Recipe<'a> {
    /// The folder in the cache: `program`, `base`, `python`, `image`.
    pub kind: &'static str,
    /// The thing's name.
    pub name: &'a str,
    /// The hash of everything that goes into it.
    pub key: &'a str,
    /// What a person reads while it is built.
    pub title: String,
}

impl Recipe<'_> {
    /// The name of the step that builds it, by which its time is remembered.
    pub(crate) fn step(&self) -> String {
        format!("{}-{}", self.kind, self.name)
    }
}

impl Cache {
    /// The cache below `root`, which is made when it is missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn at(root: PathBuf) -> Result<Self, Error> {
        std::fs::create_dir_all(&root).map_err(Error::file("create", &root))?;
        Ok(Self { root })
    }

    /// The folder that holds everything.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a result is, if it is there and closed. Its content is not looked at.
    #[must_use]
    pub fn peek(&self, recipe: &Recipe<'_>) -> Option<PathBuf> {
        let folder = self.folder(recipe);
        folder.join(SEAL).is_file().then_some(folder)
    }

    /// The result, from the cache when it is there and sound, else built by `build` into the empty
    /// folder that it is given.
    ///
    /// # Errors
    /// Those of `build`, and those of the file system.
    pub fn obtain(
        &self,
        log: &Log,
        recipe: &Recipe<'_>,
        build: impl FnOnce(&Path, &Step) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        self.obtain_by(log, recipe, &recipe.step(), build)
    }

    /// The same, where `step` is not the usual way to the result: its time is remembered apart.
    pub(crate) fn obtain_by(
        &self,
        log: &Log,
        recipe: &Recipe<'_>,
        step: &str,
        build: impl FnOnce(&Path, &Step) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        let folder = self.folder(recipe);
        let _lock = self.lock(log, recipe)?;
        match self.peek(recipe).map(|folder| check_seal(&folder)) {
            Some(Ok(())) => return Ok(folder),
            Some(Err(reason)) => {
                log.note(format!(
                    "the cached {} is not sound ({reason}): building it again",
                    recipe.name
                ));
                remove(&folder)?;
            }
            None => {}
        }
        let step = log.step(step, recipe.title.clone());
        let unfinished = folder.with_extension("unfinished");
        remove(&unfinished)?;
        std::fs::create_dir_all(&unfinished).map_err(Error::file("create", &unfinished))?;
        build(&unfinished, &step)?;
        seal(&unfinished)?;
        remove(&folder)?;
        std::fs::rename(&unfinished, &folder).map_err(Error::file("create", &folder))?;
        self.forget_older(recipe);
        step.done("");
        Ok(folder)
    }

    /// Holds the lock of `name` until it is dropped; the operating system frees it when we die.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn lock_name(&self, log: &Log, name: &str) -> Result<File, Error> {
        let (file, path) = self.lock_file(name)?;
        if file.try_lock().is_err() {
            log.note(format!("another run holds `{name}`; waiting for it"));
            file.lock().map_err(Error::file("lock", &path))?;
        }
        Ok(file)
    }

    /// Shares the lock of `name` with all who share it, until it is dropped.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub(crate) fn share_name(&self, name: &str) -> Result<File, Error> {
        let (file, path) = self.lock_file(name)?;
        file.lock_shared().map_err(Error::file("lock", &path))?;
        Ok(file)
    }

    /// The lock of `name`, unless somebody holds or shares it.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub(crate) fn try_lock_name(&self, name: &str) -> Result<Option<File>, Error> {
        let (file, _) = self.lock_file(name)?;
        Ok(file.try_lock().is_ok().then_some(file))
    }

    fn lock_file(&self, name: &str) -> Result<(File, PathBuf), Error> {
        let folder = self.root.join("locks");
        std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        let path = folder.join(name);
        let file = File::create(&path).map_err(Error::file("create", &path))?;
        Ok((file, path))
    }

    fn lock(&self, log: &Log, recipe: &Recipe<'_>) -> Result<File, Error> {
        self.lock_name(log, &recipe.step())
    }

    fn folder(&self, recipe: &Recipe<'_>) -> PathBuf {
        self.root.join(recipe.kind).join(recipe.name).join(recipe.key)
    }

    /// Keeps the two newest results of a name: the present one and the one before, so that going
    /// back and forth between two branches builds nothing. What cannot be removed stays.
    fn forget_older(&self, recipe: &Recipe<'_>) {
        let Ok(entries) = std::fs::read_dir(self.root.join(recipe.kind).join(recipe.name)) else {
            return;
        };
        let mut results: Vec<_> = entries
            .filter_map(Result::ok)
            .filter(|it| it.file_name() != recipe.key)
            .filter_map(|it| Some((it.metadata().ok()?.modified().ok()?, it.path())))
            .collect();
        results.sort();
        results.pop();
        for (_, path) in results {
            drop(std::fs::remove_dir_all(path));
        }
    }
}

fn seal(folder: &Path) -> Result<(), Error> {
    let mut hashes = BTreeMap::new();
    for file in digest::files(folder)? {
        let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
        hashes.insert(name, digest::of_file(&file)?);
    }
    let path = folder.join(SEAL);
    let text = serde_json::to_string(&hashes).unwrap_or_default();
    std::fs::write(&path, text).map_err(Error::file("write", path))
}

/// Why a result may not be used, if there is a reason.
fn check_seal(folder: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(folder.join(SEAL)).map_err(|error| error.to_string())?;
    let hashes: BTreeMap<String, String> =
        serde_json::from_str(&text).map_err(|_| "its seal is not JSON".to_owned())?;
    for (name, expected) in hashes {
        let found = digest::of_file(&folder.join(&name)).map_err(|error| error.to_string())?;
        if found != expected {
            return Err(format!("`{name}` has changed since it was built"));
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { action: "remove", path: folder.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::{Estimates, Style};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A cache in a folder of its own, which goes with it.
    struct Temporary(Cache);

    impl Temporary {
        fn new(test: &str) -> Self {
            let root = std::env::temp_dir().join(format!("cache-{test}-{}", std::process::id()));
            Self(Cache::at(root).unwrap())
        }

        fn obtain(&self, content: &str) -> String {
            let recipe = Recipe { kind: "program", name: "x", key: "k", title: "x".into() };
            let folder = self
                .0
                .obtain(&log(), &recipe, |folder, _| {
                    std::fs::write(folder.join("x"), content).map_err(Error::file("write", "x"))
                })
                .unwrap();
            std::fs::read_to_string(folder.join("x")).unwrap()
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(self.0.root()));
        }
    }

    fn log() -> Log {
        Log::new(Style::Quiet, Estimates::load("/nonexistent".into(), &[]), None)
    }

    #[test]
    fn a_result_is_built_once() {
        let cache = Temporary::new("once");
        assert_eq!(cache.obtain("first"), "first");
        assert_eq!(cache.obtain("second"), "first");
    }

    #[test]
    fn a_corrupt_result_is_built_again() {
        let cache = Temporary::new("corrupt");
        cache.obtain("first");
        std::fs::write(cache.0.root().join("program/x/k/x"), "fir").unwrap();
        assert_eq!(cache.obtain("second"), "second");
    }

    #[test]
    fn a_lost_file_is_built_again() {
        let cache = Temporary::new("lost");
        cache.obtain("first");
        std::fs::remove_file(cache.0.root().join("program/x/k/x")).unwrap();
        assert_eq!(cache.obtain("second"), "second");
    }

    #[test]
    fn a_failed_build_leaves_no_result() {
        let cache = Temporary::new("failed");
        let recipe = Recipe { kind: "program", name: "x", key: "k", title: "x".into() };
        let failed = cache.0.obtain(&log(), &recipe, |folder, _| {
            std::fs::write(folder.join("x"), "half").unwrap();
            Err(Error::Other("interrupted".into()))
        });
        assert!(failed.is_err());
        assert_eq!(cache.0.peek(&recipe), None);
        assert_eq!(cache.obtain("whole"), "whole");
    }

    #[test]
    fn two_builders_at_once_build_once() {
        let cache = Temporary::new("two");
        let n_builds = AtomicUsize::new(0);
        let recipe = || Recipe { kind: "program", name: "x", key: "k", title: "x".into() };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    cache.0.obtain(&log(), &recipe(), |folder, _| {
                        n_builds.fetch_add(1, Ordering::SeqCst);
                        std::fs::write(folder.join("x"), "whole").map_err(Error::file("write", "x"))
                    })
                });
            }
        });
        assert_eq!(n_builds.load(Ordering::SeqCst), 1);
    }
}
