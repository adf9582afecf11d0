//! What is answered and when, with a driver, a disk and a clock that are played.

use hv_vss_types::{Interface, System};

use super::*;
use crate::edit::plan;
use crate::protocol::SIZE;

const MAX_FROZEN: Duration = Duration::from_secs(60);

/// A daemon's core, and the world around it.
struct Play {
    core: Core,
    now: Monotonic,
    /// What is to be done and was not yet.
    actions: Vec<Action>,
    answers: Vec<(Monotonic, Message)>,
    /// What the guest's pool holds, for looks and writes.
    file: Records,
    hv_vss: Word,
    /// Files are looked at, changed, names and scripts run.
    touched: usize,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn records(pairs: &[(&str, &str)]) -> Records {
    let changes: Vec<Change> = pairs.iter().map(|(key, value)| Change::set(*key, *value)).collect();
    plan(&Records::default(), &changes).after
}

fn message(operation: u8, pool: u8, fields: &[(usize, &[u8])]) -> Message {
    let mut bytes = vec![0; SIZE];
    (bytes[0], bytes[1]) = (operation, pool);
    fields.iter().for_each(|(at, text)| bytes[*at..at + text.len()].copy_from_slice(text));
    Message::of(&bytes).unwrap()
}

fn get(pool: u8, key: &str) -> Message {
    message(0, pool, &[(16, key.as_bytes())])
}

fn set(pool: u8, key: &str, value: &str) -> Message {
    message(1, pool, &[(16, key.as_bytes()), (528, value.as_bytes())])
}

fn delete(pool: u8, key: &str) -> Message {
    message(2, pool, &[(8, key.as_bytes())])
}

fn enumerate(pool: u8, index: u32) -> Message {
    message(3, pool, &[(4, &index.to_ne_bytes())])
}

fn set_ip(address: &str) -> Message {
    message(5, 0, &[(4, b"hn0"), (262, address.as_bytes()), (2310, b"255.0.0.0")])
}

fn machine() -> Machine {
    Machine {
        host_name: "web1".into(),
        system: System { name: "FreeBSD".into(), release: "14.0-STABLE".into(), machine: "amd64".into() },
        interfaces: vec![Interface { name: "hn0".into(), is_up: true, ..Interface::default() }],
        gateways: vec![],
    }
}

impl Play {
    /// A daemon that has registered and knows its pools.
    fn with(pairs: &[(&str, &str)]) -> Self {
        let mut play = Self::new(pairs, false);
        play.take(Input::Begin(machine()));
        play.settles();
        assert!(play.actions.contains(&Action::Register));
        play.actions.clear();
        play.touched = 0;
        play
    }

    fn new(pairs: &[(&str, &str)], set_addresses: bool) -> Self {
        Self {
            core: Core::new(Limits { max_frozen: MAX_FROZEN, set_addresses }),
            now: Monotonic::from_ns(0) + Duration::from_secs(1000),
            actions: vec![],
            answers: vec![],
            file: records(pairs),
            hv_vss: Word::Free,
            touched: 0,
        }
    }

    fn take(&mut self, input: Input) {
        for action in self.core.take(input, self.now) {
            match action {
                Action::Answer(message) => self.answers.push((self.now, message)),
                other => self.actions.push(other),
            }
        }
    }

    fn is_asked(&mut self, message: Message) {
        self.take(Input::Request(message, self.now, Box::new(machine())));
    }

    fn next(&mut self, wanted: impl Fn(&Action) -> bool) -> Option<Action> {
        let at = self.actions.iter().position(wanted)?;
        Some(self.actions.remove(at))
    }

    /// hv_vss answers, if it is asked.
    fn hv_vss_answers(&mut self) -> bool {
        let asked = self.next(|action| *action == Action::Ask).is_some();
        if asked {
            self.take(Input::Heard(self.hv_vss.clone()));
        }
        asked
    }

    /// The disk does what is asked of it, if anything is.
    fn disk_works(&mut self) -> bool {
        match self.next(|action| matches!(action, Action::Look(_) | Action::Write(..) | Action::Resolve(_))) {
            Some(Action::Look(look)) => {
                self.touched += 1;
                let found =
                    |pool: &Pool| (*pool, Ok(if *pool == Pool::Guest { self.file.clone() } else { records(&[]) }));
                let pools = look.pools.iter().map(found).collect();
                self.take(Input::Looked(Looked { look, pools, files: None }));
            }
            Some(Action::Write(pool, number, changes)) => {
                self.touched += 1;
                let plan = plan(&self.file, &changes);
                self.file = plan.after.clone();
                self.take(Input::Wrote(pool, number, Ok((plan.after, plan.found))));
            }
            Some(Action::Resolve(host)) => {
                self.touched += 1;
                self.take(Input::Named(host, None));
            }
            _ => return false,
        }
        true
    }

