//! The one writer: a change is on disk before anybody sees it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::State;
use super::journal::{self, Change, Journal};
use crate::error::Error;

/// A journal that is longer is replaced by a snapshot.
const JOURNAL_LIMIT: u64 = 4 << 20;

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or a file in it cannot be read or written.
    #[error("state folder `{path}`: {what}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error("state folder `{0}` is in use by another process")]
    InUse(PathBuf),
    /// It was changed by something else than this program.
    #[error("state file `{path}` is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The state and its files.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    published: RwLock<Arc<State>>,
    writer: Mutex<Writer>,
    /// Held as long as the store is.
    _lock: File,
}

#[derive(Debug)]
struct Writer {
    journal: Journal,
    sequence: u64,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    sequence: u64,
    tables: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Store {
    /// Opens the state of a folder; an empty one begins with `fresh`.
    ///
    /// # Errors
    /// When the folder is in use, cannot be written, or holds something damaged.
    pub fn open(folder: &Path, fresh: State) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(io_error(folder, "cannot make it"))?;
        let lock = lock(folder)?;
        let journal_path = folder.join("journal");
        let (journal, changes) = Journal::open(&journal_path).map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                StoreError::Damaged { path: journal_path.clone(), why: error.to_string() }
            } else {
                io_error(&journal_path, "cannot read it")(error)
            }
        })?;
        let mut state = State::default();
        let mut sequence = 0;
        match read_snapshot(&folder.join("snapshot"))? {
            Some(snapshot) => {
                sequence = snapshot.sequence;
                restore(&mut state, rows(snapshot.tables)).map_err(damaged(folder, "snapshot"))?;
                sequence =
                    apply(&mut state, sequence, changes).map_err(damaged(folder, "journal"))?;
            }
            // The snapshot is the first file that is ever complete, so this folder is a new one.
            None if changes.is_empty() => state = fresh,
            None => return Err(damaged(folder, "snapshot")("it is gone".to_owned())),
        }
        let _ = touched(&mut state);
        let mut writer = Writer { journal, sequence };
        snapshot(folder, &mut state, &mut writer).map_err(io_error(folder, "cannot write"))?;
        let published = RwLock::new(Arc::new(state));
        Ok(Self { folder: folder.to_owned(), published, writer: Mutex::new(writer), _lock: lock })
    }

    /// The state at this moment. Later changes do not reach it.
    #[must_use]
    pub fn read(&self) -> Arc<State> {
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state: all that `edit` did is on disk and visible when this returns, or
    /// nothing is, when it returned an error.
    ///
    /// It is a plain call because a dropped future must not leave a half-done write behind; a
    /// runtime with several threads is told that this one waits for the disk.
    ///
    /// # Errors
    /// What `edit` returned, or 503 when the disk refused.
    pub fn change<T>(&self, edit: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        use tokio::runtime::{Handle, RuntimeFlavor};

        let several =
            Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
        if several {
            tokio::task::block_in_place(|| self.change_here(edit))
        } else {
            self.change_here(edit)
        }
    }

    fn change_here<T>(
        &self,
        edit: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = State::clone(&self.read());
        let result = edit(&mut next)?;
        let rows = touched(&mut next).map_err(|error| Error::internal(&error.to_string()))?;
        if rows.is_empty() {
            return Ok(result);
        }
        let change = Change { sequence: writer.sequence + 1, rows };
        let line = journal::encode(&change).map_err(|error| Error::internal(&error.to_string()))?;
        writer.journal.append(&line).map_err(|error| Error::unavailable(&error.to_string()))?;
        writer.sequence += 1;
        if writer.journal.length() > JOURNAL_LIMIT {
            // The change is safe already; a disk that is full now may have room next time.
            drop(snapshot(&self.folder, &mut next, &mut writer));
        }
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(result)
    }
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(io_error(&path, "cannot make it"))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse(folder.to_owned())),
        Err(error) => Err(io_error(&path, "cannot lock it")(error.into())),
    }
}

fn read_snapshot(path: &Path) -> Result<Option<Snapshot>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(path, "cannot read it")(error)),
    };
    let snapshot = bytes.strip_suffix(b"\n").and_then(journal::decode);
    let why = || "its checksum does not fit".to_owned();
    snapshot.map(Some).ok_or_else(|| StoreError::Damaged { path: path.to_owned(), why: why() })
}

/// Replays the changes that the snapshot does not hold yet, and tells the last one's number.
fn apply(state: &mut State, mut sequence: u64, changes: Vec<Change>) -> Result<u64, String> {
    for change in changes {
        // A crash between the snapshot's rename and the journal's cut leaves old lines.
        if change.sequence <= sequence {
            continue;
        }
        if change.sequence != sequence + 1 {
            return Err(format!("change {} follows {sequence}", change.sequence));
        }
        sequence = change.sequence;
        restore(state, change.rows)?;
    }
    Ok(sequence)
}

fn restore(state: &mut State, rows: Vec<(String, String, Value)>) -> Result<(), String> {
    let mut tables = BTreeMap::from(state.tables_mut());
    for (table, key, row) in rows {
        let unknown = || format!("there is no table `{table}`");
        let stored = tables.get_mut(table.as_str()).ok_or_else(unknown)?;
        let unreadable = |error| format!("row `{key}` of `{table}`: {error}");
        stored.restore(key.clone(), row).map_err(unreadable)?;
    }
    Ok(())
}

