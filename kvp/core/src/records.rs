//! The records of a pool in memory: the bytes of its file, whole records only.
//!
//! A record is 512 bytes of key and 2,048 bytes of value, each a text up to its first null byte.
//! What follows that byte may be a leftover: FreeBSD's hv_kvp_daemon(8) moves records by strcpy(3).

/// The size of a key in the file, in bytes. The last one is a null byte.
pub const KEY_SIZE: usize = 512;
/// The size of a value in the file, in bytes. The last one is a null byte.
pub const VALUE_SIZE: usize = 2048;
/// The size of a record in the file, in bytes.
pub const RECORD_SIZE: usize = KEY_SIZE + VALUE_SIZE;
/// The largest pool that is read or made: 40 MiB.
pub const MOST_RECORDS: usize = 16_384;

/// The records of one pool.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Records {
    bytes: Vec<u8>,
}

impl Records {
    /// The whole records in these bytes. A torn one at the end is left out.
    #[must_use]
    pub fn of(mut bytes: Vec<u8>) -> Self {
        bytes.truncate(bytes.len() - bytes.len() % RECORD_SIZE);
        Self { bytes }
    }

    /// The bytes, as the file has them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / RECORD_SIZE
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The keys and values in the file's order. Records without a key are passed over.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let records = self.bytes.chunks_exact(RECORD_SIZE);
        let pairs = records.map(|record| (text(&record[..KEY_SIZE]), text(&record[KEY_SIZE..])));
        pairs.filter(|(key, _)| !key.is_empty())
    }

    /// The value of a key, byte for byte. Of several records with that key the first counts.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        if key.is_empty() {
            return None;
        }
        self.place_of(key).map(|at| text(&self.bytes[at + KEY_SIZE..at + RECORD_SIZE]))
    }

    /// Sets a key's value where it is, or in a new record at the end.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let at = self.place_of(key).unwrap_or_else(|| {
            let at = self.bytes.len();
            self.bytes.extend_from_slice(&padded::<KEY_SIZE>(key));
            self.bytes.resize(at + RECORD_SIZE, 0);
            at
        });
        if text(&self.bytes[at + KEY_SIZE..at + RECORD_SIZE]) != stored::<VALUE_SIZE>(value) {
            self.bytes[at + KEY_SIZE..at + RECORD_SIZE].copy_from_slice(&padded::<VALUE_SIZE>(value));
        }
    }

    /// Removes every record with this key; whether there was one. The last record takes its place,
    /// so that one record is written and not all that follow.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        let before = self.bytes.len();
        while let Some(at) = self.place_of(key) {
            let last = self.bytes.len() - RECORD_SIZE;
            self.bytes.copy_within(last.., at);
            self.bytes.truncate(last);
        }
        self.bytes.len() < before
    }

    fn place_of(&self, key: &str) -> Option<usize> {
        let key = stored::<KEY_SIZE>(key);
        let mut records = self.bytes.chunks_exact(RECORD_SIZE);
        let place = records.position(|record| record.starts_with(key) && record[key.len()] == 0);
        place.map(|place| place * RECORD_SIZE)
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs = self.pairs().map(|(key, value)| (String::from_utf8_lossy(key), String::from_utf8_lossy(value)));
        f.debug_map().entries(pairs).finish()
    }
}

/// A text with null bytes behind it.
fn padded<const SIZE: usize>(text: &str) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    let text = stored::<SIZE>(text);
    bytes[..text.len()].copy_from_slice(text);
    bytes
}

/// As much of a text as a field keeps: up to its first null byte, cut between characters.
fn stored<const SIZE: usize>(text: &str) -> &[u8] {
    self::text(&text.as_bytes()[..text.floor_char_boundary(SIZE - 1)])
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Records {
        let mut records = Records::default();
        pairs.iter().for_each(|(key, value)| records.set(key, value));
        records
    }

    #[test]
    fn a_key_is_found_whole_and_not_by_its_beginning() {
        let records = of(&[("HostName", "a"), ("Host", "b")]);
        assert_eq!(records.get("Host"), Some(&b"b"[..]));
        for key in ["", "Hos", "HostNam", "HostName2"] {
            assert_eq!(records.get(key), None, "{key}");
        }
    }

    #[test]
    fn a_value_leaves_nothing_of_a_longer_one_behind_it() {
        let mut records = of(&[("Key", &"long ".repeat(100))]);
        records.set("Key", "short");
        assert!(records.bytes()[KEY_SIZE + 5..].iter().all(|byte| *byte == 0));
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn a_removed_record_is_gone_with_its_duplicates_and_the_others_stay() {
        let mut records = of(&[("A", "1"), ("B", "2"), ("C", "3")]);
        records.bytes.extend_from_slice(&of(&[("A", "again")]).bytes);
        assert!(records.remove("A"));
        let left: Vec<_> = records.pairs().collect();
        assert_eq!(left.len(), 2);
        assert_eq!((records.get("B"), records.get("C")), (Some(&b"2"[..]), Some(&b"3"[..])));
        assert!(!records.remove("A"));
    }

    #[test]
    fn a_text_that_is_too_long_for_its_field_is_cut_between_characters() {
        let records = of(&[(&"é".repeat(300), &"€".repeat(700))]);
        let (key, value) = records.pairs().next().unwrap();
        assert_eq!((std::str::from_utf8(key).unwrap().len(), std::str::from_utf8(value).unwrap().len()), (510, 2046));
    }

    #[test]
    fn a_torn_record_at_the_end_and_one_without_a_key_are_not_seen() {
        let mut bytes = of(&[("A", "1")]).bytes;
        bytes.resize(2 * RECORD_SIZE, 0);
        bytes.extend_from_slice(b"torn");
        let records = Records::of(bytes);
        assert_eq!((records.len(), records.pairs().count()), (2, 1));
    }
}