    /// Everything that helps does so at once.
    fn settles(&mut self) {
        while self.hv_vss_answers() || self.disk_works() {}
    }

    /// Time passes, as far as the next instant that the core names, for `span` in all.
    fn passes(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(due) = self.core.due().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.take(Input::Due);
            if self.core.due().is_some_and(|next| next <= self.now) {
                panic!("a timer that is due changes nothing: {:?}", self.core);
            }
        }
        self.now = until;
    }

    /// The only answer, and how long after the request it came.
    #[track_caller]
    fn answer(&mut self, message: Message) -> (Message, Duration) {
        let began = self.now;
        self.is_asked(message);
        self.settles();
        self.passes(ms(4000));
        self.settles();
        assert_eq!(self.answers.len(), 1, "{:?}", self.core);
        let (at, answer) = self.answers.remove(0);
        (answer, began.until(at))
    }

    #[track_caller]
    fn answers_with(&mut self, message: Message, expected: &Answer) -> Duration {
        let (answer, took) = self.answer(message.clone());
        assert_eq!(answer.bytes(), message.answered(expected).bytes());
        took
    }

    #[track_caller]
    fn value(&mut self, key: &str, expected: &str) {
        self.answers_with(get(1, key), &Answer::Value(expected.into()));
    }
}

fn status(status: Status) -> Answer {
    Answer::Status(status)
}

#[test]
fn an_answer_leaves_after_two_milliseconds_and_not_sooner() {
    let mut play = Play::with(&[("Key", "value")]);
    assert_eq!(play.answers_with(get(1, "Key"), &Answer::Value("value".into())), ms(2));
    assert_eq!(play.answers_with(enumerate(2, 5), &Answer::Pair("OSName".into(), "FreeBSD".into())), ms(2));
}

#[test]
fn what_another_program_wrote_is_seen_by_the_next_request() {
    let mut play = Play::with(&[("Key", "old")]);
    play.file = records(&[("Key", "new"), ("More", "x")]);
    play.value("Key", "new");
    play.answers_with(enumerate(1, 1), &Answer::Pair("More".into(), "x".into()));
    play.answers_with(enumerate(1, 2), &status(Status::NoMore));
}

#[test]
fn a_disk_that_hangs_is_waited_for_once_and_a_quarter_of_a_second() {
    let mut play = Play::with(&[("Key", "value")]);
    play.is_asked(get(1, "Key"));
    play.hv_vss_answers();
    let began = play.now;
    play.passes(ms(4000));
    assert_eq!(began.until(play.answers.remove(0).0), ms(250));
    // From here on memory is all there is, and the request does not wait.
    for message in [get(1, "Key"), set(1, "Key", "new"), get(1, "Key"), delete(1, "Key")] {
        let began = play.now;
        play.is_asked(message);
        play.passes(ms(4000));
        let (at, answer) = play.answers.remove(0);
        assert_eq!((began.until(at), &answer.bytes()[..4]), (ms(2), &[0; 4][..]));
    }
}

#[test]
fn a_question_to_hv_vss_that_hangs_delays_no_answer_either() {
    let mut play = Play::with(&[("Key", "value")]);
    play.is_asked(set(1, "Key", "new"));
    let began = play.now;
    play.passes(ms(4000));
    assert_eq!(began.until(play.answers.remove(0).0), ms(1000));
    play.is_asked(get(1, "Key"));
    let began = play.now;
    play.passes(ms(4000));
    assert_eq!(began.until(play.answers.remove(0).0), ms(2));
}

#[test]
fn in_a_freeze_nothing_touches_the_disk_and_what_was_set_is_written_afterwards() {
    let mut play = Play::with(&[("Key", "old"), ("Gone", "x")]);
    play.hv_vss = Word::Freeze("frozen".into());
    play.answers_with(set(1, "Key", "new"), &status(Status::Ok));
    play.answers_with(delete(1, "Gone"), &status(Status::Ok));
    play.answers_with(set(0, "Other", "y"), &status(Status::Ok));
    play.value("Key", "new");
    play.answers_with(get(1, "Gone"), &status(Status::NoMore));
    play.answers_with(message(4, 0, &[(4, b"00:15:5d:00:00:01")]), &status(Status::Failed));
    play.passes(Duration::from_secs(30));
    play.settles();
    assert_eq!((play.touched, play.file.clone()), (0, records(&[("Key", "old"), ("Gone", "x")])));
    assert!(play.actions.contains(&Action::HoldLog(true)) && !play.actions.contains(&Action::HoldLog(false)));

    play.hv_vss = Word::Free;
    play.passes(ms(300));
    play.settles();
    assert_eq!(play.file.get("Key"), Some(&b"new"[..]));
    assert_eq!((play.file.get("Gone"), play.file.get("Other")), (None, Some(&b"y"[..])));
    assert!(play.actions.contains(&Action::HoldLog(false)) && !play.core.pools.has_waiting());
}

