//! One plugin that is played: what it was asked, what it holds, how it answers. It keeps the wire's rules unless it is told to break them.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use hv_vss_platform::clock::Monotonic;
use hv_vss_platform::mounts::{FsId, Mount};
use hv_vss_wire::{
    About, Answer, Call, Claim, Event, Frames, Level, Phase, Progress, Request, Role, WIRE_VERSION, encode,
};

use super::happening::Reaction;
use crate::child::Player;

/// What a plugin is in the play.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// It suspends filesystems of type `ufs`.
    pub filesystem: bool,
    /// It is an application.
    pub application: bool,
    /// It is told how cycles ended, and does nothing else.
    pub observer: bool,
    /// What it suspends stays so when it dies.
    pub survives_exit: bool,
    /// Its number.
    pub number: u8,
    /// The scripts it runs.
    pub scripts: Vec<String>,
}

impl Part {
    /// An application.
    #[must_use]
    pub fn app(name: &str, number: u8) -> Self {
        Self {
            name: name.to_owned(),
            filesystem: false,
            application: true,
            observer: false,
            survives_exit: false,
            number,
            scripts: Vec::new(),
        }
    }

    /// An application that runs scripts.
    #[must_use]
    pub fn scripts(name: &str, number: u8, scripts: &[&str]) -> Self {
        Self { scripts: scripts.iter().map(|script| (*script).to_owned()).collect(), ..Self::app(name, number) }
    }

    /// The filesystem plugin, as on FreeBSD: its death lets go.
    #[must_use]
    pub fn ufs() -> Self {
        Self { filesystem: true, application: false, number: 10, ..Self::app("ufs", 10) }
    }

    /// A filesystem plugin whose holds outlive it, as FIFREEZE's do.
    #[must_use]
    pub fn fifreeze() -> Self {
        Self { survives_exit: true, ..Self::ufs() }
    }

    /// An observer.
    #[must_use]
    pub fn observer(name: &str) -> Self {
        Self { observer: true, application: false, ..Self::app(name, 90) }
    }

    pub(super) fn about(&self) -> About {
        About {
            name: self.name.clone(),
            version: "1".to_owned(),
            description: "played".to_owned(),
            abi: 1,
            filesystem: self.filesystem,
            application: self.application,
            observer: self.observer,
            holds_survive_exit: self.survives_exit,
            number: Some(self.number),
        }
    }
}

/// A plugin and its process.
pub(super) struct Plugin {
    pub(super) part: Part,
    pub(super) process: Option<Process>,
    /// The filesystems it has suspended. They outlive its process if its part says so.
    pub(super) suspended: Vec<FsId>,
    /// Its application is at rest, or may be: it was asked to freeze and not yet, with an end, to thaw.
    pub(super) at_rest: bool,
    /// The expiry of the last freeze call.
    pub(super) expiry: Option<Monotonic>,
    /// It let go by itself, and has not been asked to thaw since.
    pub(super) let_go: bool,
    pub(super) next_start: Reaction,
    /// It died in its thaw, or could not be started again for it: its applications may be given up.
    pub(super) excused: bool,
}

/// One process of a plugin.
pub(super) struct Process {
    pub(super) socket: Option<UnixStream>,
    pub(super) frames: Frames,
    pub(super) player: Player,
    pub(super) calls: VecDeque<Request>,
    pub(super) stuck: bool,
    /// The engine has closed its end.
    pub(super) dismissed: bool,
}

impl Process {
    pub(super) fn new(socket: UnixStream, player: Player) -> Self {
        Self {
            socket: Some(socket),
            frames: Frames::default(),
            player,
            calls: VecDeque::new(),
            stuck: false,
            dismissed: false,
        }
    }

    pub(super) fn says(&mut self, event: &Event) {
        let bytes = encode(event).unwrap_or_default();
        self.sends(&bytes);
    }

    pub(super) fn sends(&mut self, bytes: &[u8]) {
        if let Some(socket) = &mut self.socket {
            // The engine's end may be closed: then nobody listens, as in life.
            let _ = socket.write_all(bytes);
        }
    }

    /// What has come, as requests. Notices when the other end is closed.
    pub(super) fn reads(&mut self) -> Vec<Request> {
        let mut bytes = [0; 4096];
        while let Some(socket) = &mut self.socket {
            match socket.read(&mut bytes) {
                Ok(0) => {
                    self.dismissed = true;
                    self.socket = None;
                }
                Ok(read) => self.frames.push(&bytes[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.dismissed = true;
                    self.socket = None;
                }
            }
        }
        let mut requests = Vec::new();
        while let Ok(Some(request)) = self.frames.next::<Request>() {
            requests.push(request);
        }
        requests
    }
}

impl Plugin {
    pub(super) fn new(part: Part) -> Self {
        Self {
            part,
            process: None,
            suspended: Vec::new(),
            at_rest: false,
            expiry: None,
            let_go: false,
            next_start: Reaction::Well,
            excused: false,
        }
    }