fn rows(tables: BTreeMap<String, BTreeMap<String, Value>>) -> Vec<(String, String, Value)> {
    let rows = tables.into_iter().flat_map(|(table, rows)| {
        rows.into_iter().map(move |(key, row)| (table.clone(), key, row))
    });
    rows.collect()
}

fn touched(state: &mut State) -> serde_json::Result<Vec<(String, String, Value)>> {
    let mut all = Vec::new();
    for (name, table) in state.tables_mut() {
        let rows = table.take_touched()?;
        all.extend(rows.into_iter().map(|(key, row)| (name.to_owned(), key, row)));
    }
    Ok(all)
}

/// Writes everything to one file and empties the journal.
fn snapshot(folder: &Path, state: &mut State, writer: &mut Writer) -> io::Result<()> {
    let mut tables = BTreeMap::new();
    for (name, table) in state.tables_mut() {
        tables.insert(name.to_owned(), table.dump()?);
    }
    let line = journal::encode(&Snapshot { sequence: writer.sequence, tables })?;
    journal::write_whole(&folder.join("snapshot"), &line, true)?;
    writer.journal.clear()
}

fn io_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, what, source }
}

fn damaged(folder: &Path, file: &str) -> impl FnOnce(String) -> StoreError {
    let path = folder.join(file);
    move |why| StoreError::Damaged { path, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(store: &Store, value: u64) {
        let done = store.change(|state| {
            state.settings.insert("value", Value::from(value));
            Ok(())
        });
        done.unwrap();
    }

    fn value(store: &Store) -> Option<u64> {
        store.read().settings.get("value").and_then(Value::as_u64)
    }

    fn open(folder: &Path) -> Result<Store, StoreError> {
        Store::open(folder, State::default())
    }

    #[test]
    fn a_journal_cut_at_any_byte_opens_with_the_last_whole_change() {
        let made = tempfile::tempdir().unwrap();
        let store = open(made.path()).unwrap();
        let mut ends = vec![0];
        for it in 1..=4 {
            set(&store, it);
            ends.push(fs::metadata(made.path().join("journal")).unwrap().len());
        }
        let snapshot = fs::read(made.path().join("snapshot")).unwrap();
        let journal = fs::read(made.path().join("journal")).unwrap();
        for cut in 0..=journal.len() {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("snapshot"), &snapshot).unwrap();
            fs::write(folder.path().join("journal"), &journal[..cut]).unwrap();
            let whole = ends.iter().filter(|it| **it <= cut as u64).count() as u64 - 1;
            let store = open(folder.path()).unwrap();
            assert_eq!(value(&store), (whole > 0).then_some(whole), "cut at {cut}");
            // It goes on from there, and that is kept too.
            set(&store, 100);
            drop(store);
            assert_eq!(value(&open(folder.path()).unwrap()), Some(100), "cut at {cut}");
        }
    }

    #[test]
    fn a_crash_between_snapshot_and_cut_counts_no_change_twice() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        set(&store, 1);
        set(&store, 2);
        let journal = fs::read(folder.path().join("journal")).unwrap();
        drop(store);
        // Opening made a snapshot of both; the journal is as if it had not been cut.
        drop(open(folder.path()).unwrap());
        fs::write(folder.path().join("journal"), &journal).unwrap();
        let store = open(folder.path()).unwrap();
        assert_eq!(value(&store), Some(2));
        set(&store, 3);
        drop(store);
        assert_eq!(value(&open(folder.path()).unwrap()), Some(3));
    }

    #[test]
    fn an_edit_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        set(&store, 1);
        let before = fs::read(folder.path().join("journal")).unwrap();
        let failed = store.change(|state| {
            state.settings.insert("value", Value::from(2));
            Err::<(), _>(Error::not_found("no"))
        });
        assert!(failed.is_err());
        assert_eq!(value(&store), Some(1));
        assert_eq!(fs::read(folder.path().join("journal")).unwrap(), before);
    }

    #[test]
    fn a_reader_keeps_the_state_that_it_took() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        set(&store, 1);
        let taken = store.read();
        set(&store, 2);
        assert_eq!(taken.settings.get("value"), Some(&Value::from(1)));
        assert_eq!(value(&store), Some(2));
    }

    #[test]
    fn a_folder_is_used_by_one_process_and_damage_is_not_read_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        assert!(matches!(open(folder.path()), Err(StoreError::InUse(_))));
        drop(store);
        let path = folder.path().join("snapshot");
        let mut bytes = fs::read(&path).unwrap();
        bytes[40] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(open(folder.path()), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_long_journal_becomes_a_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        let long = "x".repeat(1 << 20);
        for it in 0..6 {
            let long = Value::from(format!("{it}{long}"));
            let done = store.change(|state| {
                state.settings.insert("long", long);
                Ok(())
            });
            done.unwrap();
        }
        assert!(fs::metadata(folder.path().join("journal")).unwrap().len() < JOURNAL_LIMIT);
        drop(store);
        let again = open(folder.path()).unwrap();
        let read = again.read();
        let long = read.settings.get("long").and_then(Value::as_str).unwrap();
        assert!(long.starts_with("5x"));
    }
}