#[test]
fn where_hv_vss_is_gone_the_disk_is_left_alone_for_max_frozen_after_its_latest_freeze() {
    let mut play = Play::with(&[("Key", "old")]);
    play.hv_vss = Word::Freeze("frozen".into());
    play.answers_with(set(1, "Key", "new"), &status(Status::Ok));
    play.hv_vss = Word::Absent("nothing listens".into());
    play.passes(MAX_FROZEN - Duration::from_secs(5));
    play.settles();
    assert_eq!(play.touched, 0);
    for _ in 0..40 {
        play.passes(ms(250));
        play.settles();
    }
    assert_eq!(play.file.get("Key"), Some(&b"new"[..]));
}

#[test]
fn where_no_hv_vss_was_ever_there_the_disk_is_used() {
    let mut play = Play::with(&[]);
    play.hv_vss = Word::Absent("nothing listens".into());
    play.answers_with(set(1, "Key", "new"), &status(Status::Ok));
    assert_eq!(play.file.get("Key"), Some(&b"new"[..]));
}

#[test]
fn a_set_is_answered_when_it_is_written_and_refused_when_the_disk_is_full() {
    let mut play = Play::with(&[("Key", "old")]);
    play.answers_with(set(1, "Key", "new"), &status(Status::Ok));
    assert_eq!(play.file.get("Key"), Some(&b"new"[..]));

    play.is_asked(set(1, "More", "x"));
    play.hv_vss_answers();
    let Some(Action::Write(pool, number, _)) = play.next(|action| matches!(action, Action::Write(..))) else {
        panic!("{:?}", play.actions)
    };
    play.take(Input::Wrote(pool, number, Err("no space left".into())));
    play.passes(ms(10));
    assert_eq!(play.answers.remove(0).1.bytes()[..4], Status::Failed.number().to_ne_bytes());
    assert!(play.actions.contains(&Action::Log(Level::Error, "pool 1: no space left".into())));
    play.answers_with(get(1, "More"), &status(Status::NoMore));
    assert!(!play.core.pools.has_waiting());
}

#[test]
fn what_was_promised_in_a_freeze_is_tried_again_until_it_is_written_and_trouble_is_said_once() {
    let mut play = Play::with(&[]);
    play.hv_vss = Word::Freeze("frozen".into());
    play.answers_with(set(1, "Key", "promised"), &status(Status::Ok));
    play.hv_vss = Word::Free;
    let mut tries = vec![];
    for _ in 0..600 {
        play.passes(ms(500));
        play.hv_vss_answers();
        if let Some(Action::Write(pool, number, _)) = play.next(|action| matches!(action, Action::Write(..))) {
            tries.push(play.now);
            play.take(Input::Wrote(pool, number, Err("no space left".into())));
        }
    }
    assert!((8..14).contains(&tries.len()), "{} tries in 5 minutes", tries.len());
    let said = play.actions.iter().filter(|action| matches!(action, Action::Log(Level::Error, _))).count();
    assert_eq!(said, 1);
    play.value("Key", "promised");
    play.passes(Duration::from_secs(61));
    play.settles();
    assert_eq!(play.file.get("Key"), Some(&b"promised"[..]));
}

/// Pool numbers of 5 and more index out of bounds, in FreeBSD's hv_kvp_daemon.
#[test]
fn a_pool_that_does_not_exist_is_refused_whatever_is_asked_of_it() {
    let mut play = Play::with(&[]);
    for pool in [5, 6, 100, 255] {
        for message in [get(pool, "Key"), set(pool, "Key", "x"), delete(pool, "Key"), enumerate(pool, 0)] {
            play.answers_with(message, &status(Status::Failed));
        }
    }
    assert_eq!(play.touched, 0);
}

