//! A worker seen from outside: started on a socketpair, called, watched, killed. The same way the orchestrator does it, but
//! blocking, for programs that do nothing else meanwhile.
#![allow(unsafe_code, reason = "puts the socket on its descriptor between fork and exec")]

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_wire::{Answer, Call, Event, Frames, Request, WORKER_SOCKET_FD, encode};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

/// A running worker. Dropping it kills it.
pub struct Subject {
    child: Child,
    socket: Option<OwnedFd>,
    frames: Frames,
    last_id: u64,
    /// Everything it said, answers included, in order.
    pub said: Vec<Event>,
}

/// How a call to a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It answered.
    Answered(Answer),
    /// The worker died, or closed its end; a sentence says how.
    Died(String),
    /// It did not answer in time. It is still at it.
    TimedOut,
}

impl Subject {
    /// Starts `program serve FILE OPTIONS`.
    ///
    /// # Errors
    /// When the program can't be started.
    pub fn start<O: AsRef<OsStr>>(program: &Path, file: &Path, options: &[O]) -> io::Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).map_err(io::Error::from)?;
        let mut command = Command::new(program);
        command.arg("serve").arg(file).args(options).env_clear().env("PATH", "/sbin:/bin:/usr/sbin:/usr/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let inherited = theirs.as_raw_fd();
        let place = move || {
            let placed = if inherited == WORKER_SOCKET_FD {
                // Here already, where dup2 would leave it close-on-exec.
                // SAFETY: no memory is involved.
                unsafe { nix::libc::fcntl(inherited, nix::libc::F_SETFD, 0) }
            } else {
                // SAFETY: no memory is involved, and nothing in the child owns the descriptor that is replaced.
                unsafe { nix::libc::dup2(inherited, WORKER_SOCKET_FD) }
            };
            Errno::result(placed).map(|_| ()).map_err(io::Error::from)
        };
        // SAFETY: between fork and exec this makes one system call and allocates nothing.
        unsafe { command.pre_exec(place) };
        let child = command.spawn()?;
        Ok(Self { child, socket: Some(ours), frames: Frames::default(), last_id: 0, said: Vec::new() })
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a call without waiting for its answer; gives back its id. That nobody is there any more shows when the answer is waited for.
    pub fn ask(&mut self, call: Call) -> u64 {
        self.last_id += 1;
        let bytes = encode(&Request { id: self.last_id, call }).unwrap_or_default();
        self.send_raw(&bytes);
        self.last_id
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, mut bytes: &[u8]) {
        let Some(socket) = &self.socket else { return };
        while !bytes.is_empty() {
            match send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Makes a call and waits for its answer.
    pub fn call(&mut self, call: Call, at_most: Duration) -> Ended {
        let id = self.ask(call);
        self.answer(id, clock::now() + at_most)
    }

    /// Waits for the answer to the call with this id.
    pub fn answer(&mut self, wanted: u64, until: Monotonic) -> Ended {
        loop {
            match self.event(until) {
                Ok(Some(Event::Answer { id, answer })) if id == wanted => return Ended::Answered(answer),
                Ok(Some(_)) => {}
                Ok(None) => return Ended::TimedOut,
                Err(how) => return Ended::Died(how),
            }
        }
    }

    /// The next thing it says; none when it says nothing until then.
    ///
    /// # Errors
    /// How it ended, as a sentence.
    pub fn event(&mut self, until: Monotonic) -> Result<Option<Event>, String> {
        loop {
            match self.frames.next::<Event>() {
                Ok(Some(event)) => {
                    self.said.push(event.clone());
                    return Ok(Some(event));
                }
                Ok(None) => {}
                Err(error) => return Err(format!("it sent {error}")),
            }
            let Some(socket) = &self.socket else { return Err("its socket is closed".to_owned()) };
            let left = clock::now().until(until) + Duration::from_micros(999);
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => return Ok(None),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(format!("its socket can't be waited for: {}", errno.desc())),
            }
            let mut bytes = [0; 16 << 10];
            match recv(socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
                Ok(0) | Err(Errno::ECONNRESET) => return Err(self.how_it_ended(until)),
                Ok(count) => self.frames.push(&bytes[..count]),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => return Err(format!("its socket can't be read: {}", errno.desc())),
            }
        }
    }

    /// Its socket has ended, so the process should have, too; one that closed its socket and lives on is left to be killed.
    fn how_it_ended(&mut self, until: Monotonic) -> String {
        match self.ended(until.max(clock::now() + Duration::from_millis(200))) {
            Some(status) => sentence(status),
            None => "it closed its socket and lives on".to_owned(),
        }
    }

    /// Waits for the process to end.
    pub fn ended(&mut self, until: Monotonic) -> Option<ExitStatus> {
        loop {
            match self.child.try_wait() {
                Ok(None) if clock::now() < until => std::thread::sleep(Duration::from_millis(2)),
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
    }

    /// Closes our end, as the orchestrator's death would.
    pub fn hang_up(&mut self) {
        self.socket = None;
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.kill();
    }
}

fn sentence(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("its process ended by itself, with exit code {code}"),
        (None, Some(signal)) => match nix::sys::signal::Signal::try_from(signal) {
            Ok(signal) => format!("its process was ended by {signal}"),
            Err(_) => format!("its process was ended by signal {signal}"),
        },
        (None, None) => "its process ended".to_owned(),
    }
}
