//! What came of a cell, judged from outside: by the host's raw messages, by the writers on the disks, and by what scripts, plugin and application
//! wrote down themselves. The daemon's word counts for nothing here.

use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Event, Signal, process};

use crate::cell::{Asked, Facts};
use crate::guest::{Bench, DISKS, HOOKS, PLUGINS, SOON, limit, max_frozen, stretched};
use crate::inject::processes::{comes_true, is_alive, signal};
use crate::matrix::sense::is_harmless;
use crate::matrix::{Cell, Fault, Moment, Subject, Way};
use crate::record::{Mark, RESOLUTION};

/// Filesystems are writable this long after the deadline that applies.
pub const WRITABLE_WITHIN: Duration = Duration::from_secs(1);
/// An answer of the driver's own comes this long after its limit at the latest: it has to be sent and read, too.
const DRIVER_ANSWERS_WITHIN: Duration = Duration::from_millis(500);
/// How long a guest may take until it allows a backup again: what a dead daemon's hosts still do has limits of its own.
const WORKS_WITHIN: Duration = Duration::from_secs(10);
/// How long the last owed thaw may take: an application with the in-base driver goes on by itself after 3 s, a script has its limit.
const LET_GO_WITHIN: Duration = Duration::from_secs(8);

/// What is wrong. Empty: the cell is good.
type Misses = Vec<String>;

/// Judges a cell, sets going again what was stopped, and sees that the next backup works.
#[must_use]
pub fn judge(bench: &mut Bench, cell: &Cell, facts: Facts) -> Misses {
    let mut misses = Misses::new();
    answers_are_true(bench, cell, &facts, &mut misses);
    disks_are_writable_in_time(bench, cell, &facts, &mut misses);
    everybody_is_let_go(bench, cell, &mut misses);
    let doomed = facts.doomed;
    goes_on(bench, cell, facts);
    if doomed.is_some_and(|pid| !comes_true(SOON, || !is_alive(pid))) {
        misses.push("the fault ended nobody, so this cell has tried nothing".to_owned());
    }
    the_next_backup_works(bench, &mut misses);
    nothing_is_left(bench, &mut misses);
    each_request_has_one_answer(bench, &mut misses);
    misses
}

/// Every answer came, in time, and success was said only of a backup that is good.
fn answers_are_true(bench: &Bench, cell: &Cell, facts: &Facts, misses: &mut Misses) {
    for asked in &facts.asked {
        match &asked.answered {
            None => misses.push(format!("{:?} was never answered", asked.operation)),
            Some(answered) => {
                let by_ourselves = !matches!(cell.subject, Subject::Daemon | Subject::Application);
                let latest = if by_ourselves { limit() } else { limit() + stretched(DRIVER_ANSWERS_WITHIN) };
                if answered.took > latest {
                    misses.push(format!("{:?} was answered after {:?}", asked.operation, answered.took));
                }
            }
        }
    }
    let (freeze, thaw) = (facts.request(Freeze), facts.request(Thaw));
    if let (Some(freeze), Some(thaw)) = (freeze.filter(|freeze| freeze.is_ok()), thaw.filter(|thaw| thaw.is_ok())) {
        a_backup_reported_good_is_good(bench, cell, freeze, thaw, misses);
    }
    if is_harmless(cell) {
        let spoilt = |asked: &&Asked| {
            // What the moment itself makes fail.
            let fails_anyway = match cell.moment {
                Moment::LongHold => asked.operation == Thaw,
                moment => moment.way() == Some(Way::Release) && asked.operation == Freeze,
            };
            asked.is_ok() == fails_anyway
        };
        if let Some(asked) = facts.asked.iter().find(spoilt) {
            misses.push(format!(
                "{:?} was answered {}, though nothing happened to warrant it",
                asked.operation,
                if asked.is_ok() { "success" } else { "fail" }
            ));
        }
        if facts.request(Thaw).is_none() {
            misses.push("the backup was not even begun".to_owned());
        }
    }
}

