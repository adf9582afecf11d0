//! Ours: the whole of it, daemon, workers and plugins, behind the simulated driver and a scripted Hyper-V host.

use std::time::Duration;

use hv_vss_stories::Guest;
use hv_vss_stories::Operation::{Freeze, Thaw};

use super::{Contender, OURS};

/// The daemon of a guest.
pub(crate) struct Ours<'a>(pub(crate) &'a Guest);

impl Contender for Ours<'_> {
    fn name(&self) -> &'static str {
        OURS
    }

    fn freeze(&mut self) -> Duration {
        self.0.host_may(Freeze).took
    }

    fn thaw(&mut self) -> Duration {
        self.0.host_may(Thaw).took
    }
}
