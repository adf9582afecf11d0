//! The loop: events one at a time, timers when they are due, and what is still owed when the daemon ends.

use std::time::Duration;

use super::roster::Whose;
use super::{Engine, Event};
use crate::child::Said;
use crate::reply::Reply as Obligation;
use crate::sleep;
use hv_vss_core::cycle::{Input, Timer};

/// How long an application may take to hear of a THAW when the daemon ends right after it.
const FOR_THE_APPLICATION: Duration = Duration::from_secs(2);

impl Engine {
    /// Starts the plugins and serves until the daemon is to end. `ready` is called once every plugin is ready, or known not to get so.
    pub async fn serve(mut self, ready: impl FnOnce(&str)) {
        if let Some(damage) = &self.history.damage {
            tracing::warn!("{damage}");
        }
        self.roster.look(&self.config);
        self.roster.start_absent(Whose::Everybodys);
        self.find_debts();
        let mut ready = Some(ready);
        while !self.exit {
            if ready.is_some() && !self.roster.is_starting() {
                let names: Vec<&str> = self
                    .roster
                    .each()
                    .filter(|(_, plugin)| plugin.ready().is_some())
                    .map(|(_, plugin)| plugin.name.as_str())
                    .collect();
                let text = format!(
                    "{} with plugins {}",
                    self.port.path(),
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                );
                self.complain_of_missing_plugins();
                if let Some(ready) = ready.take() {
                    ready(&text);
                }
            }
            let next = self.timers.values().min().copied();
            let timer = async {
                match next {
                    Some(at) => sleep::until(&self.clock, at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Some(event) => {
                        // A machine that was asleep wakes with everything due at once. What was not done by its deadline is late, even if the
                        // word that it is done lies in the queue already: a THAW must not find a freeze whose time is over still good.
                        self.fire_timers();
                        self.happened(event);
                    }
                    None => break,
                },
                () = timer => self.fire_timers(),
            }
            self.see_to_observers();
        }
        self.dismiss_plugins().await;
        self.stay_for_the_application().await;
        self.journal.let_go();
        self.scribe.finish();
    }

    /// With the in-base driver, an application that answers a THAW while the daemon's node is closed orphans it: the host never hears its answer, and
    /// a debug kernel stops. So the node stays open a little longer than an application should need.
    async fn stay_for_the_application(&mut self) {
        let Some(until) = self.thaw_passed_on.map(|at| at + FOR_THE_APPLICATION) else { return };
        loop {
            let event = tokio::select! {
                biased;
                event = self.events.recv() => event,
                () = sleep::until(&self.clock, until) => return,
            };
            match event {
                // Dropped, it is answered fail.
                Some(Event::Device(hv_vss_device::Event::Request(message), _)) => {
                    drop(Obligation::owed(self.port.clone(), message));
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Nothing is held any more: every plugin's process is told to end, and killed if it does not.
    async fn dismiss_plugins(&mut self) {
        self.roster.dismiss();
        while self.roster.has_processes() {
            match self.events.recv().await {
                Some(Event::Plugin(worker, generation, Said::Gone(how)))
                    if self.roster.current(worker, generation).is_some() =>
                {
                    tracing::debug!("plugin {} {how}", self.roster.name(worker));
                    self.roster.gone(worker, how);
                }
                Some(Event::Device(hv_vss_device::Event::Request(message), _)) => {
                    // Dropped, it is answered fail.
                    drop(Obligation::owed(self.port.clone(), message));
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    /// What the start has left undone, and what follows from it; why a plugin is missing was said when it was found out.
    fn complain_of_missing_plugins(&self) {
        if let Some(why) = self.roster.unreadable() {
            tracing::error!("{why}; every backup will be refused");
        }
        let missing: Vec<&str> = self.roster.missing().collect();
        if !missing.is_empty() {
            tracing::error!("every backup will be refused while these are missing: {}", missing.join(", "));
        }
    }

    fn fire_timers(&mut self) {
        let now = self.clock.now();
        let due: Vec<Timer> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer).collect();
        for timer in due {
            // An earlier one may have stopped it.
            if self.timers.remove(&timer).is_some() {
                if timer == Timer::Silence {
                    self.complain_of_the_noisy();
                }
                self.input(Input::TimeUp(timer));
            }
        }
    }

    /// Gives the cycle an input, performs what it says, and goes on with what that leads to at once.
    pub(super) fn input(&mut self, input: Input) {
        self.inputs.push_back(input);
        let before = self.cycle.stage_name();
        while let Some(input) = self.inputs.pop_front() {
            for action in self.cycle.handle(input) {
                self.perform(action);
            }
        }
        if self.cycle.stage_name() != before {
            self.state_since = self.clock.now();
        }
        self.journal.send();
    }
}
