//! The scripted Hyper-V host, for tests and for the `host` command: raw messages in, what the guest answered out.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use hv_vss_platform::mounts::FsId;

use crate::control::{Ask, State, Switches, Told};
use crate::faults::{Fault, Moment};
use crate::ic;
use crate::iclog::Entry;

/// How long a host waits for an answer unless told otherwise: longer than any driver's limit in a test.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A host, connected to a simulated machine's control socket.
#[derive(Debug)]
pub struct Host {
    control: PathBuf,
    transaction: AtomicU8,
}

/// A message that has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The transport's id.
    pub xactid: u64,
}

/// What came back for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The answer as read.
    pub answer: ic::Answer,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How long after the sending it came.
    pub took: Duration,
    /// When it came, on the monotonic clock, in nanoseconds.
    pub at_ns: u64,
}

/// Why the host could not do what was asked: the simulator is not there or did not understand. Never the guest's fault.
#[derive(Debug)]
pub struct HostError {
    what: String,
    source: Option<io::Error>,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for HostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl Host {
    /// The host of the machine whose control socket this is.
    #[must_use]
    pub fn of(control: &Path) -> Self {
        Self { control: control.to_owned(), transaction: AtomicU8::new(1) }
    }

    /// HOT_BACKUP, the guest's CHECK; none: no answer in time.
    ///
    /// # Errors
    /// When the simulator can't be reached.
    pub fn check(&self) -> Result<Option<Answered>, HostError> {
        self.ask(ic::HOT_BACKUP)
    }

    /// FREEZE.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn freeze(&self) -> Result<Option<Answered>, HostError> {
        self.ask(ic::FREEZE)
    }

    /// THAW.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn thaw(&self) -> Result<Option<Answered>, HostError> {
        self.ask(ic::THAW)
    }

    fn ask(&self, operation: u8) -> Result<Option<Answered>, HostError> {
        let sent = self.send(operation)?;
        self.answer_to(sent, PATIENCE)
    }

    /// Offers the versions that a Windows Server offers, and does not wait.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn offer(&self) -> Result<Sent, HostError> {
        self.send_raw(&ic::negotiation(&[(1, 0), (3, 0)], &[(3, 0), (5, 0), (6, 0)], self.next_transaction()))
    }

    /// Sends a VSS request and does not wait.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn send(&self, operation: u8) -> Result<Sent, HostError> {
        self.send_raw(&ic::request(operation, self.next_transaction()))
    }

    /// Sends these very bytes.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn send_raw(&self, bytes: &[u8]) -> Result<Sent, HostError> {
        match self.tell(&Ask::Send { hex: ic::to_hex(bytes) })? {
            Told::Sent { xactid } => Ok(Sent { xactid }),
            other => Err(unexpected(&other)),
        }
    }

    /// Sends these very bytes to the key-value pairs' service.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn send_kvp(&self, bytes: &[u8]) -> Result<Sent, HostError> {
        match self.tell(&Ask::SendKvp { hex: ic::to_hex(bytes) })? {
            Told::Sent { xactid } => Ok(Sent { xactid }),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits for the answer to a message.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn answer_to(&self, sent: Sent, patience: Duration) -> Result<Option<Answered>, HostError> {
        let wait_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        match self.tell(&Ask::Await { xactid: sent.xactid, wait_ms })? {
            Told::NoAnswer => Ok(None),
            Told::Answer { hex, took_us, at_ns } => {
                let read = ic::from_hex(&hex).ok().and_then(|bytes| Some((ic::Answer::read(&bytes)?, bytes)));
                let (answer, bytes) = read.ok_or_else(|| said(format!("the guest answered with garbage: {hex}")))?;
                Ok(Some(Answered { answer, bytes, took: Duration::from_micros(took_us), at_ns }))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Sets switches of the machine.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn set(&self, switches: Switches) -> Result<(), HostError> {
        self.expect_done(&Ask::Set(switches))
    }

    /// Makes suspending or resuming a filesystem go wrong, or right again.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn fault(&self, fsid: FsId, moment: Moment, fault: Option<Fault>) -> Result<(), HostError> {
        self.expect_done(&Ask::Fault { fsid, moment, fault })
    }

    /// Begins the umount(8) of a filesystem, which waits while that is suspended.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn unmount(&self, fsid: FsId) -> Result<(), HostError> {
        self.expect_done(&Ask::Unmount { fsid })
    }

    /// From now on a resume of this filesystem throws away what was stored to mappings of this file in the hold.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn drop_stores(&self, fsid: FsId, path: &Path) -> Result<(), HostError> {
        self.expect_done(&Ask::Drop { fsid, path: path.to_owned() })
    }

    /// The time of this filesystem's hold by vfsfreeze is over in this moment.
    ///
    /// # Errors
    /// When the simulator can't be reached.
    pub fn expire(&self, fsid: FsId) -> Result<(), HostError> {
        self.expect_done(&Ask::Expire { fsid })
    }

    fn expect_done(&self, ask: &Ask) -> Result<(), HostError> {
        match self.tell(ask)? {
            Told::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// How the machine stands.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn state(&self) -> Result<State, HostError> {
        match self.tell(&Ask::State)? {
            Told::State(state) => Ok(state),
            other => Err(unexpected(&other)),
        }
    }

    /// Everything that went over the wire, and what the simulated kernel remarked.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn log(&self) -> Result<Vec<Entry>, HostError> {
        match self.tell(&Ask::Log)? {
            Told::Log { entries } => Ok(entries),
            other => Err(unexpected(&other)),
        }
    }

    /// One question, one answer, over a connection of its own: so several threads may ask at once.
    fn tell(&self, ask: &Ask) -> Result<Told, HostError> {
        let at = || format!("the simulator at {}", self.control.display());
        let failed = |source| HostError { what: format!("can't talk to {}", at()), source: Some(source) };
        let mut connection = UnixStream::connect(&self.control).map_err(failed)?;
        let mut line = serde_json::to_string(ask).map_err(|error| failed(error.into()))?;
        line.push('\n');
        connection.write_all(line.as_bytes()).map_err(failed)?;
        let mut told = String::new();
        BufReader::new(connection).read_line(&mut told).map_err(failed)?;
        if told.is_empty() {
            return Err(said(format!("{} ended in mid-conversation", at())));
        }
        serde_json::from_str(&told).map_err(|error| failed(error.into()))
    }

    fn next_transaction(&self) -> u8 {
        self.transaction.fetch_add(1, Ordering::Relaxed)
    }
}

fn said(what: String) -> HostError {
    HostError { what, source: None }
}

fn unexpected(told: &Told) -> HostError {
    match told {
        Told::Refused { reason } => said(reason.clone()),
        other => said(format!("the simulator answered something else than was asked: {other:?}")),
    }
}
