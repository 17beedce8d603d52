//! One table in memory: bounded, and aware of what has not been written down yet.
//!
//! Promises that whoever looks or changes waits for no more than others who do, and for no file; that the table and the list of
//! what is to be written stay within a size, whoever comes and however long nothing can be written.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use serde::{Serialize, de::DeserializeOwned};

/// What a row is found by: a digest, or a name.
pub(super) type Key = Vec<u8>;

/// What a row holds.
pub(super) trait Row: Clone + Serialize + DeserializeOwned {
    /// How many octets of memory a table may take, roughly.
    const ROOM: usize;

    /// Whether it is to be forgotten.
    fn is_over(&self, now: SystemTime) -> bool;

    /// Where room is short, the lowest go first.
    fn worth(&self) -> (u8, SystemTime);

    /// How many octets it takes besides what all rows do, roughly.
    fn size(&self) -> usize;
}

/// What every row takes: its key, its places in the maps.
const OVERHEAD: usize = 160;

/// How many rows are copied at once for writing, so that nobody waits long.
const COPIED: usize = 512;

/// A table.
#[derive(Debug)]
pub(super) struct Table<V>(Mutex<Rows<V>>);

#[derive(Debug)]
struct Rows<V> {
    rows: HashMap<Key, V>,
    size: usize,
    unwritten: Unwritten,
}

/// What the file does not have yet.
#[derive(Debug)]
enum Unwritten {
    /// These rows, or that they are gone.
    Rows(HashSet<Key>),
    /// It may have anything.
    All,
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Due {
    /// Whether all that the file has is to go first.
    pub(super) anew: bool,
    /// These rows: to be written, or to be taken out where there is none any more.
    pub(super) keys: Vec<Key>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self(Mutex::new(Rows { rows: HashMap::new(), size: 0, unwritten: Unwritten::All }))
    }
}

impl<V: Row> Table<V> {
    /// What is known.
    pub(super) fn find(&self, key: &[u8]) -> Option<V> {
        self.lock().rows.get(key).cloned()
    }

    /// Makes of what is known what `change` says; of `None` nothing is known any more.
    pub(super) fn alter(&self, key: Key, now: SystemTime, change: impl FnOnce(Option<V>) -> Option<V>) {
        let mut rows = self.lock();
        let before = rows.take(&key);
        let was_there = before.is_some();
        let after = change(before);
        if was_there || after.is_some() {
            rows.note(key.clone());
        }
        if let Some(row) = after {
            rows.put(key, row);
            rows.make_room(now);
        }
    }

    /// The keys of all rows that are `meant`.
    pub(super) fn keys(&self, meant: impl Fn(&V) -> bool) -> Vec<Key> {
        self.lock().rows.iter().filter(|(_, row)| meant(row)).map(|(key, _)| key.clone()).collect()
    }

    /// Takes what a file had, beside what is here by now: `join` says what two rows for one key come to, that of the file first.
    pub(super) fn join(&self, found: Vec<(Key, V)>, now: SystemTime, join: impl Fn(V, V) -> V) {
        for (key, row) in found {
            let mut rows = self.lock();
            let row = match rows.take(&key) {
                Some(here) => join(row, here),
                None => row,
            };
            rows.put(key, row);
            rows.make_room(now);
        }
    }

    /// Forgets everything, here alone.
    pub(super) fn clear(&self) {
        let mut rows = self.lock();
        rows.rows = HashMap::new();
        rows.size = 0;
    }

    /// Forgets what is over, after `mend` was done to each.
    pub(super) fn sweep(&self, now: SystemTime, mend: impl Fn(&mut V) -> bool) {
        for keys in self.keys(|_| true).chunks(COPIED) {
            let mut rows = self.lock();
            for key in keys {
                let Some(mut row) = rows.take(key) else { continue };
                let is_mended = mend(&mut row);
                let is_over = row.is_over(now);
                if is_mended || is_over {
                    rows.note(key.clone());
                }
                if !is_over {
                    rows.put(key.clone(), row);
                }
            }
        }
    }

    /// What is to be written; who asks writes it.
    pub(super) fn due(&self) -> Due {
        let mut rows = self.lock();
        match mem::replace(&mut rows.unwritten, Unwritten::Rows(HashSet::new())) {
            Unwritten::Rows(keys) => Due { anew: false, keys: keys.into_iter().collect() },
            Unwritten::All => Due { anew: true, keys: rows.rows.keys().cloned().collect() },
        }
    }

    /// The file is another, or what was due was not written.
    pub(super) fn write_all(&self) {
        self.lock().unwritten = Unwritten::All;
    }

    /// The file has what is here.
    pub(super) fn is_written(&self) {
        self.lock().unwritten = Unwritten::Rows(HashSet::new());
    }

