//! What this plugin has been told to freeze and has not yet let go, in the order in which it happened.
//!
//! Only a record: it decides what is to be let go without being told to, and what a thaw is answered. A freeze counts from the moment it is
//! begun, since a freeze that failed needs its thaw as well.

use hv_vss_platform::clock::Monotonic;
use hv_vss_platform::mounts::{FsId, Mount};
use hv_vss_wire::Role;

/// What a hold is of: an application is held once, a filesystem plugin holds several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// In which role.
    pub role: Role,
    /// Which filesystem; none for an application.
    pub fsid: Option<FsId>,
}

impl Key {
    /// The key of a step in `role` about `mounts`.
    #[must_use]
    pub fn of(role: Role, mounts: &[Mount]) -> Self {
        let fsid = match role {
            Role::Application => None,
            Role::Filesystem => mounts.first().map(|mount| mount.fsid),
        };
        Self { role, fsid }
    }
}

/// How a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The freeze was begun and did not end well: it still needs its thaw.
    Begun,
    /// The freeze ended well.
    Held,
    /// Let go at the expiry, without having been told to.
    LetGo,
}

/// One freeze and what has become of it.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Of what.
    pub key: Key,
    /// How it stands.
    pub state: State,
    /// In which cycle.
    pub cycle: String,
    /// The mounts of the freeze, which the thaw gets as well.
    pub mounts: Vec<Mount>,
    /// When it is let go without being told to.
    pub expiry: Monotonic,
    /// In a rehearsal.
    pub rehearsal: bool,
}

/// All holds, oldest first.
#[derive(Default)]
pub struct Holds {
    holds: Vec<Hold>,
}

impl Holds {
    /// A freeze begins.
    ///
    /// # Errors
    /// When the same is already frozen: that one stays as it is.
    pub fn begin(&mut self, hold: Hold) -> Result<(), &'static str> {
        match self.get(hold.key).map(|known| known.state) {
            Some(State::Held) => return Err("it is already frozen"),
            Some(State::Begun) => return Err("an earlier freeze of it has not been let go"),
            Some(State::LetGo) => self.end(hold.key),
            None => {}
        }
        self.holds.push(hold);
        Ok(())
    }

    /// The hold with this key.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.key == key)
    }

    /// The freeze ended well, or it was let go at the expiry.
    pub fn becomes(&mut self, key: Key, state: State) {
        if let Some(hold) = self.holds.iter_mut().find(|hold| hold.key == key) {
            hold.state = state;
        }
    }

    /// Its thaw is done.
    pub fn end(&mut self, key: Key) {
        self.holds.retain(|hold| hold.key != key);
    }

    /// The earliest expiry of what is not yet let go.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Monotonic> {
        self.holds.iter().filter(|hold| hold.state != State::LetGo).map(|hold| hold.expiry).min()
    }

    /// What must be let go without being told to, in the order to do it: filesystems in freezing order, then applications. With `expired_by`
    /// only what has expired at that instant.
    #[must_use]
    pub fn to_let_go(&self, expired_by: Option<Monotonic>) -> Vec<Hold> {
        let due = |hold: &&Hold| hold.state != State::LetGo && expired_by.is_none_or(|now| hold.expiry <= now);
        let mut due: Vec<_> = self.holds.iter().filter(due).cloned().collect();
        due.sort_by_key(|hold| hold.key.role == Role::Application);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(role: Role, id: u8, expiry_ns: u64) -> Hold {
        let fsid = (role == Role::Filesystem).then_some(FsId([id; 8]));
        Hold {
            key: Key { role, fsid },
            state: State::Begun,
            cycle: "c1".into(),
            mounts: vec![],
            expiry: Monotonic::from_ns(expiry_ns),
            rehearsal: false,
        }
    }

    fn three() -> Holds {
        let mut holds = Holds::default();
        for hold in [hold(Role::Application, 0, 10), hold(Role::Filesystem, 1, 20), hold(Role::Filesystem, 2, 20)] {
            holds.begin(hold).unwrap();
        }
        holds
    }

    #[test]
    fn filesystems_are_let_go_in_freezing_order_and_before_applications() {
        let order: Vec<_> = three().to_let_go(None).iter().map(|hold| hold.key.fsid.map(|id| id.0[0])).collect();
        assert_eq!(order, [Some(1), Some(2), None]);
    }

    #[test]
    fn only_what_has_expired_is_due_and_only_once() {
        let mut holds = three();
        assert_eq!(holds.next_expiry(), Some(Monotonic::from_ns(10)));
        let due = holds.to_let_go(Some(Monotonic::from_ns(15)));
        assert_eq!(due.iter().map(|hold| hold.key.role).collect::<Vec<_>>(), [Role::Application]);
        holds.becomes(due[0].key, State::LetGo);
        assert_eq!(holds.next_expiry(), Some(Monotonic::from_ns(20)));
        assert!(holds.to_let_go(Some(Monotonic::from_ns(15))).is_empty());
    }

    #[test]
    fn a_second_freeze_of_the_same_is_refused_and_the_first_stays() {
        let mut holds = three();
        let key = Key { role: Role::Filesystem, fsid: Some(FsId([1; 8])) };
        holds.becomes(key, State::Held);
        assert!(holds.begin(hold(Role::Filesystem, 1, 99)).is_err());
        assert_eq!(holds.get(key).map(|hold| (hold.state, hold.expiry.as_ns())), Some((State::Held, 20)));
        holds.end(key);
        assert!(holds.begin(hold(Role::Filesystem, 1, 99)).is_ok());
    }

    #[test]
    fn what_was_let_go_may_be_frozen_anew() {
        let mut holds = three();
        let key = Key { role: Role::Application, fsid: None };
        holds.becomes(key, State::LetGo);
        assert!(holds.begin(hold(Role::Application, 0, 99)).is_ok());
        assert_eq!(holds.get(key).map(|hold| hold.state), Some(State::Begun));
    }
}
