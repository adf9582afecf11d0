//! What every test stands on, in one place: what it [needs](needs!), the one rule for skipping it,
//! [how long it waits](patience), and [where the programs are](mod@built) that it starts.
//!
//! A test declares its needs in its first line:
//!
//! ```text
//! #[test]
//! fn a_manual_is_clean() {
//!     needs!(Mandoc);
//!     ...
//! ```
//!
//! Where one of them is missing, the test says so, returns and counts as skipped. With
//! `HV_VSS_NO_SKIP=1` it fails instead. [`Need`] is the list of all needs.
//!
//! A test that promises a time, and therefore needs the machine to itself, lives in a module named
//! `alone`. `scripts/test` runs these modules after all others, one test at a time.

mod built;
mod gate;
mod need;
pub mod patience;

pub use built::{built, example};
pub use gate::{NO_SKIP, RECORD, can_run, missing};
pub use need::{Kind, Need, program};
