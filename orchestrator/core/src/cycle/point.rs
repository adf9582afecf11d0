//! The points of a cycle by name: the states, with *freezing* taken apart into its stages. For those who show where a cycle stands, and for
//! the fault matrix, which must strike at each of them.
//!
//! The list is made by the same lines as the enum, and [`Cycle::point`] matches every state and stage: one that is added can't be forgotten here.

use super::{Cycle, Stage, State};

macro_rules! points {
    ($($(#[$about:meta])* $point:ident = $name:literal,)+) => {
        /// Where a cycle stands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Point {
            $($(#[$about])* $point,)+
        }

        impl Point {
            /// All of them, in the order in which a backup comes to them.
            pub const ALL: &[Self] = &[$(Self::$point),+];

            /// As status and log show it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// Nothing is held, nothing is in work.
    Idle = "idle",
    /// A CHECK is in work.
    Checking = "checking",
    /// A FREEZE: the plugins are asked.
    Surveying = "freezing: asking the plugins",
    /// A FREEZE: what will be owed is written down.
    Noting = "freezing: noting what will be owed",
    /// A FREEZE: applications come to rest.
    Apps = "freezing: applications",
    /// A FREEZE: the flush after the applications.
    LastFlush = "freezing: last flush",
    /// A FREEZE: observers give up what they are at.
    Silencing = "freezing: waiting for observers",
    /// A FREEZE: processes are looked at for mapped files.
    Scanning = "freezing: looking for mapped files",
    /// A FREEZE: filesystems are suspended.
    Filesystems = "freezing: filesystems",
    /// A FREEZE: the mount table is read once more.
    Comparing = "freezing: comparing the mount table",
    /// Everything is held.
    Frozen = "frozen",
    /// What is held is being let go.
    Releasing = "releasing",
}

impl Cycle {
    /// Where it stands.
    #[must_use]
    pub fn point(&self) -> Point {
        match &self.state {
            State::Idle => Point::Idle,
            State::Checking(_) => Point::Checking,
            State::Frozen(_) => Point::Frozen,
            State::Releasing(_) => Point::Releasing,
            State::Freezing(freezing) => match freezing.stage {
                Stage::Surveying => Point::Surveying,
                Stage::Noting => Point::Noting,
                Stage::Apps(_) => Point::Apps,
                Stage::LastFlush => Point::LastFlush,
                Stage::Silencing => Point::Silencing,
                Stage::Scanning => Point::Scanning,
                Stage::Filesystems | Stage::Looking(_) => Point::Filesystems,
                Stage::Comparing => Point::Comparing,
            },
        }
    }

    /// How far it has come, in words.
    #[must_use]
    pub fn stage_name(&self) -> &'static str {
        self.point().name()
    }
}
