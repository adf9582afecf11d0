//! Whatever dies, hangs or lies, at whatever moment: nothing stays frozen beyond its limit, each application that was stopped is let go, the
//! host is told the truth, and a backup reported good is good.
//!
//! [`matrix`] says what can happen: who, what, when; it is pure. [`inject`] makes it happen to a real guest, from outside. [`judge`] looks at what
//! came of it, from outside too: writers, the records that scripts and applications keep, the raw messages of the host. [`campaign`] plays many
//! cells side by side and [`table`] shows them. [`soak`] is the long run.

pub mod campaign;
pub mod cell;
pub mod control;
pub mod guest;
pub mod inject;
pub mod judge;
pub mod matrix;
pub mod record;
pub mod rng;
pub mod soak;
pub mod table;
