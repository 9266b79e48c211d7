//! Rows by key, that know which of them a change has touched.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A sorted map whose rows are shared: a copy of it for the next state costs no copy of the rows.
#[derive(Clone, Debug)]
pub struct Table<T> {
    rows: BTreeMap<String, Arc<T>>,
    touched: BTreeSet<String>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), touched: BTreeSet::new() }
    }
}

impl<T> Table<T> {
    /// The row of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&T> {
        self.rows.get(key).map(Arc::as_ref)
    }

    /// The row of a key, to keep beyond this state.
    #[must_use]
    pub fn shared(&self, key: &str) -> Option<Arc<T>> {
        self.rows.get(key).cloned()
    }

    /// Whether there is such a row.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.rows.contains_key(key)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.rows.iter().map(|(key, row)| (key.as_str(), row.as_ref()))
    }

    /// The rows whose keys begin like this, in the order of their keys.
    pub fn prefix(&self, prefix: &str) -> impl Iterator<Item = (&str, &T)> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let rows = self.rows.range::<str, _>(from);
        rows.map(|(key, row)| (key.as_str(), row.as_ref()))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Adds or replaces a row.
    pub fn insert(&mut self, key: impl Into<String>, row: T) {
        let key = key.into();
        self.touched.insert(key.clone());
        self.rows.insert(key, Arc::new(row));
    }

    /// Takes a row away.
    pub fn remove(&mut self, key: &str) -> Option<Arc<T>> {
        let row = self.rows.remove(key)?;
        self.touched.insert(key.to_owned());
        Some(row)
    }

    /// Takes over the rows of another table.
    pub fn replace_with(&mut self, other: &Self) {
        self.touched.extend(self.rows.keys().chain(other.rows.keys()).cloned());
        self.rows = other.rows.clone();
    }

    /// Keeps the rows that pass.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &T) -> bool) {
        let gone: Vec<String> =
            self.iter().filter(|(key, row)| !keep(key, row)).map(|(key, _)| key.into()).collect();
        for key in gone {
            self.remove(&key);
        }
    }
}

impl<T: Clone> Table<T> {
    /// The row of a key, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut T> {
        let row = self.rows.get_mut(key)?;
        self.touched.insert(key.to_owned());
        Some(Arc::make_mut(row))
    }
}

/// What the store needs of a table, whatever its rows are.
pub(super) trait Stored {
    /// Rows since the last call; `null` for one that is gone.
    fn take_touched(&mut self) -> serde_json::Result<Vec<(String, Value)>>;
    /// All rows.
    fn dump(&self) -> serde_json::Result<BTreeMap<String, Value>>;
    /// Puts a row as it was read; `null` takes it away.
    fn restore(&mut self, key: String, row: Value) -> serde_json::Result<()>;
}

impl<T: Serialize + DeserializeOwned> Stored for Table<T> {
    fn take_touched(&mut self) -> serde_json::Result<Vec<(String, Value)>> {
        let touched = std::mem::take(&mut self.touched);
        let rows = touched.into_iter().map(|key| {
            let row = self.get(&key).map_or(Ok(Value::Null), serde_json::to_value)?;
            Ok((key, row))
        });
        rows.collect()
    }

    fn dump(&self) -> serde_json::Result<BTreeMap<String, Value>> {
        self.iter().map(|(key, row)| Ok((key.to_owned(), serde_json::to_value(row)?))).collect()
    }

    fn restore(&mut self, key: String, row: Value) -> serde_json::Result<()> {
        if row.is_null() {
            self.rows.remove(&key);
        } else {
            self.rows.insert(key, Arc::new(serde_json::from_value(row)?));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_finds_its_rows_only() {
        let mut table = Table::default();
        for key in ["a/1", "b/1", "b/2", "c/1"] {
            table.insert(key, key.len());
        }
        assert_eq!(table.prefix("b/").map(|(key, _)| key).collect::<Vec<_>>(), ["b/1", "b/2"]);
    }

    #[test]
    fn a_copy_is_not_changed_with_its_original() {
        let mut table = Table::default();
        table.insert("a", 1);
        let copy = table.clone();
        *table.get_mut("a").unwrap() = 2;
        assert_eq!((copy.get("a"), table.get("a")), (Some(&1), Some(&2)));
    }
}
