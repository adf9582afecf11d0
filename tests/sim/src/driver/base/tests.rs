//! Each quirk, shown.

use std::thread::sleep;

use super::*;
use crate::ic::Answer;

const LIMIT: Duration = Duration::from_millis(50);

struct Machine {
    driver: Base,
    xactid: u64,
    answers: Vec<(u64, Answer)>,
    panics: Vec<String>,
}

impl Machine {
    fn new() -> Self {
        Self { driver: Base::new(WallClock::default(), LIMIT), xactid: 0, answers: Vec::new(), panics: Vec::new() }
    }

    fn with_a_daemon() -> Self {
        let mut machine = Self::new();
        machine.driver.open(Node::Filesystems, 1).unwrap();
        machine
    }

    fn host_sends(&mut self, operation: u8) -> u64 {
        self.host_sends_bytes(&ic::request(operation, 1))
    }

    fn host_sends_bytes(&mut self, bytes: &[u8]) -> u64 {
        self.xactid += 1;
        self.driver.host_message(self.xactid, bytes);
        self.settle();
        self.xactid
    }

    fn read(&mut self, opener: Opener) -> Vec<u8> {
        self.driver.ioctl(opener, READ, Access::Reading, &[]).unwrap()
    }

    /// Reads, waits out the stray timer's instant, and answers.
    fn answer(&mut self, opener: Opener, status: u32) {
        let mut message = self.read(opener);
        sleep(TOO_FAST);
        message[4..8].copy_from_slice(&status.to_ne_bytes());
        self.write(opener, &message);
    }

    fn write(&mut self, opener: Opener, message: &[u8]) {
        self.driver.ioctl(opener, WRITE, Access::Reading, message).unwrap();
        self.settle();
    }

    fn limit_passes(&mut self) {
        sleep(LIMIT);
        self.driver.timer(clock::now());
        self.settle();
    }

    fn settle(&mut self) {
        for effect in self.driver.take_effects() {
            match effect {
                Effect::Send { xactid, bytes } => self.answers.push((xactid, Answer::read(&bytes).unwrap())),
                Effect::Panic(why) => self.panics.push(why),
                _ => {}
            }
        }
    }

    fn status_of(&self, xactid: u64) -> Option<u32> {
        self.answers.iter().find(|(id, _)| *id == xactid).map(|(_, answer)| answer.status)
    }
}

const DAEMON_FD: Opener = 0;
const APP_FD: Opener = 1;

#[test]
fn a_read_of_nothing_succeeds_and_says_fail_inside() {
    let mut machine = Machine::with_a_daemon();
    let message = machine.read(DAEMON_FD);
    assert_eq!(fields(&message), Some((0, FAIL, 0)));
}

#[test]
fn a_late_answer_is_dropped_without_a_word() {
    let mut machine = Machine::with_a_daemon();
    let freeze = machine.host_sends(ic::FREEZE);
    let message = machine.read(DAEMON_FD);
    machine.limit_passes();
    assert_eq!(machine.status_of(freeze), Some(ic::HV_E_FAIL));
    machine.write(DAEMON_FD, &message);
    assert_eq!(machine.answers.len(), 1, "the write succeeded and changed nothing");
}

#[test]
fn an_answer_with_another_opt_stops_a_debug_kernel() {
    let mut machine = Machine::with_a_daemon();
    machine.host_sends(ic::FREEZE);
    let mut message = machine.read(DAEMON_FD);
    message[0] = 3;
    machine.write(DAEMON_FD, &message);
    assert_eq!(machine.panics, ["Mismatched VSS operation: asked 2, answered 3"]);
}

#[test]
fn a_thaw_during_a_freeze_is_dropped_and_yet_overwrites_its_buffer() {
    let mut machine = Machine::with_a_daemon();
    let freeze = machine.host_sends(ic::FREEZE);
    let thaw = machine.host_sends(ic::THAW);
    machine.answer(DAEMON_FD, SUCCESS);
    assert_eq!(machine.status_of(thaw), None);
    let (id, answer) = &machine.answers[0];
    assert_eq!((*id, answer.operation), (freeze, Some(ic::THAW)), "the freeze is answered in the thaw's words");
}

