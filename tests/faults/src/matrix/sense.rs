//! Which cells make no sense, and why. The table shows each of them with its reason.

use super::{Cell, Driver, Fault, Moment, Subject};

/// Why this cell makes no sense; none: it does.
#[must_use]
pub fn none_because(cell: &Cell) -> Option<&'static str> {
    let Cell { driver, subject, fault, moment } = *cell;
    let within = match moment {
        Moment::Within(_, step) => Some(step),
        _ => None,
    };
    let in_its_own_step = within.is_some_and(|step| match subject {
        Subject::Script => step.is_hooks(),
        Subject::Vendor => step.is_vendors(),
        Subject::Application => step.is_applications(),
        Subject::Ufs => step.is_ufs(),
        Subject::Daemon | Subject::ZfsVeto | Subject::ExecHook => false,
    });
    if driver == Driver::Base
        && subject == Subject::Daemon
        && matches!(fault, Fault::Kill | Fault::Crash | Fault::Exit)
        && within.is_some_and(super::Step::is_applications)
    {
        return Some(
            "an application that answers while no daemon is there stops a kernel with the in-base driver: a defect of that driver",
        );
    }
    match (subject, fault) {
        (Subject::Script, _) if !in_its_own_step => Some("no script runs at this moment"),
        (Subject::Daemon, Fault::Hang) => Some("from outside, a daemon that hangs is one that is stopped: see sigstop"),
        (Subject::Ufs | Subject::ZfsVeto | Subject::ExecHook, Fault::Exit) => {
            Some("a host of ours ends by itself only when its socket is closed: see closed-socket")
        }
        (Subject::ZfsVeto | Subject::ExecHook, Fault::Hang) => {
            Some("from outside, a host that hangs is one that is stopped: see sigstop")
        }
        (Subject::Ufs, Fault::Hang) if !in_its_own_step => {
            Some("outside its suspends and resumes a host that hangs is one that is stopped: see sigstop")
        }
        (Subject::Vendor, Fault::Exit | Fault::Hang) if !in_its_own_step => {
            Some("a plugin that is not called does nothing, so it neither ends nor hangs by itself")
        }
        (Subject::Application, Fault::Hang) if !in_its_own_step => {
            Some("an application that is not asked has nothing to hang in: see sigstop")
        }
        _ => None,
    }
}

/// A backup during which only this happens has to succeed all the same: who is merely a little late, or talks nonsense where nobody has to make
/// sense of it, is no reason to refuse one.
#[must_use]
pub fn is_harmless(cell: &Cell) -> bool {
    match (cell.subject, cell.fault) {
        (_, Fault::Slow) | (Subject::Script, Fault::Garbage | Fault::ClosedSocket) => true,
        // The driver drops what nobody asked for.
        (Subject::Application, Fault::Garbage) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::matrix::{all, sensible};

    #[test]
    fn more_cells_make_sense_than_not() {
        assert!(2 * sensible().count() > all().count());
    }
}
