//! What operators ask, answered: at once in every state. Only `check` and `rehearse` take as long as what they do.

use hv_vss_device::Driver;
use tokio::sync::oneshot;

use super::roster::State;
use super::{Engine, Order, RehearsalWish};
use hv_vss_core::control::{Brief, Counters, HeldOne, MountOutlook, Outlook, PluginStatus, Question, Reply, Status};
use hv_vss_core::cycle::{Hold, Input, State as CycleState, Why};
use hv_vss_core::plan::{Judged, Verdict};
use hv_vss_core::record::{Kind, Record};

impl Engine {
    pub(super) fn asked_by_operator(&mut self, question: Question, answer: oneshot::Sender<Reply>) {
        let reply = match question {
            Question::Status => Reply::Status(Box::new(self.status())),
            Question::Thaw => {
                self.ordered(Order::Thaw);
                Reply::Done
            }
            Question::History { last } => {
                let skipped = self.history.records().len().saturating_sub(last);
                Reply::Records {
                    records: self.history.records().skip(skipped).cloned().collect(),
                    damage: self.history.damage.clone(),
                }
            }
            Question::Show { cycle } => self.show(cycle.as_deref()),
            Question::Check => return self.begin_outlook(answer),
            Question::Rehearse { hold_ms, freeze, only } => {
                return self.begin_rehearsal(RehearsalWish { hold_ms, freeze, only, answer });
            }
            Question::Forgive { plugin } => self.forgive(&plugin),
            Question::Reload => self.reload(),
            Question::Metrics => Reply::Metrics { text: hv_vss_core::metrics::text(&self.status(), &self.tally) },
        };
        // A client that is gone has its answer thrown away.
        let _ = answer.send(reply);
    }

    fn show(&self, cycle: Option<&str>) -> Reply {
        let current = self.current.recorder.as_ref().map(hv_vss_core::record::Recorder::so_far);
        let found = match cycle {
            Some(id) => current
                .filter(|record| record.cycle == id)
                .or_else(|| self.history.records().rev().find(|record| record.cycle == id)),
            None => current.or_else(|| self.history.records().next_back()),
        };
        match (found, cycle) {
            (Some(record), _) => Reply::Records { records: vec![record.clone()], damage: None },
            (None, Some(id)) => {
                Reply::Refused { reason: format!("there is no cycle {id} in the history; `vssctl history` lists them") }
            }
            (None, None) => Reply::Refused { reason: "there has been no cycle yet".to_owned() },
        }
    }

