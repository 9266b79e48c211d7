//! Lines on disk: each with its checksum, each synced before anybody hears of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use ring::digest::{SHA256, digest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Hexadecimal digits of SHA-256 at the start of a line.
const CHECKSUM: usize = 16;

/// One change: the rows as they are after it, `null` for one that is gone.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Change {
    /// Counts changes since the state was made.
    pub(super) sequence: u64,
    /// Table, key, row.
    pub(super) rows: Vec<(String, String, Value)>,
}

/// A line with its checksum and its end.
pub(super) fn encode(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let json = serde_json::to_vec(value)?;
    let mut line = checksum(&json).into_bytes();
    line.push(b' ');
    line.extend(json);
    line.push(b'\n');
    Ok(line)
}

/// What a line without its end says; nothing when it is not as it was written.
pub(super) fn decode<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let (sum, json) = line.split_at_checked(CHECKSUM)?;
    let json = json.strip_prefix(b" ")?;
    (checksum(json).as_bytes() == sum).then(|| serde_json::from_slice(json).ok())?
}

fn checksum(bytes: &[u8]) -> String {
    let sum = digest(&SHA256, bytes);
    sum.as_ref()[..CHECKSUM / 2].iter().map(|it| format!("{it:02x}")).collect()
}

/// The changes of a journal, and how many of its bytes are whole.
///
/// Every line was synced before the next one was begun, so only the last one can be torn. A bad
/// line with a good one behind it is damage, and that is an error: the number of the bad line.
pub(super) fn replay(bytes: &[u8]) -> Result<(Vec<Change>, usize), usize> {
    let mut changes: Vec<Change> = Vec::new();
    let mut whole = 0;
    let mut bad = None;
    for (number, line) in bytes.split_inclusive(|it| *it == b'\n').enumerate() {
        match line.strip_suffix(b"\n").and_then(decode) {
            Some(_) if bad.is_some() => return Err(bad.unwrap_or_default()),
            Some(change) => {
                changes.push(change);
                whole += line.len();
            }
            None => bad = bad.or(Some(number + 1)),
        }
    }
    Ok((changes, whole))
}

/// The journal's file, open at its end.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    length: u64,
    /// A write went wrong and could not be taken back yet: until it is, nothing can be promised.
    broken: bool,
}

impl Journal {
    /// Opens or makes the file, gives the changes in it and cuts off a torn last line.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Change>)> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (changes, whole) = replay(&bytes).map_err(|line| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is damaged"))
        })?;
        let mut journal = Self { file, length: whole as u64, broken: false };
        if whole < bytes.len() {
            journal.cut(whole as u64)?;
        }
        journal.file.seek(SeekFrom::Start(journal.length))?;
        Ok((journal, changes))
    }

    /// Bytes that are in it.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends a line and syncs it. On an error the file is as it was before.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.broken {
            self.cut(self.length)?;
            self.broken = false;
        }
        let written = self.file.write_all(line).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.broken = self.cut(self.length).is_err();
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Empties it, when a snapshot holds all that it says.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.cut(0)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        // From here on the file has this length, whatever comes next.
        self.length = length;
        self.file.seek(SeekFrom::Start(length))?;
        self.file.sync_data()
    }
}

/// Writes a file so that a crash leaves the old one or the new one, never a part. On a disk that
/// is full nothing is left of the new one: it would take the room that the journal needs.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], secret: bool) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let written = write_synced(&temporary, bytes, secret)
        .and_then(|()| std::fs::rename(&temporary, path))
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)));
    written?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn write_synced(path: &Path, bytes: &[u8], secret: bool) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let mode = if secret { 0o600 } else { 0o644 };
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change(sequence: u64) -> Change {
        let row = Value::from(format!("row {sequence}"));
        Change { sequence, rows: vec![("settings".into(), "key".into(), row)] }
    }

    fn lines(count: u64) -> Vec<Vec<u8>> {
        (1..=count).map(|it| encode(&change(it)).unwrap()).collect()
    }

    #[test]
    fn a_journal_cut_at_any_byte_gives_the_whole_lines_before_the_cut() {
        let lines = lines(5);
        let ends: Vec<usize> = lines
            .iter()
            .scan(0, |sum, it| {
                *sum += it.len();
                Some(*sum)
            })
            .collect();
        let bytes = lines.concat();
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|it| **it <= cut).count();
            let (changes, length) = replay(&bytes[..cut]).unwrap();
            assert_eq!(changes, (1..=whole as u64).map(change).collect::<Vec<_>>(), "cut {cut}");
            assert_eq!(length, whole.checked_sub(1).map_or(0, |it| ends[it]), "cut {cut}");
        }
    }

    #[test]
    fn a_damaged_line_with_a_good_one_behind_it_is_an_error() {
        let mut lines = lines(3);
        lines[1][30] ^= 1;
        assert_eq!(replay(&lines.concat()), Err(2));
        lines.pop();
        assert_eq!(replay(&lines.concat()).unwrap().0, [change(1)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = replay(&bytes);
        }

        #[test]
        fn one_changed_bit_is_always_seen(at in 0usize..60, bit in 0u8..8) {
            let mut line = encode(&change(1)).unwrap();
            line.pop();
            let at = at % line.len();
            line[at] ^= 1 << bit;
            prop_assert_eq!(decode::<Change>(&line), None);
        }
    }
}