#[test]
fn an_application_is_asked_first_and_never_told_that_the_freeze_failed() {
    let mut machine = Machine::with_a_daemon();
    machine.driver.open(Node::Applications, 1).unwrap();
    let freeze = machine.host_sends(ic::FREEZE);
    assert!(!machine.driver.is_readable(DAEMON_FD));
    machine.answer(APP_FD, SUCCESS);
    machine.answer(DAEMON_FD, FAIL);
    assert_eq!(machine.status_of(freeze), Some(ic::HV_E_FAIL));
    assert!(!machine.driver.is_readable(APP_FD));
}

#[test]
fn a_thaw_goes_to_the_daemon_first_and_to_the_application_only_if_that_succeeded() {
    let mut machine = Machine::with_a_daemon();
    machine.driver.open(Node::Applications, 1).unwrap();
    let thaw = machine.host_sends(ic::THAW);
    machine.answer(DAEMON_FD, SUCCESS);
    assert_eq!(machine.status_of(thaw), None);
    machine.answer(APP_FD, SUCCESS);
    assert_eq!(machine.status_of(thaw), Some(ic::HV_S_OK));

    let thaw = machine.host_sends(ic::THAW);
    machine.answer(DAEMON_FD, FAIL);
    assert_eq!(machine.status_of(thaw), Some(ic::HV_E_FAIL));
    assert!(!machine.driver.is_readable(APP_FD));
}

#[test]
fn before_the_first_open_nothing_is_answered_and_after_a_close_everything_fails() {
    let mut machine = Machine::new();
    let offer = ic::negotiation(&[(1, 0), (3, 0)], &[(4, 0), (6, 0), (5, 0)], 1);
    let negotiation = machine.host_sends_bytes(&offer);
    assert_eq!(machine.answers, []);

    machine.driver.open(Node::Filesystems, 1).unwrap();
    machine.settle();
    let (id, answer) = &machine.answers[0];
    assert_eq!((*id, answer.is_ok(), answer.versions.as_slice()), (negotiation, true, &[(3, 0), (5, 0)][..]));

    machine.driver.close(DAEMON_FD);
    let check = machine.host_sends(ic::HOT_BACKUP);
    assert_eq!(machine.status_of(check), Some(ic::HV_E_FAIL));
}

#[test]
fn a_close_leaves_the_request_to_its_timer() {
    let mut machine = Machine::with_a_daemon();
    let freeze = machine.host_sends(ic::FREEZE);
    machine.read(DAEMON_FD);
    machine.driver.close(DAEMON_FD);
    machine.settle();
    assert_eq!(machine.status_of(freeze), None);
    machine.limit_passes();
    assert_eq!(machine.status_of(freeze), Some(ic::HV_E_FAIL));
}

#[test]
fn an_application_that_answers_without_a_daemon_orphans_the_request() {
    let mut machine = Machine::with_a_daemon();
    machine.driver.open(Node::Applications, 1).unwrap();
    machine.host_sends(ic::FREEZE);
    machine.driver.close(DAEMON_FD);
    machine.answer(APP_FD, SUCCESS);
    assert_eq!(machine.answers, []);
    machine.limit_passes();
    assert_eq!(machine.panics, ["timeout but fail to find request"]);
}

#[test]
fn an_answer_within_the_instant_leaves_a_timer_that_stops_a_debug_kernel() {
    let mut machine = Machine::with_a_daemon();
    let check = machine.host_sends(ic::HOT_BACKUP);
    let message = machine.read(DAEMON_FD);
    machine.write(DAEMON_FD, &message);
    assert_eq!(machine.status_of(check), Some(ic::HV_S_OK));
    machine.limit_passes();
    assert_eq!(machine.panics, ["timeout but fail to find request"]);
}

#[test]
fn an_answer_two_milliseconds_later_leaves_none() {
    let mut machine = Machine::with_a_daemon();
    machine.host_sends(ic::HOT_BACKUP);
    machine.answer(DAEMON_FD, SUCCESS);
    machine.limit_passes();
    assert_eq!(machine.panics, Vec::<String>::new());
}

#[test]
fn an_unknown_operation_is_not_answered() {
    let mut machine = Machine::with_a_daemon();
    machine.host_sends(7);
    assert_eq!(machine.answers, []);
}
