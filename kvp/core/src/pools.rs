//! The pools in memory: what their files held when they were last read, and what was changed since
//! and is not written yet. Decides only.

use std::collections::VecDeque;

use crate::edit::{Change, plan};
use crate::pool::Pool;
use crate::records::{KEY_SIZE, MOST_RECORDS, Records, VALUE_SIZE};
use crate::text::passed_on;

/// Numbers changes in the order in which the host made them.
pub type Number = u64;

/// One pool.
#[derive(Clone, Debug, Default)]
struct Kept {
    /// None: its file has not been read yet.
    file: Option<Records>,
    /// What is not in the file yet, the oldest first, one for each key.
    waiting: VecDeque<Waiting>,
    /// The file's records with those changes.
    shown: Records,
}

/// A change that is not in the file yet.
#[derive(Clone, Debug)]
struct Waiting {
    number: Number,
    change: Change,
    /// The change of the same key before it, which the host was told is made.
    earlier: Option<(Number, Change)>,
}

/// All pools but the computed one.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    pools: [Kept; 5],
    last: Number,
}

/// Why a change is refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such key.
    NoSuchKey,
    /// The pool has as many records as it may have.
    Full,
    /// A text is longer than its field.
    TooLong,
}

impl Pools {
    /// Whether this pool's file has been read.
    #[must_use]
    pub fn is_known(&self, pool: Pool) -> bool {
        self.of(pool).file.is_some()
    }

    /// A pool's file was read.
    pub fn was_read(&mut self, pool: Pool, records: Records) {
        let kept = self.of_mut(pool);
        kept.file = Some(records);
        kept.show();
    }

    /// The value of a key, as much of it as the driver passes on.
    #[must_use]
    pub fn get(&self, pool: Pool, key: &str) -> Option<String> {
        self.of(pool).shown.get(key).map(|value| passed_on(value, VALUE_SIZE))
    }

    /// The pair at a place, as much of it as the driver passes on.
    #[must_use]
    pub fn pair(&self, pool: Pool, index: u32) -> Option<(String, String)> {
        let (key, value) = self.of(pool).shown.pairs().nth(usize::try_from(index).ok()?)?;
        Some((passed_on(key, KEY_SIZE), passed_on(value, VALUE_SIZE)))
    }

    /// Takes a change; its number.
    ///
    /// # Errors
    /// As [`Refused`] says.
    pub fn change(&mut self, pool: Pool, change: Change) -> Result<Number, Refused> {
        let too_long = change.key.len() >= KEY_SIZE || change.value.as_ref().is_some_and(|v| v.len() >= VALUE_SIZE);
        if too_long {
            return Err(Refused::TooLong);
        }
        let number = self.last + 1;
        let kept = self.of_mut(pool);
        let planned = plan(&kept.shown, std::slice::from_ref(&change));
        if change.value.is_none() && planned.found == [false] && kept.file.is_some() {
            return Err(Refused::NoSuchKey);
        }
        if planned.is_too_large || kept.waiting.len() >= MOST_RECORDS {
            return Err(Refused::Full);
        }
        kept.shown = planned.after;
        // Of several changes of one key only the latest is written.
        let same = kept.waiting.iter().position(|waiting| waiting.change.key == change.key);
        let earlier = same.and_then(|at| kept.waiting.remove(at)).map(|waiting| (waiting.number, waiting.change));
        kept.waiting.push_back(Waiting { number, change, earlier });
        self.last = number;
        Ok(number)
    }

    /// A pool that has something to be written, and what: this pool if it has, else the first one
    /// behind it. So a pool that can't be written does not keep the others waiting.
    #[must_use]
    pub fn to_write(&self, from: Pool) -> Option<(Pool, Number, Vec<Change>)> {
        let start = usize::from(from.number());
        let pools = Pool::ALL.into_iter().cycle().skip(start).take(Pool::ALL.len());
        let mut waiting = pools.filter_map(|pool| Some((pool, self.of(pool).waiting.back()?.number)));
        let (pool, number) = waiting.next()?;
        Some((pool, number, self.of(pool).changes()))
    }

    /// Whether something waits to be written.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.pools.iter().any(|kept| !kept.waiting.is_empty())
    }

    /// Everything up to this number was written to a pool's file, which now holds these records.
    pub fn was_written(&mut self, pool: Pool, up_to: Number, records: Records) {
        let kept = self.of_mut(pool);
        kept.waiting.retain(|waiting| waiting.number > up_to);
        kept.waiting.iter_mut().for_each(|waiting| waiting.earlier = None);
        kept.file = Some(records);
        kept.show();
    }

    /// A change could not be written, and the host is told so: it is taken back.
    pub fn take_back(&mut self, pool: Pool, number: Number) {
        let kept = self.of_mut(pool);
        if let Some(at) = kept.waiting.iter().position(|waiting| waiting.number == number) {
            let earlier = kept.waiting.remove(at).and_then(|waiting| waiting.earlier);
            // What was promised before is still to be written, and no less than what came between.
            kept.waiting.extend(earlier.map(|(number, change)| Waiting { number, change, earlier: None }));
        }
        kept.show();
    }

    fn of(&self, pool: Pool) -> &Kept {
        &self.pools[usize::from(pool.number())]
    }

    fn of_mut(&mut self, pool: Pool) -> &mut Kept {
        &mut self.pools[usize::from(pool.number())]
    }
}