fn a_backup_reported_good_is_good(bench: &Bench, cell: &Cell, freeze: &Asked, thaw: &Asked, misses: &mut Misses) {
    let Some(frozen) = freeze.heard() else { return };
    for writer in bench.writers() {
        if writer.written_between(frozen, thaw.sent).is_some() {
            misses.push(format!(
                "{} was written to between FREEZE and THAW, and the host believes that it has a backup",
                writer.disk
            ));
        }
    }
    let lines = bench.record.lines();
    let app = (cell.subject != Subject::Application).then_some("app");
    for who in HOOKS.iter().copied().chain(["vendor"]).chain(app) {
        let of = |call: &str, mark: Mark| {
            lines
                .iter()
                .filter(|line| line.who == who && line.call == call && line.mark == mark)
                .map(|line| line.at)
                .collect::<Vec<_>>()
        };
        if !of("freeze", Mark::Ended).iter().any(|at| *at <= frozen + RESOLUTION && *at + RESOLUTION >= freeze.sent) {
            misses.push(format!("{who} did not come to rest, and the host believes that it has a backup"));
        }
        if of("thaw", Mark::Began).iter().any(|at| *at >= freeze.sent && *at + RESOLUTION < thaw.sent) {
            misses.push(format!("{who} was let go before the THAW, and the host believes that it has a backup"));
        }
    }
}

/// The instant from which on the disks have to be writable.
fn due(cell: &Cell, facts: &Facts) -> Monotonic {
    let freeze = facts.request(Freeze);
    let expiry = freeze.map(|freeze| freeze.sent + limit() + max_frozen());
    let at_once = match (cell.subject, cell.fault) {
        (Subject::Daemon, Fault::Slow | Fault::Stop) => false,
        (Subject::Daemon, _) => true,
        (
            Subject::Ufs | Subject::ExecHook | Subject::Vendor,
            Fault::Kill | Fault::Crash | Fault::Exit | Fault::Garbage | Fault::ClosedSocket,
        ) => {
            matches!(cell.moment, Moment::Hold | Moment::LongHold)
        }
        _ => false,
    };
    let due = match (cell.subject, cell.fault) {
        (Subject::Daemon, Fault::Stop) => expiry.unwrap_or(facts.struck),
        _ if at_once => facts.struck,
        _ => match freeze {
            None => facts.struck,
            Some(freeze) if !freeze.is_ok() => freeze.heard().unwrap_or(facts.struck),
            Some(freeze) => {
                let watchdog = freeze.heard().unwrap_or(facts.struck) + max_frozen();
                let thawed = facts.request(Thaw).and_then(Asked::heard).unwrap_or(watchdog);
                if cell.moment == Moment::LongHold { watchdog } else { thawed }
            }
        },
    };
    due.max(facts.struck).max(facts.lifted.unwrap_or(due))
}

fn disks_are_writable_in_time(bench: &Bench, cell: &Cell, facts: &Facts, misses: &mut Misses) {
    let due = due(cell, facts);
    let latest = due + stretched(WRITABLE_WITHIN);
    comes_true(clock::now().until(latest) + SOON, || bench.first_writes_after(due).iter().all(|(_, at)| at.is_some()));
    for (disk, at) in bench.first_writes_after(due) {
        match at {
            None => misses.push(format!("{disk} stays frozen")),
            Some(at) if at > latest => {
                misses.push(format!("{disk} was frozen for {:?} beyond the deadline", due.until(at)))
            }
            Some(_) => {}
        }
    }
}

/// Each script, plugin and application that was stopped is let go.
fn everybody_is_let_go(bench: &Bench, cell: &Cell, misses: &mut Misses) {
    // One that is stopped or gone can't say that it goes on; nor can it be held.
    let app = (cell.subject != Subject::Application).then_some("app");
    let everybody = || HOOKS.iter().copied().chain(["vendor"]).chain(app);
    let owed = |who: &str| {
        let lines = bench.record.lines();
        let began = |call: &str| {
            let of = |line: &&crate::record::Line| line.who == who && line.call == call;
            let marks = if who == "app" && call == "freeze" { Mark::Ended } else { Mark::Began };
            lines.iter().rposition(|line| of(&line) && line.mark == marks)
        };
        began("freeze").is_some_and(|freeze| began("thaw").is_none_or(|thaw| thaw < freeze))
    };
    comes_true(stretched(LET_GO_WITHIN), || !everybody().any(owed));
    misses.extend(everybody().filter(|who| owed(who)).map(|who| format!("{who} was stopped and never let go")));
}