    /// A new process says what it is.
    pub(super) fn introduces_itself(&mut self) {
        let event = match self.next_start {
            Reaction::Well | Reaction::IsBroken => Event::Loaded { wire: WIRE_VERSION, about: self.part.about() },
            Reaction::Refuses => Event::Unfit { reason: "it is played as unfit".to_owned() },
            // It hangs while it is loaded.
            Reaction::Lies => return,
        };
        if let Some(process) = &mut self.process {
            process.says(&event);
        }
    }

    /// Answers the oldest call.
    pub(super) fn answers(&mut self, reaction: Reaction, mounted: &[Mount]) {
        let Some(request) = self.process.as_mut().and_then(|process| process.calls.pop_front()) else { return };
        let answer = match reaction {
            Reaction::Well => self.does(&request.call, mounted),
            Reaction::Refuses => {
                self.gives_up(&request.call);
                Answer::Refused { reason: "it is played so".to_owned() }
            }
            Reaction::IsBroken => {
                self.gives_up(&request.call);
                Answer::Broken { reason: "it is played so".to_owned() }
            }
            Reaction::Lies => Answer::done(),
        };
        if let Some(process) = &mut self.process {
            process.says(&Event::Answer { id: request.id, answer });
        }
    }

    /// An application that refuses to thaw has had its say; whatever else was refused changes nothing.
    fn gives_up(&mut self, call: &Call) {
        if let Call::Thaw { role: Role::Application, .. } = call {
            self.at_rest = false;
        }
    }

    fn does(&mut self, call: &Call, mounted: &[Mount]) -> Answer {
        match call {
            Call::Check(_) => {
                self.tells_of_scripts(Phase::Thaw, &[Progress::Planned]);
                Answer::done()
            }
            Call::Claim { mounts, .. } => {
                Answer::Done { claims: mounts.iter().map(|mount| self.claim(mount)).collect(), held: true }
            }
            Call::Freeze { role: Role::Application, .. } => {
                self.tells_of_scripts(Phase::Freeze, &[Progress::Started, Progress::Ended { failure: None }]);
                Answer::done()
            }
            Call::Freeze { step, .. } => {
                let gone = step.mounts.iter().find(|mount| mounted.iter().all(|other| other.fsid != mount.fsid));
                if let Some(gone) = gone {
                    return Answer::Refused { reason: format!("{}: no such filesystem", gone.on) };
                }
                self.suspended.extend(step.mounts.iter().map(|mount| mount.fsid));
                Answer::done()
            }
            Call::Thaw { role: Role::Application, .. } => {
                self.tells_of_scripts(Phase::Thaw, &[Progress::Started, Progress::Ended { failure: None }]);
                self.at_rest = false;
                Answer::Done { claims: Vec::new(), held: !std::mem::take(&mut self.let_go) }
            }
            Call::Thaw { step, .. } => {
                let held = !self.let_go;
                self.suspended.retain(|held| step.mounts.iter().all(|mount| mount.fsid != *held));
                Answer::Done { claims: Vec::new(), held }
            }
            Call::Open { .. } | Call::Ended { .. } | Call::Close | Call::Cancel { .. } => Answer::done(),
        }
    }

    fn claim(&self, mount: &Mount) -> Claim {
        match (self.part.filesystem && mount.fstype == "ufs", mount.read_only) {
            (true, false) => Claim::Freeze,
            (true, true) => Claim::Ignore { reason: "mounted read-only".to_owned() },
            (false, _) => Claim::NotMine,
        }
    }

    pub(super) fn tells_of_scripts(&mut self, phase: Phase, what: &[Progress]) {
        let Some(process) = &mut self.process else { return };
        for name in &self.part.scripts {
            for progress in what {
                process.says(&Event::Substep { name: name.clone(), phase, progress: progress.clone() });
            }
        }
    }

    pub(super) fn logs(&mut self) {
        if let Some(process) = &mut self.process {
            process.says(&Event::Log { level: Level::Warn, text: "played".to_owned() });
        }
    }

    /// Its time has come, if it has: it lets go of all it holds.
    pub(super) fn lets_go(&mut self, now: Monotonic) {
        let holds = self.at_rest || !self.suspended.is_empty();
        let Some(process) = self.process.as_mut().filter(|process| !process.stuck) else { return };
        if holds && self.expiry.is_some_and(|expiry| expiry <= now) {
            self.suspended.clear();
            self.at_rest = false;
            self.let_go = true;
            process.says(&Event::LetGo);
        }
    }
}
