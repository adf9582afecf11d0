//! Which bytes of a pool's file a change touches. Decides only.
//!
//! The file can't be replaced by a renamed one: other programs hold their lock on this very file.
//! It is not truncated and written anew either, or a full disk would take every program's pairs.

use crate::records::{KEY_SIZE, MOST_RECORDS, RECORD_SIZE, Records};

/// A change of one pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The new value; none: the pair is removed.
    pub value: Option<String>,
}

impl Change {
    /// The pair gets this value.
    pub fn set(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: Some(value.into()) }
    }

    /// The pair is removed.
    pub fn delete(key: impl Into<String>) -> Self {
        Self { key: key.into(), value: None }
    }
}

/// One call that changes the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// These bytes are added at the end. The only edit that needs room.
    Append(Vec<u8>),
    /// The bytes from here on are overwritten.
    Overwrite(usize, Vec<u8>),
    /// The file is cut to so many bytes.
    Cut(usize),
}

/// What changes do to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The calls, in this order: what can fail for want of room comes first, what can't be undone last.
    pub edits: Vec<Edit>,
    /// The records afterwards.
    pub after: Records,
    /// Whether each change found its key.
    pub found: Vec<bool>,
    /// There would be more than [`MOST_RECORDS`].
    pub is_too_large: bool,
}

/// The calls that make these changes, one after the other.
#[must_use]
pub fn plan(before: &Records, changes: &[Change]) -> Plan {
    let mut after = before.clone();
    let mut found = Vec::with_capacity(changes.len());
    for change in changes {
        found.push(match &change.value {
            None => after.remove(&change.key),
            Some(value) => {
                let was_there = after.get(&change.key).is_some();
                after.set(&change.key, value);
                was_there
            }
        });
    }
    let is_too_large = after.len() > MOST_RECORDS.max(before.len());
    Plan { edits: difference(before.bytes(), after.bytes()), after, found, is_too_large }
}

fn difference(before: &[u8], after: &[u8]) -> Vec<Edit> {
    let shared = before.len().min(after.len());
    let mut edits = Vec::new();
    if after.len() > shared {
        edits.push(Edit::Append(after[shared..].to_vec()));
    }
    for at in (0..shared).step_by(RECORD_SIZE) {
        let (old, new) = (&before[at..at + RECORD_SIZE], &after[at..at + RECORD_SIZE]);
        if old[..KEY_SIZE] != new[..KEY_SIZE] {
            edits.push(Edit::Overwrite(at, new.to_vec()));
        } else if old != new {
            edits.push(Edit::Overwrite(at + KEY_SIZE, new[KEY_SIZE..].to_vec()));
        }
    }
    if before.len() > shared {
        edits.push(Edit::Cut(shared));
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Records {
        plan(&Records::default(), &pairs.iter().map(|(key, value)| Change::set(*key, *value)).collect::<Vec<_>>()).after
    }

    #[test]
    fn a_new_value_is_overwritten_where_it_is_and_nothing_else_is_written() {
        let plan = plan(&of(&[("A", "1"), ("B", "2")]), &[Change::set("B", "3")]);
        assert_eq!(plan.found, [true]);
        assert!(
            matches!(&plan.edits[..], [Edit::Overwrite(at, bytes)] if *at == RECORD_SIZE + KEY_SIZE && bytes[0] == b'3')
        );
    }

    #[test]
    fn what_needs_room_comes_first_and_what_cannot_be_undone_last() {
        let before = of(&[("A", "1"), ("B", "2"), ("C", "3")]);
        let grown = plan(&before, &[Change::set("A", "x"), Change::set("D", "4")]);
        assert!(matches!(&grown.edits[..], [Edit::Append(_), Edit::Overwrite(..)]));
        let shrunk = plan(&before, &[Change::delete("A"), Change::set("B", "x")]);
        assert!(matches!(shrunk.edits.last(), Some(Edit::Cut(length)) if *length == 2 * RECORD_SIZE));
        assert_eq!(shrunk.edits.iter().filter(|edit| matches!(edit, Edit::Cut(_))).count(), 1);
    }

    #[test]
    fn a_value_that_is_there_already_and_a_key_that_is_not_are_no_edits() {
        let before = of(&[("A", "1")]);
        let plan = plan(&before, &[Change::set("A", "1"), Change::delete("B")]);
        assert_eq!((plan.edits.len(), plan.found, plan.after), (0, vec![true, false], before));
    }

    #[test]
    fn no_pool_grows_beyond_its_limit_and_one_that_is_larger_may_shrink() {
        let full = Records::of(of(&[("A", "1")]).bytes().repeat(MOST_RECORDS));
        assert!(plan(&full, &[Change::set("B", "2")]).is_too_large);
        assert!(!plan(&full, &[Change::set("A", "2")]).is_too_large);
    }
}