/// What was stopped goes on, what has ended is started again.
fn goes_on(bench: &mut Bench, cell: &Cell, facts: Facts) {
    facts.stopped.iter().for_each(|pid| {
        signal(*pid, Signal::SIGCONT);
    });
    if cell.subject == Subject::Daemon && matches!(cell.fault, Fault::Kill | Fault::Crash | Fault::Exit) {
        comes_true(SOON, || !bench.guest.daemon_is_there());
    }
    if !bench.guest.daemon_is_there() {
        bench.guest.daemon_starts();
    }
    if cell.subject == Subject::Application || bench.application().is_none() {
        bench.application_starts();
    }
}

/// A whole backup works, and is a true one.
fn the_next_backup_works(bench: &mut Bench, misses: &mut Misses) {
    let ask = |bench: &Bench, operation| {
        let sent = clock::now();
        let answered = bench.guest.answer_within(bench.guest.host_sends(operation), limit() + SOON);
        Asked { operation, sent, answered }
    };
    let mut last = None;
    let allowed = comes_true(stretched(WORKS_WITHIN), || {
        let asked = ask(bench, Check);
        let ok = asked.is_ok();
        last = Some(asked);
        ok
    });
    if !allowed {
        misses.push(format!(
            "no backup is allowed afterwards: CHECK was last {}",
            if last.is_some_and(|last| last.answered.is_some()) { "refused" } else { "not answered" }
        ));
        return;
    }
    if bench.guest.host().state().is_ok_and(|state| !state.suspended.is_empty()) {
        misses.push("something is suspended after a CHECK that succeeded".to_owned());
    }
    let freeze = ask(bench, Freeze);
    if !freeze.is_ok() {
        misses.push("the next FREEZE fails".to_owned());
        return;
    }
    let held = bench.guest.host().state().map_or(0, |state| state.suspended.len());
    if held != DISKS.len() {
        misses.push(format!("the next FREEZE succeeded with {held} disks held"));
    }
    std::thread::sleep(Duration::from_millis(30));
    let thaw = ask(bench, Thaw);
    if !thaw.is_ok() {
        misses.push("the next THAW fails".to_owned());
    }
    let nobody =
        Cell { driver: hv_vss_stories::Kind::Ours, subject: Subject::Daemon, fault: Fault::Slow, moment: Moment::Idle };
    a_backup_reported_good_is_good(bench, &nobody, &freeze, &thaw, misses);
    everybody_is_let_go(bench, &nobody, misses);
}

/// No suspension, no stray process, no zombie.
fn nothing_is_left(bench: &Bench, misses: &mut Misses) {
    let mut what = String::new();
    let clean = comes_true(SOON, || {
        let suspended = bench.guest.host().state().map_or(1, |state| state.suspended.len());
        let children = bench.guest.children_of_the_daemon();
        let hosts = bench.hosts();
        let below: Vec<(i32, String)> = hosts.iter().flat_map(|(_, host)| process::children(*host)).collect();
        let dead = children.iter().chain(&below).filter(|(pid, _)| !is_alive(*pid)).count();
        what = format!(
            "suspended {suspended}, hosts {}, the daemon's children {children:?}, theirs {below:?}, zombies {dead}",
            hosts.len()
        );
        suspended == 0
            && hosts.len() == PLUGINS.len()
            && children.len() == PLUGINS.len()
            && below.is_empty()
            && dead == 0
    });
    if !clean {
        misses.push(format!("something is left: {what}"));
    }
}

/// In the raw messages of this guest's whole life.
fn each_request_has_one_answer(bench: &Bench, misses: &mut Misses) {
    let Ok(entries) = bench.guest.host().log() else {
        misses.push("the machine is gone".to_owned());
        return;
    };
    let mut answers = std::collections::BTreeMap::new();
    for entry in &entries {
        match &entry.event {
            Event::ToGuest { xactid, name, .. } => drop(answers.insert(*xactid, (name.clone(), 0_u32))),
            Event::ToHost { xactid, .. } => {
                if let Some((_, count)) = answers.get_mut(xactid) {
                    *count += 1;
                }
            }
            Event::Panic { text } => misses.push(format!("a kernel would have stopped: {text}")),
            Event::Frozen { .. } | Event::Thawed { .. } | Event::Note { .. } => {}
        }
    }
    for (xactid, (name, count)) in answers.into_iter().filter(|(_, (_, count))| *count != 1) {
        misses.push(format!("request {xactid} ({name}) was answered {count} times"));
    }
}
