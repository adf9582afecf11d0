//! What can happen: every cell of {who} x {what} x {when}, generated and not hand-picked. Pure: nothing is started or looked at here.
//!
//! [`moment`] makes the moments from the steps of the way a backup takes, and says at which [`Point`](hv_vss_core::cycle::Point) of the daemon's
//! own state machine each of them lies; a test fails when a point has no cell. [`sense`] says of a cell that makes no sense why it makes none:
//! such a cell is shown with its reason and never left out in silence. [`choice`] draws the share of a seed.

pub mod choice;
pub mod moment;
pub mod sense;

use std::fmt;

pub use hv_vss_sim::Kind as Driver;
pub use moment::{Moment, Step, Way};

macro_rules! named {
    ($(#[$about:meta])* $kind:ident { $($(#[$each:meta])* $one:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind {
            $($(#[$each])* $one,)+
        }

        impl $kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$one),+];

            /// As it stands in a cell's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$one => $name,)+
                }
            }
        }
    };
}
pub(crate) use named;

named! {
    /// Who is struck.
    Subject {
        /// hv_vss_daemon.
        Daemon = "daemon",
        /// The process around ufs.so, which holds the filesystems.
        Ufs = "ufs",
        /// The process around zfs_veto.so.
        ZfsVeto = "zfs_veto",
        /// The process around exec_hook.so, which runs the scripts.
        ExecHook = "exec_hook",
        /// The process around a vendor's plugin.
        Vendor = "vendor",
        /// A script in hooks.d.
        Script = "script",
        /// The application on hv_appvss_dev.
        Application = "application",
    }
}

named! {
    /// What befalls it.
    Fault {
        /// Killed.
        Kill = "sigkill",
        /// Stopped until the backup is over.
        Stop = "sigstop",
        /// Ended by SIGABRT, as by an assertion that fails.
        Crash = "crash",
        /// Ends by itself in the middle.
        Exit = "exit",
        /// Never comes back from what it does.
        Hang = "hang",
        /// Takes a while longer.
        Slow = "slow",
        /// Says what makes no sense.
        Garbage = "garbage",
        /// Closes what it talks over.
        ClosedSocket = "closed-socket",
    }
}

/// One cell of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    /// Behind the nodes of which driver.
    pub driver: Driver,
    /// Who.
    pub subject: Subject,
    /// What.
    pub fault: Fault,
    /// When.
    pub moment: Moment,
}

/// Every cell there is, those that make no sense included.
pub fn all() -> impl Iterator<Item = Cell> {
    let moments = Moment::all();
    [Driver::Ours, Driver::Base].into_iter().flat_map(move |driver| {
        let moments = moments.clone();
        Subject::ALL.iter().flat_map(move |&subject| {
            let moments = moments.clone();
            Fault::ALL.iter().flat_map(move |&fault| {
                moments.clone().into_iter().map(move |moment| Cell { driver, subject, fault, moment })
            })
        })
    })
}

/// Those that make sense.
pub fn sensible() -> impl Iterator<Item = Cell> {
    all().filter(|cell| sense::none_because(cell).is_none())
}

impl fmt::Display for Cell {
    /// `ours/ufs/sigkill/freeze:within first-suspend`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", driver_name(self.driver), self.subject.name(), self.fault.name(), self.moment)
    }
}

/// A driver in a cell's name.
#[must_use]
pub fn driver_name(driver: Driver) -> &'static str {
    match driver {
        Driver::Base => "base",
        Driver::Ours => "ours",
    }
}

impl std::str::FromStr for Cell {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        all().find(|cell| cell.to_string() == name).ok_or_else(|| format!("no cell is named \"{name}\""))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use hv_vss_core::cycle::Point;

    use super::*;

    #[test]
    fn every_point_of_the_cycle_has_cells_with_every_driver_and_every_subject_that_is_there_at_all_times() {
        let reached: HashSet<(Point, &str, Subject)> =
            sensible().map(|cell| (cell.moment.point(), driver_name(cell.driver), cell.subject)).collect();
        // A look at mappings and the wait for observers end by themselves within milliseconds: no fault can be
        // timed to strike in them.
        let held_still = |point: &&Point| !matches!(point, Point::Scanning | Point::Silencing);
        for &point in Point::ALL.iter().filter(held_still) {
            for driver in ["ours", "base"] {
                for &subject in Subject::ALL.iter().filter(|subject| **subject != Subject::Script) {
                    assert!(
                        reached.contains(&(point, driver, subject)),
                        "{driver}: no cell strikes {subject:?} at {point:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_fault_strikes_every_subject_somewhere_or_there_is_a_reason() {
        for &subject in Subject::ALL {
            for &fault in Fault::ALL {
                let cells: Vec<Cell> = all().filter(|cell| (cell.subject, cell.fault) == (subject, fault)).collect();
                let reasons: HashSet<&str> = cells.iter().filter_map(sense::none_because).collect();
                let struck = cells.iter().any(|cell| sense::none_because(cell).is_none());
                assert!(struck || !reasons.is_empty(), "{subject:?} {fault:?}");
            }
        }
    }

    #[test]
    fn a_cell_is_found_again_by_its_name_and_no_two_have_the_same() {
        let names: HashSet<String> = all().map(|cell| cell.to_string()).collect();
        assert_eq!(names.len(), all().count());
        for cell in all().step_by(97) {
            assert_eq!(cell.to_string().parse(), Ok(cell));
        }
    }
}
