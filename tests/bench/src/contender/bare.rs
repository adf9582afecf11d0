//! The bare loop, in a jail like the peers'.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::{BARE, Contender};
use crate::bare::{DONE, FREEZE, THAW};
use crate::child::Running;
use crate::jail::Jail;

/// Where the benchmark's program is in the jail.
pub(crate) const PROGRAM: &str = "/bin/hv-vss-bench";

/// A running bare loop.
pub(crate) struct Bare(Running);

impl Bare {
    /// Starts it over all disks of a jail.
    pub(crate) fn start(jail: &Jail) -> Self {
        let disks: Vec<String> = jail.disks().collect();
        let command: Vec<&str> = [PROGRAM, "bare"].into_iter().chain(disks.iter().map(String::as_str)).collect();
        Self(jail.start(&command).0)
    }

    fn ask(&mut self, order: u8) -> Duration {
        let asked = Instant::now();
        self.0.stdin().write_all(&[order]).unwrap_or_else(|error| panic!("the bare loop does not listen: {error}"));
        let mut answer = [0];
        let told = self.0.stdout().read_exact(&mut answer);
        let took = asked.elapsed();
        assert!(told.is_ok() && answer[0] == DONE, "the bare loop failed (it says why on the standard error output)");
        took
    }
}

impl Contender for Bare {
    fn name(&self) -> &'static str {
        BARE
    }

    fn freeze(&mut self) -> Duration {
        self.ask(FREEZE)
    }

    fn thaw(&mut self) -> Duration {
        self.ask(THAW)
    }
}