/// A prefix of a key matches, in FreeBSD's hv_kvp_daemon.
#[test]
fn a_prefix_of_a_key_is_another_key() {
    let mut play = Play::with(&[("HostName", "a")]);
    play.answers_with(get(1, "Host"), &status(Status::NoMore));
    play.answers_with(delete(1, "Host"), &status(Status::NoMore));
    play.answers_with(set(1, "Host", "b"), &status(Status::Ok));
    play.value("HostName", "a");
}

#[test]
fn the_computed_pool_can_be_read_and_not_changed() {
    let mut play = Play::with(&[]);
    play.answers_with(get(2, "FullyQualifiedDomainName"), &Answer::Value("web1".into()));
    play.answers_with(get(2, "OSN"), &status(Status::NoMore));
    play.answers_with(enumerate(2, 10), &status(Status::NoMore));
    play.answers_with(set(2, "OSName", "x"), &status(Status::Failed));
    play.answers_with(delete(2, "OSName"), &status(Status::Failed));
}

#[test]
fn the_full_name_is_looked_up_in_the_background_and_again_when_the_host_is_renamed() {
    let mut play = Play::with(&[]);
    play.take(Input::Named("web1".into(), Some("web1.example.org".into())));
    play.answers_with(enumerate(2, 0), &Answer::Pair("FullyQualifiedDomainName".into(), "web1.example.org".into()));
    let renamed = Machine { host_name: "web2".into(), ..machine() };
    play.take(Input::Request(enumerate(2, 0), play.now, Box::new(renamed)));
    play.passes(ms(10));
    let answer = play.answers.remove(0).1;
    assert!(answer.bytes()[532..].starts_with(b"web2\0"), "the old name is not told of the new host");
    play.hv_vss_answers();
    assert!(play.next(|action| *action == Action::Resolve("web2".into())).is_some(), "{:?}", play.actions);
    // A late answer about the old name changes nothing.
    play.take(Input::Named("web1".into(), Some("web1.example.org".into())));
    assert_eq!(play.core.name.full, None);
}

#[test]
fn what_no_daemon_knows_is_not_supported_and_what_is_unfit_fails() {
    let mut play = Play::with(&[]);
    play.answers_with(message(6, 0, &[]), &status(Status::NotSupported));
    play.answers_with(message(255, 0, &[]), &status(Status::NotSupported));
    play.answers_with(get(1, ""), &status(Status::Failed));
    play.answers_with(message(1, 1, &[(16, b"\xff\xfe"), (528, b"x")]), &status(Status::Failed));
    play.answers_with(message(1, 1, &[(16, b"Key"), (528, &[b'x'; 2048])]), &status(Status::Failed));
    assert_eq!(play.touched, 0);
}

#[test]
fn the_host_can_set_addresses_only_where_that_was_turned_on() {
    let mut play = Play::with(&[]);
    play.answers_with(set_ip("10.0.0.5"), &status(Status::NotSupported));
    assert!(play.next(|action| matches!(action, Action::Configure(_))).is_none());
}

fn that_sets_addresses() -> Play {
    let mut play = Play::new(&[], true);
    play.take(Input::Begin(machine()));
    play.settles();
    play.actions.clear();
    play
}

#[test]
fn the_script_is_given_checked_addresses_and_its_result_is_the_answer() {
    for (result, expected) in [(Ok(()), Status::Ok), (Err("exit status 1".to_owned()), Status::Failed)] {
        let mut play = that_sets_addresses();
        play.is_asked(set_ip("10.0.0.5"));
        play.hv_vss_answers();
        let Some(Action::Configure(settings)) = play.next(|action| matches!(action, Action::Configure(_))) else {
            panic!("{:?}", play.actions)
        };
        assert_eq!(settings.arguments(), ["interface=hn0", "dhcp=no", "address=10.0.0.5/8"]);
        play.passes(ms(1000));
        assert!(play.answers.is_empty());
        play.take(Input::Configured(result));
        assert_eq!(play.answers.remove(0).1.bytes()[..4], expected.number().to_ne_bytes());
        play.answers_with(set_ip("10.0.0.5; reboot"), &status(Status::Failed));
        assert!(play.next(|action| matches!(action, Action::Configure(_))).is_none());
    }
}

#[test]
fn a_script_that_takes_too_long_has_failed_for_the_host_and_no_second_one_runs_beside_it() {
    let mut play = that_sets_addresses();
    play.is_asked(set_ip("10.0.0.5"));
    play.hv_vss_answers();
    let began = play.now;
    play.passes(ms(4000));
    let (at, answer) = play.answers.remove(0);
    assert_eq!((began.until(at), &answer.bytes()[..4]), (ms(3500), &Status::Failed.number().to_ne_bytes()[..]));
    play.actions.clear();
    play.answers_with(set_ip("10.0.0.6"), &status(Status::Failed));
    assert!(play.next(|action| matches!(action, Action::Configure(_))).is_none());
    play.take(Input::Configured(Ok(())));
    let late = |action: &Action| matches!(action, Action::Log(_, text) if text.contains("after the host was told"));
    assert!(play.next(late).is_some());
}

