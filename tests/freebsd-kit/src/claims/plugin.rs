//! The project's own ufs plugin in its own host, on real filesystems.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_platform::mounts::Mount;
use hv_vss_wire::{Answer, Call, Claim, Event, Frames, Outcome, Request, Role, Step, encode};

use super::{Report, is_frozen, is_writable, went_on};
use crate::actor::{Actor, PATIENCE};
use crate::ground::{Disk, Ground};

/// Where the programs under test lie.
pub(crate) struct Plugin {
    pub(crate) host: PathBuf,
    pub(crate) file: PathBuf,
}

pub(crate) fn plugin(ground: &Ground, under_test: &Plugin, report: &mut Report) {
    report.claim("the ufs plugin claims both filesystems for freezing, and is fit to do so", || {
        let mut host = Host::start(under_test)?;
        done(host.ask(|deadline| Call::Check(step(vec![], deadline)))?)?;
        let mounts = vec![mount(&ground.outer)?, mount(&ground.inner)?];
        match host.ask(|deadline| Call::Claim { step: step(vec![], deadline), mounts: mounts.clone() })? {
            Answer::Done { claims, .. } if claims == [Claim::Freeze, Claim::Freeze] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    report.claim("it freezes two filesystems, one in a file on the other, and thaws both", || {
        let mut host = Host::start(under_test)?;
        let frozen = [&ground.inner, &ground.outer];
        frozen.iter().try_for_each(|disk| host.freezes(disk, PATIENCE))?;
        let writers = [is_frozen(&ground.inner)?, is_frozen(&ground.outer)?];
        for disk in [&ground.outer, &ground.inner] {
            match host.thaws(disk)? {
                Answer::Done { held: true, .. } => {}
                other => return Err(format!("{}: {other:?}", disk.on.display())),
            }
        }
        writers.into_iter().try_for_each(went_on)
    });
    report.claim("a filesystem that somebody else holds is refused with a sentence that names it, and the other one still freezes", || {
        // The inner one: with the outer in other hands a suspend of what lies on it would wait for ever, and every resume with it.
        let other = super::holder_of(&ground.inner)?;
        let mut host = Host::start(under_test)?;
        let refused = host.freeze(&ground.inner, PATIENCE)?;
        host.freezes(&ground.outer, PATIENCE)?;
        host.thaws(&ground.outer).map(drop)?;
        drop(other);
        match refused {
            Answer::Refused { reason } if reason.contains(&ground.inner.on.display().to_string()) => {}
            other => return Err(format!("{other:?}")),
        }
        is_writable(&ground.outer)?;
        is_writable(&ground.inner)
    });
    report.claim("a host that is killed while it holds both lets both go", || {
        let mut host = Host::start(under_test)?;
        host.freezes(&ground.inner, PATIENCE)?;
        host.freezes(&ground.outer, PATIENCE)?;
        let writers = [is_frozen(&ground.inner)?, is_frozen(&ground.outer)?];
        host.process.kill();
        writers.into_iter().try_for_each(went_on)?;
        host.process.has_ended()
    });
    report.claim("a host whose orchestrator dies lets go and ends", || {
        let mut host = Host::start(under_test)?;
        host.freezes(&ground.outer, PATIENCE)?;
        let writer = is_frozen(&ground.outer)?;
        drop(host.socket);
        went_on(writer)?;
        host.process.has_ended()
    });
    report.claim(
        "a host that nobody tells to thaw lets go at its expiry, and says afterwards that it did not hold",
        || {
            let mut host = Host::start(under_test)?;
            host.freezes(&ground.outer, Duration::from_secs(4))?;
            let writer = is_frozen(&ground.outer)?;
            went_on(writer)?;
            match host.thaws(&ground.outer)? {
                Answer::Done { held: false, .. } => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    );
}

/// A worker, asked through its socket as the orchestrator does.
struct Host {
    process: Actor,
    socket: UnixStream,
    frames: Frames,
    asked: u64,
}

impl Host {
    fn start(plugin: &Plugin) -> Result<Self, String> {
        let (socket, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        // The host looks for its socket on descriptor 3, and has nothing of a disk below it.
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", r#"exec "$0" serve "$1" 3<&0 0</dev/null 1>/dev/null 2>/dev/null"#])
            .arg(&plugin.host)
            .arg(&plugin.file);
        let process = Actor::from_child(
            shell.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null()).spawn(),
        )?;
        let mut host = Self { process, socket, frames: Frames::default(), asked: 0 };
        match host.next()? {
            Event::Loaded { about, .. } if about.name == "ufs" && about.filesystem => {}
            other => return Err(format!("the host did not load the plugin: {other:?}")),
        }
        done(host.ask(|_| Call::Open { config: serde_json::Map::new() })?)?;
        Ok(host)
    }

    fn next(&mut self) -> Result<Event, String> {
        loop {
            if let Some(event) = self.frames.next().map_err(|error| error.to_string())? {
                return Ok(event);
            }
            let mut bytes = [0; 4096];
            match self.socket.read(&mut bytes) {
                Ok(0) => return Err("the host closed its socket".into()),
                Ok(length) => self.frames.push(&bytes[..length]),
                Err(error) => return Err(format!("the host says nothing: {error}")),
            }
        }
    }

    fn ask(&mut self, call: impl FnOnce(Monotonic) -> Call) -> Result<Answer, String> {
        self.asked += 1;
        let request = Request { id: self.asked, call: call(clock::now() + PATIENCE) };
        let bytes = encode(&request).map_err(|error| error.to_string())?;
        self.socket.write_all(&bytes).map_err(|error| format!("the host does not listen: {error}"))?;
        loop {
            match self.next()? {
                Event::Answer { id, answer } if id == self.asked => return Ok(answer),
                Event::Log { .. } | Event::LetGo => {}
                other => return Err(format!("{other:?}")),
            }
        }
    }

    fn freeze(&mut self, disk: &Disk, expires_in: Duration) -> Result<Answer, String> {
        let mount = mount(disk)?;
        let expiry = clock::now() + expires_in;
        self.ask(|deadline| Call::Freeze {
            step: step(vec![mount], deadline),
            role: Role::Filesystem,
            expiry,
            only: None,
            rehearsal: false,
        })
    }

    fn freezes(&mut self, disk: &Disk, expires_in: Duration) -> Result<(), String> {
        done(self.freeze(disk, expires_in)?).map_err(|reason| format!("{}: {reason}", disk.on.display()))
    }

    fn thaws(&mut self, disk: &Disk) -> Result<Answer, String> {
        let mount = mount(disk)?;
        self.ask(|deadline| Call::Thaw {
            step: step(vec![mount], deadline),
            role: Role::Filesystem,
            owed: vec![],
            rehearsal: false,
        })
    }
}

fn mount(disk: &Disk) -> Result<Mount, String> {
    disk.mount().ok_or_else(|| format!("{} is not in the mount table", disk.on.display()))
}

fn step(mounts: Vec<Mount>, deadline: Monotonic) -> Step {
    Step { cycle: "kit".into(), outcome: Outcome::Ok, deadline, mounts }
}

fn done(answer: Answer) -> Result<(), String> {
    match answer {
        Answer::Done { .. } => Ok(()),
        other => Err(format!("{other:?}")),
    }
}
