//! The processes that the engine starts, and what becomes of them: what plugins are called, what they answer, how they end.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use hv_vss_device::Operation;
use hv_vss_platform::mounts::{FsId, Mount};
use hv_vss_wire::{Answer, Call, Event, Phase, Progress, Request, Role};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::happening::{Reaction, Trouble};
use super::super::player::{Plugin, Process};
use super::{Called, Stage};
use crate::child::{Launch, PlayedProcess, Player};

impl Stage {
    pub(super) fn plugin_answers(&mut self, at: usize, reaction: Reaction) {
        let mut mounted = self.table.clone();
        mounted.retain(|mount| !self.unmounting.contains(&mount.fsid));
        let Some(plugin) = self.plugins.get_mut(at) else { return };
        let lies = reaction == Reaction::Lies
            && plugin
                .process
                .as_ref()
                .and_then(|process| process.calls.front())
                .is_some_and(|request| matches!(request.call, Call::Freeze { .. } | Call::Thaw { .. }));
        plugin.answers(reaction, &mounted);
        self.lied |= lies;
    }

    pub(super) fn plugin_misbehaves(&mut self, at: usize, trouble: Trouble) {
        let now = self.now();
        let Some(plugin) = self.plugins.get_mut(at) else { return };
        let Some(process) = &mut plugin.process else { return };
        match trouble {
            Trouble::Dies | Trouble::Crashes if process.stuck => {}
            Trouble::Dies => self.process_ends(at, 1 << 8),
            Trouble::Crashes => self.process_ends(at, nix::libc::SIGSEGV),
            Trouble::ClosesItsSocket => process.socket = None,
            Trouble::Babbles => process.sends(&[0xff; 8]),
            Trouble::AnswersNobody => process.says(&Event::Answer { id: u64::MAX, answer: Answer::done() }),
            Trouble::Logs => plugin.logs(),
            Trouble::LetsGo => {
                let held = plugin.at_rest || !plugin.suspended.is_empty();
                plugin.lets_go(now);
                if held && plugin.let_go {
                    self.is_lost("a plugin let go by itself");
                }
            }
            Trouble::GetsStuck => process.stuck = true,
            Trouble::ComesFree => process.stuck = false,
            Trouble::TellsOfScripts => {
                plugin.tells_of_scripts(Phase::Freeze, &[Progress::Started, Progress::Ended { failure: None }]);
            }
        }
    }

    pub(in crate::engine::harness) fn worker_is_started(
        &mut self,
        launch: &Launch,
    ) -> io::Result<(PlayedProcess, UnixStream)> {
        let out_of = || io::Error::from_raw_os_error(nix::libc::EMFILE);
        let suspends = self.suspends();
        let at = self.plugins.iter().position(|plugin| plugin.part.name == launch.name);
        let at = at.ok_or_else(|| io::Error::other("it has no part in this play"))?;
        if suspends && !self.plugins[at].part.survives_exit {
            self.wrong(format!("a process of {} is started while a filesystem is suspended", launch.name));
        }
        let plugin = &mut self.plugins[at];
        if self.no_processes {
            plugin.excused = true;
            return Err(out_of());
        }
        self.next_pid += 1;
        let (process, player) = PlayedProcess::new(self.next_pid);
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        plugin.excused |= plugin.next_start != Reaction::Well;
        plugin.process = Some(Process::new(ours, player));
        plugin.introduces_itself();
        Ok((process, theirs))
    }

    pub(in crate::engine::harness) fn flush_is_started(&mut self) -> io::Result<PlayedProcess> {
        if self.suspends() {
            self.wrong("a flush is started while a filesystem is suspended".to_owned());
        }
        if self.no_processes {
            return Err(io::Error::from_raw_os_error(nix::libc::EMFILE));
        }
        self.next_pid += 1;
        let (process, player) = PlayedProcess::new(self.next_pid);
        self.flushes.push_back(player);
        Ok(process)
    }

    fn process_ends(&mut self, at: usize, status: i32) {
        let Some(process) = self.plugins[at].process.take() else { return };
        let plugin = &mut self.plugins[at];
        // Dying in the very thaw is a reason to give it up, after a second try.
        plugin.excused |= process.calls.iter().any(|request| matches!(request.call, Call::Thaw { .. }));
        let held = plugin.at_rest || !plugin.suspended.is_empty();
        if !plugin.part.survives_exit {
            plugin.suspended.clear();
        }
        if held {
            self.is_lost("a plugin died");
        }
        process.player.ends(status);
    }

    /// Looks what the engine has done to the players; true if there was anything.
    pub(in crate::engine::harness) fn look(&mut self) -> bool {
        let mut moved = false;
        for at in self.whom_to_look_at() {
            moved |= self.look_at(at);
        }
        let (killed, running) = std::mem::take(&mut self.flushes).into_iter().partition(Player::is_killed);
        self.flushes = running;
        for flush in killed {
            moved = true;
            flush.ends(nix::libc::SIGKILL);
        }
        moved
    }

