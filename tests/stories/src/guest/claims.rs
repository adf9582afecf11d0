//! What a story can claim of a guest, from outside.

use std::fs;
use std::time::{Duration, Instant};

use hv_vss_platform::clock::Monotonic;
use hv_vss_sim::{Answered, Event, Sent, ic};

use super::{Guest, Operation};
use crate::process;

/// How long a story waits for an answer that must come: any driver gives up before.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long something that comes by itself may take.
const SOON: Duration = Duration::from_secs(5);

impl Guest {
    /// The answer to a request that was sent; none within `patience`.
    ///
    /// # Panics
    /// When the simulated machine is gone, as after a kernel panic.
    #[track_caller]
    pub fn answer_within(&self, sent: Sent, patience: Duration) -> Option<Answered> {
        self.host.answer_to(sent, patience).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Claims that this request succeeds.
    ///
    /// # Panics
    /// When it fails or is not answered.
    #[track_caller]
    pub fn succeeds(&self, sent: Sent) -> Answered {
        let answered = self.answer_within(sent, PATIENCE).expect("the host hears an answer");
        assert_eq!(answered.answer.status, ic::HV_S_OK, "the host hears a failure, after {:?}", answered.took);
        answered
    }

    /// Claims that this request fails.
    ///
    /// # Panics
    /// When it succeeds or is not answered.
    #[track_caller]
    pub fn fails(&self, sent: Sent) -> Answered {
        let answered = self.answer_within(sent, PATIENCE).expect("the host hears an answer");
        assert_eq!(answered.answer.status, ic::HV_E_FAIL, "the host hears success, after {:?}", answered.took);
        answered
    }

    /// Claims that the host asks for this and hears success.
    ///
    /// # Panics
    /// When it hears something else.
    #[track_caller]
    pub fn host_may(&self, operation: Operation) -> Answered {
        self.succeeds(self.host_sends(operation))
    }

    /// Claims that the host asks for this and hears a failure.
    ///
    /// # Panics
    /// When it hears something else.
    #[track_caller]
    pub fn host_may_not(&self, operation: Operation) -> Answered {
        self.fails(self.host_sends(operation))
    }

    /// Claims that a CHECK succeeds, now or in a moment.
    ///
    /// # Panics
    /// When it goes on failing.
    #[track_caller]
    pub fn comes_to_allow_backups(&self) {
        let deadline = Instant::now() + SOON;
        loop {
            let answered =
                self.answer_within(self.host_sends(Operation::Check), PATIENCE).expect("the host hears an answer");
            if answered.answer.is_ok() {
                return;
            }
            assert!(Instant::now() < deadline, "the host goes on hearing a failure");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Claims that every disk can be written to, and that nothing is suspended.
    ///
    /// # Panics
    /// When one can't.
    #[track_caller]
    pub fn runs(&self) {
        self.writers.run();
        self.holds_nothing();
    }

    /// Claims that nothing can be written to any disk.
    ///
    /// # Panics
    /// When something can.
    #[track_caller]
    pub fn is_frozen(&self) {
        self.writers.stand_still();
    }

    /// Claims that nothing was written to any disk between these instants.
    ///
    /// # Panics
    /// When something was.
    #[track_caller]
    pub fn stood_still_between(&self, from: &Answered, until: Monotonic) {
        self.writers.stood_still_between(Monotonic::from_ns(from.at_ns), until);
    }

    /// Claims that no suspension is held, now or in a moment.
    ///
    /// # Panics
    /// When one stays.
    #[track_caller]
    pub fn holds_nothing(&self) {
        let deadline = Instant::now() + SOON;
        loop {
            let held = self.host.state().unwrap_or_else(|error| panic!("{error}")).suspended;
            if held.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "still suspended: {held:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until that many filesystems are suspended.
    ///
    /// # Panics
    /// When that doesn't come.
    #[track_caller]
    pub fn comes_to_hold(&self, count: usize) {
        let deadline = Instant::now() + SOON;
        loop {
            let held = self.host.state().unwrap_or_else(|error| panic!("{error}")).suspended;
            if held.len() == count {
                return;
            }
            assert!(Instant::now() < deadline, "expected {count} suspensions, not {held:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The disks in the order in which they were really frozen, by name.
    ///
    /// # Panics
    /// When the simulated machine is gone.
    #[must_use]
    #[track_caller]
    pub fn frozen_in_order(&self) -> Vec<String> {
        self.disks_in_events(|event| match event {
            Event::Frozen { on } => Some(on),
            _ => None,
        })
    }

    /// The disks in the order in which they were really thawed, by name.
    ///
    /// # Panics
    /// When the simulated machine is gone.
    #[must_use]
    #[track_caller]
    pub fn thawed_in_order(&self) -> Vec<String> {
        self.disks_in_events(|event| match event {
            Event::Thawed { on } => Some(on),
            _ => None,
        })
    }

    #[track_caller]
    fn disks_in_events(&self, pick: impl Fn(Event) -> Option<String>) -> Vec<String> {
        let entries = self.host.log().unwrap_or_else(|error| panic!("{error}"));
        let disks = self.stage.ground.disks();
        let name =
            |on: String| disks.iter().find(|disk| disk.on.as_os_str() == on.as_str()).map(|disk| disk.name.clone());
        entries.into_iter().filter_map(|entry| name(pick(entry.event)?)).collect()
    }

    /// The lines of the scripts' log: name, phase, outcome.
    #[must_use]
    pub fn script_lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.stage.script_log()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Claims that these scripts have run by now or do so in a moment, in this order, and no others: each "NAME PHASE".
    ///
    /// # Panics
    /// When others have, or in another order.
    #[track_caller]
    pub fn scripts_ran<const N: usize>(&self, expected: [&str; N]) {
        let runs = || -> Vec<String> {
            let lines = self.script_lines().into_iter();
            lines.map(|line| line.rsplit_once(' ').map_or(line.clone(), |(run, _)| run.to_owned())).collect()
        };
        self.lines_become(runs, &expected);
    }

    /// Claims the same, outcomes included: each "NAME PHASE OUTCOME".
    ///
    /// # Panics
    /// When it was otherwise.
    #[track_caller]
    pub fn scripts_ran_with<const N: usize>(&self, expected: [&str; N]) {
        self.lines_become(|| self.script_lines(), &expected);
    }

    #[track_caller]
    fn lines_become(&self, lines: impl Fn() -> Vec<String>, expected: &[&str]) {
        let deadline = Instant::now() + SOON;
        loop {
            let now = lines();
            if now == expected && Instant::now() < deadline {
                // Long enough for one too many to show itself.
                std::thread::sleep(Duration::from_millis(50));
                assert_eq!(lines(), expected);
                return;
            }
            assert!(now.len() <= expected.len() && Instant::now() < deadline, "ran: {now:?}, expected: {expected:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Claims that this script has started, or does so in a moment: "NAME PHASE".
    ///
    /// # Panics
    /// When it doesn't.
    #[track_caller]
    pub fn script_starts(&self, run: &str) {
        let deadline = Instant::now() + SOON;
        while !self.script_lines().iter().any(|line| line.starts_with(run)) {
            assert!(Instant::now() < deadline, "{run} never started; what ran: {:?}", self.script_lines());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until more scripts than this have started.
    ///
    /// # Panics
    /// When none does.
    #[track_caller]
    pub fn more_scripts_than(&self, count: usize) {
        let deadline = Instant::now() + SOON;
        while self.script_lines().len() <= count {
            assert!(Instant::now() < deadline, "no script started; what ran: {:?}", self.script_lines());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Claims that this process is gone, or is in a moment.
    ///
    /// # Panics
    /// When it stays.
    #[track_caller]
    pub fn process_is_gone(&self, pid: i32) {
        let deadline = Instant::now() + SOON;
        while process::state(pid).is_some_and(|state| state != 'Z') {
            assert!(Instant::now() < deadline, "process {pid} is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Claims that this process is there.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    pub fn process_is_there(&self, pid: i32) {
        assert!(process::state(pid).is_some_and(|state| state != 'Z'), "process {pid} is gone");
    }

    /// The children of the daemon and of its hosts that have ended and are not reaped yet.
    #[must_use]
    pub fn zombies(&self) -> Vec<(i32, String)> {
        let hosts = process::children(self.daemon().pid());
        let below = hosts.iter().flat_map(|(host, _)| process::children(*host));
        let all = hosts.iter().cloned().chain(below);
        all.filter(|(pid, _)| process::state(*pid) == Some('Z')).collect()
    }

    /// All children of the daemon.
    #[must_use]
    pub fn children_of_the_daemon(&self) -> Vec<(i32, String)> {
        process::children(self.daemon().pid())
    }
}
