//! The driver and the host behind it: what they ask, and what must not be answered.

use std::time::Duration;

use hv_vss_device::{AnswerError, Driver, Message, Operation, Verdict};
use hv_vss_platform::clock::Monotonic;
use hv_vss_platform::mounts::Mount;

use super::{Asked, Backup, Heard, Stage};

impl Stage {
    pub(in crate::engine::harness) fn host_asks(
        &mut self,
        operation: Operation,
        ms_ago: u32,
        stepped_ms: i32,
    ) -> Message {
        let ago = Duration::from_millis(ms_ago.into());
        let (now, wall) = (self.now(), self.hand.clock().wall_ns());
        let number = match operation {
            Operation::Check => 1,
            Operation::Freeze => 2,
            Operation::Thaw => 3,
            Operation::Unknown(number) => number,
        };
        let stepped_ns = i64::from(stepped_ms) * 1_000_000;
        let mut msgid =
            wall.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(0)).saturating_add_signed(-stepped_ns);
        while self.requests.iter().any(|asked| asked.message.msgid == msgid) {
            msgid = msgid.saturating_sub(1);
        }
        let message = Message { operation: number, status: 0, msgid };
        let budget = self.limits.budget(now, hv_vss_device::budget(msgid, wall, self.limits.of(operation)));
        // A THAW of what is held and good has less; one that has to wait for what is being let go has all of this.
        let latest = budget.answer.0;
        let held = |mount: &Mount| self.plugins.iter().any(|plugin| plugin.suspended.contains(&mount.fsid));
        let left_out = self.table.iter().any(|mount| !mount.read_only && !held(mount)) || !self.table_file.exists();
        match (&mut self.backup, operation) {
            (Some(backup), Operation::Thaw) if !backup.thaw_read => {
                backup.thaw_read = true;
                if backup.since + self.limits.max_frozen <= now {
                    backup.lost.get_or_insert_with(|| "it had lasted longer than max_frozen".to_owned());
                } else if left_out {
                    backup.lost.get_or_insert_with(|| "something was mounted while it was held".to_owned());
                }
            }
            (backup, Operation::Freeze)
                if self.plugins.iter().all(|plugin| plugin.suspended.is_empty() && !plugin.at_rest) =>
            {
                *backup = None;
            }
            _ => {}
        }
        let gives_up = (now - ago) + self.limits.of(operation);
        let asked = Asked { message, operation, read: now, latest, gives_up, heard: Heard::Nothing, answered: false };
        self.requests.push(asked);
        message
    }

    pub(in crate::engine::harness) fn engine_answers(
        &mut self,
        answer: &Message,
        verdict: Verdict,
    ) -> Result<(), AnswerError> {
        let now = self.now();
        let base = self.driver == Driver::Base;
        let Some(asked) = self.requests.iter_mut().find(|asked| asked.message == *answer) else {
            self.wrong(format!("{answer:?} answers nothing that was asked"));
            return Ok(());
        };
        if std::mem::replace(&mut asked.answered, true) {
            self.wrong(format!("{answer:?} is answered twice"));
            return Ok(());
        }
        if asked.heard == Heard::GaveUp {
            return if base { Ok(()) } else { Err(AnswerError::TooLate) };
        }
        let (operation, latest) = (asked.operation, asked.latest);
        asked.heard = if verdict == Verdict::Success { Heard::Success } else { Heard::Fail };
        if verdict == Verdict::Success {
            match operation {
                Operation::Freeze => self.freeze_is_good(now, latest),
                Operation::Thaw => self.thaw_is_good(),
                Operation::Check if self.suspends() => self.wrong("a CHECK is good while something is held".to_owned()),
                Operation::Check => {}
                Operation::Unknown(_) => self.wrong("an unknown operation is answered with success".to_owned()),
            }
        }
        Ok(())
    }

    fn freeze_is_good(&mut self, now: Monotonic, latest: Monotonic) {
        if now > latest {
            self.wrong("a FREEZE is answered with success after its time".to_owned());
        }
        let held = |mount: &Mount| self.plugins.iter().any(|plugin| plugin.suspended.contains(&mount.fsid));
        let out: Vec<_> = self.table.iter().filter(|mount| !mount.read_only && !held(mount)).collect();
        if !out.is_empty() {
            self.wrong(format!("a FREEZE is answered with success, and left out are {out:?}"));
        }
        if !self.table_file.exists() {
            self.wrong("a FREEZE is answered with success, though nobody knows what is mounted".to_owned());
        }
        self.frozen_since = Some(now);
        self.backup = Some(Backup { since: now, thaw_read: false, lost: None });
    }

    fn thaw_is_good(&mut self) {
        if self.suspends() {
            self.wrong("a THAW is answered with success while something is suspended".to_owned());
        }
        if let Some(Backup { lost: Some(why), .. }) = self.backup.take() {
            self.wrong(format!("a THAW is answered with success, but the backup is none: {why}"));
        }
    }

    pub(super) fn is_lost(&mut self, why: &str) {
        if let Some(backup) = self.backup.as_mut().filter(|backup| !backup.thaw_read) {
            backup.lost.get_or_insert_with(|| why.to_owned());
        }
    }
}