    /// Those who were sent something, lost their socket, or were killed: one look at all of them, since this is done all the time.
    fn whom_to_look_at(&self) -> Vec<usize> {
        let processes = self.plugins.iter().enumerate().filter_map(|(at, plugin)| Some((at, plugin.process.as_ref()?)));
        let (mut which, mut sockets) = (Vec::new(), Vec::new());
        let mut ended = Vec::new();
        for (at, process) in processes {
            match &process.socket {
                _ if process.player.is_killed() && !process.stuck => ended.push(at),
                Some(socket) => {
                    which.push(at);
                    sockets.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN));
                }
                None if process.dismissed && !process.stuck => ended.push(at),
                None => {}
            }
        }
        // Without an answer everybody is looked at.
        let all = poll(&mut sockets, PollTimeout::ZERO).is_err();
        let said = which.into_iter().zip(&sockets).filter(|(_, socket)| all || socket.any().unwrap_or(true));
        ended.into_iter().chain(said.map(|(at, _)| at)).collect()
    }

    fn look_at(&mut self, at: usize) -> bool {
        let Some(process) = &mut self.plugins[at].process else { return false };
        let requests = process.reads();
        let (killed, dismissed, stuck) = (process.player.is_killed(), process.dismissed, process.stuck);
        let moved = !requests.is_empty();
        for request in requests {
            self.is_called(at, request);
        }
        if stuck || self.plugins[at].process.is_none() {
            return moved;
        }
        if killed {
            self.process_ends(at, nix::libc::SIGKILL);
        } else if dismissed {
            // Its socket is closed: it lets go of all it holds, and ends.
            let plugin = &mut self.plugins[at];
            let held = plugin.at_rest || !plugin.suspended.is_empty();
            plugin.suspended.clear();
            plugin.at_rest = false;
            if held {
                self.is_lost("a plugin was dismissed");
            }
            self.process_ends(at, 0);
        }
        moved || killed || dismissed
    }

    /// What was frozen before these may still be held only by a process that can't be told to let go.
    fn inner_ones_come_first(&mut self, thawed: &[Mount]) {
        let place = |fsid: FsId| self.frozen_in_order.iter().position(|other| *other == fsid);
        let Some(first) = thawed.iter().filter_map(|mount| place(mount.fsid)).min() else { return };
        let listens = |plugin: &&Plugin| {
            !plugin.part.survives_exit && plugin.process.as_ref().is_some_and(|process| !process.player.is_killed())
        };
        let held = self.plugins.iter().filter(listens).flat_map(|plugin| &plugin.suspended);
        let inner: Vec<_> = held.filter(|fsid| place(**fsid).is_some_and(|at| at < first)).copied().collect();
        if !inner.is_empty() {
            self.wrong(format!("a filesystem is told to thaw while {inner:?}, frozen before it, is held"));
        }
    }

    fn is_called(&mut self, at: usize, request: Request) {
        let plugin = &mut self.plugins[at];
        let Some(process) = &mut plugin.process else { return };
        let on = |mounts: &[Mount]| mounts.iter().map(|mount| mount.on.as_str()).collect::<Vec<_>>().join(" ");
        let name = plugin.part.name.clone();
        let what = match &request.call {
            Call::Open { .. } => {
                let answer = match plugin.next_start {
                    Reaction::IsBroken => Answer::Broken { reason: "it is played so".to_owned() },
                    _ => Answer::done(),
                };
                return process.says(&Event::Answer { id: request.id, answer });
            }
            Call::Close => {
                process.says(&Event::Answer { id: request.id, answer: Answer::done() });
                if !process.stuck {
                    self.process_ends(at, 0);
                }
                return;
            }
            Call::Cancel { .. } => "cancel".to_owned(),
            Call::Check(_) => "check".to_owned(),
            Call::Ended { .. } => "ended".to_owned(),
            Call::Claim { .. } => "claim".to_owned(),
            Call::Freeze { role: Role::Application, .. } => format!("freeze {name}"),
            Call::Freeze { step, .. } => format!("freeze {}", on(&step.mounts)),
            Call::Thaw { step, role: Role::Application, .. } => format!("thaw {name} {:?}", step.outcome),
            Call::Thaw { step, .. } => format!("thaw {} {:?}", on(&step.mounts), step.outcome),
        };
        let owed = if let Call::Thaw { owed, .. } = &request.call { owed.clone() } else { Vec::new() };
        let suspends = self.suspends();
        let plugin = &mut self.plugins[at];
        match &request.call {
            Call::Ended { .. } if suspends => {
                self.wrong(format!("{name} is told of a cycle while a filesystem is suspended"))
            }
            Call::Freeze { role, expiry, step, .. } => {
                if *role == Role::Filesystem {
                    let fsid = step.mounts[0].fsid;
                    self.frozen_in_order.retain(|other| *other != fsid);
                    self.frozen_in_order.push(fsid);
                }
                plugin.expiry = Some(*expiry);
                plugin.let_go = false;
                plugin.excused = false;
                plugin.at_rest |= *role == Role::Application;
            }
            Call::Thaw { role, step, .. } => {
                if *role == Role::Filesystem {
                    self.inner_ones_come_first(&step.mounts);
                }
                self.frozen_since = None;
                self.is_lost("a plugin was told to thaw before the host asked");
            }
            Call::Check(_) if !suspends => {
                self.frozen_since = None;
                if self.requests.iter().any(|asked| asked.operation == Operation::Freeze && !asked.answered) {
                    self.backup = None;
                }
            }
            _ => {}
        }
        if let Some(process) = self.plugins[at].process.as_mut().filter(|_| what != "cancel") {
            process.calls.push_back(request);
        }
        self.calls.push(Called { plugin: name, what, owed });
    }
}