impl Kept {
    fn changes(&self) -> Vec<Change> {
        self.waiting.iter().map(|waiting| waiting.change.clone()).collect()
    }

    fn show(&mut self) {
        let changes = self.changes();
        let file = self.file.clone().unwrap_or_default();
        self.shown = if changes.is_empty() { file } else { plan(&file, &changes).after };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: Pool = Pool::External;

    fn records(pairs: &[(&str, &str)]) -> Records {
        let changes: Vec<Change> = pairs.iter().map(|(key, value)| Change::set(*key, *value)).collect();
        plan(&Records::default(), &changes).after
    }

    fn pools(pairs: &[(&str, &str)]) -> Pools {
        let mut pools = Pools::default();
        pools.was_read(POOL, records(pairs));
        pools
    }

    #[test]
    fn what_was_set_is_shown_at_once_and_stays_when_the_file_is_read_again() {
        let mut pools = pools(&[("Key", "old")]);
        pools.change(POOL, Change::set("Key", "new")).unwrap();
        pools.was_read(POOL, records(&[("Key", "old"), ("Stranger", "x")]));
        assert_eq!((pools.get(POOL, "Key").unwrap(), pools.get(POOL, "Stranger").unwrap()), ("new".into(), "x".into()));
    }

    #[test]
    fn what_came_while_a_write_was_under_way_is_written_next() {
        let mut pools = pools(&[]);
        pools.change(POOL, Change::set("A", "1")).unwrap();
        let (pool, number, changes) = pools.to_write(POOL).unwrap();
        assert_eq!((pool, changes.len()), (POOL, 1));
        pools.change(POOL, Change::set("A", "2")).unwrap();
        pools.was_written(POOL, number, records(&[("A", "1")]));
        assert_eq!(pools.get(POOL, "A").unwrap(), "2");
        assert_eq!(pools.to_write(POOL).unwrap().2, [Change::set("A", "2")]);
    }

    #[test]
    fn many_changes_of_one_key_are_one_to_write() {
        let mut pools = pools(&[]);
        for at in 0..1000 {
            pools.change(POOL, Change::set("A", at.to_string())).unwrap();
        }
        assert_eq!(pools.to_write(POOL).unwrap().2, [Change::set("A", "999")]);
    }

    #[test]
    fn a_pool_that_can_not_be_written_does_not_keep_the_others_waiting() {
        let mut pools = pools(&[]);
        pools.change(Pool::External, Change::set("A", "1")).unwrap();
        pools.change(Pool::AutoExternal, Change::set("B", "1")).unwrap();
        let next = |from: Pool| pools.to_write(from).unwrap().0;
        assert_eq!((next(Pool::External), next(Pool::Guest)), (Pool::External, Pool::AutoExternal));
        assert_eq!((next(Pool::AutoExternal), next(Pool::AutoInternal)), (Pool::AutoExternal, Pool::External));
    }

    #[test]
    fn what_was_promised_before_a_refused_change_is_still_written() {
        let mut pools = pools(&[("A", "0")]);
        pools.change(POOL, Change::set("A", "promised")).unwrap();
        let number = pools.change(POOL, Change::set("A", "refused")).unwrap();
        pools.take_back(POOL, number);
        assert_eq!(pools.get(POOL, "A").unwrap(), "promised");
        assert_eq!(pools.to_write(POOL).unwrap().2, [Change::set("A", "promised")]);
    }

    #[test]
    fn a_change_that_is_taken_back_shows_what_was_there_before() {
        let mut pools = pools(&[("A", "1")]);
        let number = pools.change(POOL, Change::delete("A")).unwrap();
        assert_eq!(pools.get(POOL, "A"), None);
        pools.take_back(POOL, number);
        assert_eq!((pools.get(POOL, "A").unwrap(), pools.has_waiting()), ("1".into(), false));
    }

    #[test]
    fn a_key_that_is_not_there_can_not_be_removed_unless_the_file_is_not_known_yet() {
        assert_eq!(pools(&[]).change(POOL, Change::delete("A")), Err(Refused::NoSuchKey));
        assert!(Pools::default().change(POOL, Change::delete("A")).is_ok());
    }
}