    /// Copies of the rows that there are of these, a few at a time.
    pub(super) fn copies<'k>(&self, keys: &'k [Key]) -> impl Iterator<Item = (&'k Key, Option<V>)> {
        keys.chunks(COPIED).flat_map(|keys| {
            let rows = self.lock();
            keys.iter().map(|key| (key, rows.rows.get(key).cloned())).collect::<Vec<_>>()
        })
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().rows.len()
    }

    fn lock(&self) -> MutexGuard<'_, Rows<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Row> Rows<V> {
    fn take(&mut self, key: &[u8]) -> Option<V> {
        let row = self.rows.remove(key)?;
        self.size -= row.size() + OVERHEAD;
        Some(row)
    }

    fn put(&mut self, key: Key, row: V) {
        self.size += row.size() + OVERHEAD;
        self.rows.insert(key, row);
    }

    fn note(&mut self, key: Key) {
        let Unwritten::Rows(keys) = &mut self.unwritten else { return };
        keys.insert(key);
        // Where nothing can be written for long, rows come and go, and each would be remembered.
        if keys.len() * OVERHEAD > 2 * V::ROOM {
            self.unwritten = Unwritten::All;
        }
    }

    /// A sixteenth more than is needed, so that this is not done for each of a flood.
    fn make_room(&mut self, now: SystemTime) {
        if self.size <= V::ROOM {
            return;
        }
        let excess = self.size - (V::ROOM - V::ROOM / 16);
        let mut all: Vec<_> =
            self.rows.iter().map(|(key, row)| ((!row.is_over(now), row.worth()), key, row.size())).collect();
        all.sort_unstable();
        let mut freed = 0;
        let go = all.into_iter().take_while(|(_, _, size)| {
            let is_needed = freed < excess;
            freed += size + OVERHEAD;
            is_needed
        });
        for key in go.map(|(_, key, _)| key.clone()).collect::<Vec<_>>() {
            self.take(&key);
            self.note(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::time::Duration;

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Number(u64);

    impl Row for Number {
        const ROOM: usize = 160 * OVERHEAD;

        fn is_over(&self, now: SystemTime) -> bool {
            at(self.0 + 1000) <= now
        }

        fn worth(&self) -> (u8, SystemTime) {
            (0, at(self.0))
        }

        fn size(&self) -> usize {
            0
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn put(table: &Table<Number>, number: u64) {
        table.alter(number.to_be_bytes().to_vec(), at(0), |_| Some(Number(number)));
    }

    fn key(number: u64) -> Key {
        number.to_be_bytes().to_vec()
    }

    #[test]
    fn where_room_is_short_the_oldest_go() {
        let table = Table::default();
        for number in 0..=160 {
            put(&table, number);
        }
        assert_eq!(table.count(), 150);
        assert_eq!((table.find(&key(10)), table.find(&key(11))), (None, Some(Number(11))));
        for number in 1000..100_000 {
            put(&table, number);
            assert!(table.count() <= 160);
        }
    }

    #[test]
    fn what_has_changed_is_due_once_and_all_where_it_was_not_written() {
        let table = Table::default();
        put(&table, 1);
        let due = table.due();
        assert!(due.anew, "nobody knows what the file has");
        assert_eq!(due.keys, [key(1)]);
        assert_eq!(table.due().keys, Vec::<Key>::new());
        put(&table, 2);
        put(&table, 2);
        table.alter(key(1), at(0), |_| None);
        table.alter(key(9), at(0), |nothing| nothing);
        let due = table.due();
        let mut keys = due.keys.clone();
        keys.sort();
        assert_eq!((due.anew, keys), (false, vec![key(1), key(2)]));
        let mut copies: Vec<_> = table.copies(&due.keys).map(|(key, row)| (key.clone(), row)).collect();
        copies.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(copies, [(key(1), None), (key(2), Some(Number(2)))]);
        table.write_all();
        let due = table.due();
        assert!(due.anew);
        assert_eq!(due.keys, [key(2)]);
    }

    #[test]
    fn what_cannot_be_written_for_long_is_not_listed_without_end() {
        let table = Table::default();
        table.is_written();
        for number in 0..10_000 {
            put(&table, number);
            if let Unwritten::Rows(keys) = &table.lock().unwritten {
                assert!(keys.len() <= 320);
            }
        }
        assert!(table.due().anew);
    }

    #[test]
    fn a_sweep_forgets_what_is_over() {
        let table = Table::default();
        for number in 0..100 {
            put(&table, number);
        }
        table.is_written();
        table.sweep(at(1049), |_| false);
        assert_eq!((table.count(), table.due().keys.len()), (50, 50));
        table.sweep(at(1049), |row| row.0 == 60);
        assert_eq!(table.due().keys, [key(60)], "what was mended is written");
    }

    #[test]
    fn what_a_file_had_joins_what_is_here() {
        let table = Table::default();
        put(&table, 1);
        table.join(vec![(key(1), Number(10)), (key(2), Number(20))], at(0), |file, here| Number(file.0 + here.0));
        assert_eq!((table.find(&key(1)), table.find(&key(2))), (Some(Number(11)), Some(Number(20))));
        table.clear();
        assert_eq!((table.count(), table.lock().size), (0, 0));
    }
}