#[test]
fn in_a_freeze_no_script_runs() {
    let mut play = that_sets_addresses();
    play.hv_vss = Word::Freeze("frozen".into());
    play.answers_with(set_ip("10.0.0.5"), &status(Status::Failed));
    play.hv_vss = Word::Free;
    play.passes(Duration::from_secs(2));
    play.settles();
    assert!(play.next(|action| matches!(action, Action::Configure(_))).is_none());
}

#[test]
fn the_driver_is_told_of_a_daemon_once_its_pools_are_read_or_after_two_seconds() {
    let mut play = Play::new(&[("Key", "value")], false);
    play.take(Input::Begin(machine()));
    assert!(!play.actions.contains(&Action::Register));
    play.passes(ms(1999));
    assert!(!play.actions.contains(&Action::Register));
    play.passes(ms(1));
    assert!(play.actions.contains(&Action::Register));
    play.passes(Duration::from_secs(60));
    assert_eq!(play.actions.iter().filter(|action| **action == Action::Register).count(), 1);
}

#[test]
fn a_daemon_that_begins_in_a_freeze_registers_at_once_and_reads_its_pools_afterwards() {
    let mut play = Play::new(&[("Key", "value")], false);
    play.hv_vss = Word::Freeze("frozen".into());
    play.take(Input::Begin(machine()));
    play.settles();
    assert!(play.actions.contains(&Action::Register));
    // What it does not know it does not deny.
    play.answers_with(get(1, "Key"), &status(Status::Failed));
    play.answers_with(enumerate(1, 0), &status(Status::Failed));
    play.hv_vss = Word::Free;
    play.passes(ms(300));
    play.settles();
    assert!(play.core.pools.is_known(Pool::AutoInternal));
    play.value("Key", "value");
}

#[test]
fn a_daemon_that_is_told_to_end_answers_and_writes_first() {
    let mut play = Play::with(&[]);
    play.hv_vss = Word::Freeze("frozen".into());
    play.answers_with(set(1, "Key", "promised"), &status(Status::Ok));
    play.actions.clear();
    play.is_asked(get(1, "Key"));
    play.take(Input::End);
    assert!(!play.actions.contains(&Action::End));
    play.passes(ms(10));
    assert_eq!(play.answers.len(), 1);
    assert!(!play.actions.contains(&Action::End), "a pair waits");
    play.hv_vss = Word::Free;
    play.passes(ms(300));
    play.settles();
    assert!(play.actions.contains(&Action::End));
    assert_eq!(play.file.get("Key"), Some(&b"promised"[..]));
}

#[test]
fn a_daemon_that_can_not_write_ends_after_five_seconds_and_says_what_that_means() {
    let mut play = Play::with(&[]);
    play.hv_vss = Word::Freeze("frozen".into());
    play.answers_with(set(1, "Key", "promised"), &status(Status::Ok));
    play.take(Input::End);
    play.passes(ms(4999));
    assert!(!play.actions.contains(&Action::End));
    play.passes(ms(1));
    assert!(play.actions.contains(&Action::End));
    assert!(
        play.next(|action| matches!(action, Action::Log(Level::Error, text) if text.contains("not written"))).is_some()
    );
}

#[test]
fn a_key_that_another_program_added_can_be_removed() {
    let mut play = Play::with(&[]);
    play.file = records(&[("Theirs", "x")]);
    play.answers_with(delete(1, "Theirs"), &status(Status::Ok));
    assert!(play.file.is_empty());
    play.answers_with(delete(1, "Theirs"), &status(Status::NoMore));
}

#[test]
fn a_value_that_the_driver_would_spoil_is_cut_on_its_way() {
    let long = "é".repeat(1023);
    let mut play = Play::with(&[("Long", &long), ("Ice", "\u{1f9ca}")]);
    play.value("Ice", "\u{fffd}");
    let (answer, _) = play.answer(get(1, "Long"));
    let value = &answer.bytes()[528..];
    let value = std::str::from_utf8(&value[..value.iter().position(|byte| *byte == 0).unwrap()]).unwrap();
    assert!(value.ends_with('…') && value.chars().count() == 1022, "{value}");
}