    pub(super) fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            state: self.cycle.stage_name().to_owned(),
            since_ms: u64::try_from(self.state_since.until(self.clock.now()).as_millis()).unwrap_or(u64::MAX),
            cycle: self.current.recorder.as_ref().map(|_| self.current.id.clone()),
            driver: match self.port.driver() {
                Driver::Base => "base".to_owned(),
                Driver::Ours => "hv_vss_broker".to_owned(),
            },
            limit_ms: u64::try_from(self.limits.limit.as_millis()).unwrap_or(u64::MAX),
            held: self.held(),
            last_backup: self.latest(Kind::Backup).map(Brief::of),
            last_check: self.latest(Kind::Check).map(Brief::of),
            trouble: self.trouble(),
            debts: self.debt_status(),
            plugins: self.plugin_status(),
            counters: Counters { plugin_restarts: self.roster.restarts(), ..self.tally.counters },
        }
    }

    fn held(&self) -> Vec<HeldOne> {
        let words = self.words();
        let stands = |hold| match hold {
            Hold::Freezing => Some("freezing"),
            Hold::Held => Some("held"),
            Hold::Owed(_) => Some("owed a thaw"),
            Hold::Thawing(_) => Some("thawing"),
            Hold::Untouched | Hold::Released => None,
        };
        let holders = self.cycle.run().into_iter().flat_map(hv_vss_core::cycle::Run::each);
        holders
            .filter_map(|(id, _, hold)| {
                stands(hold).map(|stands| HeldOne { name: words.holder(id), stands: stands.to_owned() })
            })
            .collect()
    }

    pub(super) fn latest(&self, kind: Kind) -> Option<&Record> {
        self.history.records().rev().find(|record| record.kind == kind)
    }

    /// The first reason for an administrator to look: a bad end of the last backup or CHECK (a good rehearsal does not mend it), or plugins that
    /// don't run.
    fn trouble(&self) -> Option<String> {
        let ended_badly = |kind| self.latest(kind).filter(|record| record.ending.is_trouble());
        let bad_end = ended_badly(Kind::Backup).or_else(|| ended_badly(Kind::Check));
        let bad_end = bad_end.map(|record| format!("cycle {}: {}", record.cycle, record.ending.summary()));
        let missing = || {
            self.roster.each().filter(|(_, plugin)| plugin.required()).find_map(|(_, plugin)| match &plugin.state {
                State::Absent(why) => Some(format!("plugin {} {why}", plugin.name)),
                State::Starting(..) | State::Ready(..) => None,
            })
        };
        bad_end
            .or_else(|| self.debts_in_the_way().into_iter().next())
            .or_else(|| self.roster.unreadable().map(str::to_owned))
            .or_else(missing)
    }

    fn plugin_status(&self) -> Vec<PluginStatus> {
        let status = |plugin: &super::roster::Plugin| {
            let (pid, about) = match &plugin.state {
                State::Ready(handle, about) => (Some(handle.pid), Some(about)),
                State::Starting(handle, about) => (Some(handle.pid), about.as_ref()),
                State::Absent(_) => (None, None),
            };
            PluginStatus {
                name: plugin.name.clone(),
                version: about.map(|about| about.version.clone()),
                description: about.map(|about| about.description.clone()),
                number: plugin.number(),
                pid,
                filesystem: about.is_some_and(|about| about.filesystem),
                application: about.is_some_and(|about| about.application),
                observer: plugin.observes(),
                trouble: match &plugin.state {
                    State::Absent(why) => Some(why.clone()),
                    State::Starting(..) => Some("is being started".to_owned()),
                    State::Ready(..) => None,
                },
                restarts: plugin.restarts,
            }
        };
        self.roster.each().map(|(_, plugin)| status(plugin)).collect()
    }

    /// Asks the plugins as a CHECK does, for an operator. A request of the host goes first.
    fn begin_outlook(&mut self, answer: oneshot::Sender<Reply>) {
        self.asks = Some(answer);
        self.input(Input::OperatorCheck);
    }

    /// A check that has just come can't be done now.
    pub(super) fn refuse_check(&mut self, why: Why) {
        let Some(answer) = self.asks.take() else { return };
        let reason = match (self.cycle.state(), why) {
            (_, Why::Stopping) => "the daemon is being stopped".to_owned(),
            // Plugins answer one question after the other, and the host's CHECK may be the next.
            (CycleState::Checking(None), _) => {
                "another client is asking the same: ask again when that is answered".to_owned()
            }
            _ => format!("the daemon is {}: ask again when it is idle", self.cycle.stage_name()),
        };
        let _ = answer.send(Reply::Refused { reason });
    }

    /// The check in work is given up.
    pub(super) fn drop_check(&mut self, why: Why) {
        let Some((answer, _)) = self.outlook.take() else { return };
        let reason = match why {
            Why::Stopping => "the daemon is being stopped",
            _ => "a request of the host came first: ask again",
        };
        let _ = answer.send(Reply::Refused { reason: reason.to_owned() });
    }

    /// The check in work has its findings.
    pub(super) fn tell_outlook(&mut self) {
        let (Some((answer, began)), Some(findings)) = (self.outlook.take(), self.found.take()) else { return };
        let outlook = |judged: &Judged| {
            let (verdict, by, reason) = match &judged.verdict {
                Verdict::Freeze(worker) => ("freeze", self.roster.name(*worker).to_owned(), String::new()),
                Verdict::Ignore { by, reason } => ("ignore", by.clone(), reason.clone()),
                Verdict::Veto { by, reason } => ("veto", by.clone(), reason.clone()),
            };
            MountOutlook { mount: judged.mount.clone(), verdict: verdict.to_owned(), by, reason }
        };
        let freeze_order = findings.order.iter().map(|mount| mount.on.clone()).collect();
        let reply = Reply::Outlook(Outlook {
            would_work: findings.reasons.is_empty(),
            reasons: findings.reasons.clone(),
            mounts: findings.judged.iter().map(outlook).collect(),
            freeze_order,
            applications: findings
                .apps
                .iter()
                .map(|app| (app.number, self.roster.name(app.worker).to_owned()))
                .collect(),
            took_ms: u64::try_from(began.until(self.clock.now()).as_millis()).unwrap_or(u64::MAX),
            limit_ms: u64::try_from(self.limits.limit.as_millis()).unwrap_or(u64::MAX),
        });
        let _ = answer.send(reply);
    }

    fn begin_rehearsal(&mut self, wish: RehearsalWish) {
        if !self.cycle.is_idle() {
            let reason = format!("the daemon is {}: rehearse when it is idle", self.cycle.stage_name());
            let _ = wish.answer.send(Reply::Refused { reason });
            return;
        }
        if wish.hold_ms >= u64::try_from(self.limits.max_frozen.as_millis()).unwrap_or(u64::MAX) {
            let reason = format!("a rehearsal must hold for less than max_frozen, {:?}", self.limits.max_frozen);
            let _ = wish.answer.send(Reply::Refused { reason });
            return;
        }
        tracing::info!("an operator rehearses a freeze, held for {} ms", wish.hold_ms);
        self.rehearsal = Some(wish);
        self.input(Input::Rehearse);
    }

    /// The rehearsal is over: whoever asked for it gets its record.
    pub(super) fn tell_rehearsal(&mut self, record: &Record) {
        if let Some(wish) = self.rehearsal.take() {
            let _ = wish.answer.send(Reply::Records { records: vec![record.clone()], damage: None });
        }
    }
}
