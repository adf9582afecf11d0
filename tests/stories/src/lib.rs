//! End-to-end stories: a real daemon, real freezes, judged from outside.
//!
//! A [`Stage`] is set (disks, mount table, hooks, configuration), then a [`Guest`] runs on it: the simulated machine, the daemon with its plugin
//! hosts, and a writer on every disk. What a story claims it reads from the raw messages the host saw, from the writers' records and from the
//! scripts' own log; the daemon's word counts only where the word itself is the point, such as the reason for a veto.

mod crowd;
mod gate;
mod guest;
mod intruder;
mod patience;
pub mod pool;
pub mod process;
pub mod small_root;
mod stage;
pub mod tracer;
mod vssctl;
mod writers;

pub use crowd::{Crowd, Manners};
pub use guest::{Daemon, Guest, Operation};
pub use intruder::Intruder;
pub use patience::wait_for;
pub use process::Process;
pub use stage::{LIMIT, Stage, line};
pub use writers::{Writer, Writers, Written};

pub use hv_vss_platform::clock::Monotonic;
pub use hv_vss_platform::mounts::{FsId, Mount};
pub use hv_vss_sim::ground::{NEEDS, missing};
pub use hv_vss_sim::{Answered, Event, Fault, Host, Kind, Moment, Sent, Switches, ic};
pub use hv_vss_testbed::built;
pub use nix::sys::signal::Signal;

/// One story, told with each of the two drivers: `both_drivers! { fn the_claim(stage: Stage) { ... } }`.
#[macro_export]
macro_rules! both_drivers {
    ($($(#[$about:meta])* fn $claim:ident($stage:ident: $kind:ty) $story:block)+) => {$(
        $(#[$about])*
        #[cfg(test)]
        mod $claim {
            #[allow(unused_imports, reason = "the story uses what its file imports")]
            use super::*;

            fn story($stage: $kind) $story

            #[test]
            fn with_the_base_driver() {
                $crate::Stage::take($crate::Kind::Base).into_iter().for_each(story);
            }

            #[test]
            fn with_our_driver() {
                $crate::Stage::take($crate::Kind::Ours).into_iter().for_each(story);
            }
        }
    )+};
}

/// A story told with either driver and either way of freezing.
#[macro_export]
macro_rules! four_ways {
    ($($(#[$about:meta])* fn $claim:ident($stage:ident: $kind:ty) $story:block)+) => {$(
        $(#[$about])*
        #[cfg(test)]
        mod $claim {
            #[allow(unused_imports, reason = "the story uses what its file imports")]
            use super::*;

            fn story($stage: $kind) $story

            #[test]
            fn base_driver_and_ufssuspend() {
                $crate::Stage::take($crate::Kind::Base).into_iter().for_each(story);
            }

            #[test]
            fn base_driver_and_vfsfreeze() {
                let stage = $crate::Stage::take($crate::Kind::Base);
                stage.map($crate::Stage::frozen_the_other_way).into_iter().for_each(story);
            }

            #[test]
            fn our_driver_and_ufssuspend() {
                let stage = $crate::Stage::take($crate::Kind::Ours);
                stage.map($crate::Stage::frozen_the_other_way).into_iter().for_each(story);
            }

            #[test]
            fn our_driver_and_vfsfreeze() {
                $crate::Stage::take($crate::Kind::Ours).into_iter().for_each(story);
            }
        }
    )+};
}

/// One story that only our driver can tell.
#[macro_export]
macro_rules! our_driver {
    ($($(#[$about:meta])* fn $claim:ident($stage:ident: $kind:ty) $story:block)+) => {$(
        $(#[$about])*
        #[test]
        fn $claim() {
            fn story($stage: $kind) $story
            $crate::Stage::take($crate::Kind::Ours).into_iter().for_each(story);
        }
    )+};
}
