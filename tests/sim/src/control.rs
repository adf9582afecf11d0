//! The control socket: how a test or the `host` command plays the Hyper-V host and sets the machine's switches.
//!
//! One JSON line is asked, one is answered; any number of connections at once, so that a host may wait for one answer while it sends the next
//! message.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hv_vss_platform::mounts::FsId;
use serde::{Deserialize, Serialize};

use crate::driver::Standing;
use crate::faults::{Fault, Faults, Moment};
use crate::ic;
use crate::iclog::{Entry, IcLog};
use crate::machine::Machine;
use crate::suspend::{Holding, Suspender};
use crate::vfsfreeze::Freezer;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// Put a message into the guest's ring.
    Send {
        /// Its bytes.
        hex: String,
    },
    /// Put a message into the ring of the key-value pairs' service.
    SendKvp {
        /// Its bytes.
        hex: String,
    },
    /// Wait for the answer to one.
    Await {
        /// What `Send` was answered with.
        xactid: u64,
        /// For how long at the most.
        wait_ms: u64,
    },
    /// Set switches; those not named stay as they are.
    Set(Switches),
    /// Make suspending or resuming one filesystem go wrong; with no fault, make it go right again.
    Fault {
        /// Which filesystem.
        fsid: FsId,
        /// In which call.
        moment: Moment,
        /// How.
        fault: Option<Fault>,
    },
    /// A umount(8) of this filesystem begins, and waits while it is suspended.
    Unmount {
        /// Which filesystem.
        fsid: FsId,
    },
    /// A resume of this filesystem throws away what was stored to mappings of this file.
    Drop {
        /// Which filesystem.
        fsid: FsId,
        /// Which file.
        path: PathBuf,
    },
    /// The time of this filesystem's hold by vfsfreeze is over in this moment.
    Expire {
        /// Which filesystem.
        fsid: FsId,
    },
    /// How things stand.
    State,
    /// Everything recorded so far.
    Log,
}

/// The simulated machine's switches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// ufssuspend and vfsfreeze are used from within a jail: EPERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jail: Option<bool>,
    /// The driver's time limit in milliseconds, from the next request on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u64>,
    /// How far the kernel's wall clock, from which `msgid` is taken, is ahead of the real one, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_shift_ms: Option<i64>,
    /// What READ delivers as `opt` in place of what the host asked: an operation the daemon doesn't know. An answer that echoes it is put right
    /// again on its way back; 0 ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt: Option<u32>,
    /// Whether the VSS device is there at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    /// Whether the key-value pairs' device is there at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kvp_present: Option<bool>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Told {
    /// The message is in the ring.
    Sent {
        /// The transport's id for it.
        xactid: u64,
    },
    /// The guest's answer.
    Answer {
        /// Its bytes.
        hex: String,
        /// How long after the sending it came, in microseconds.
        took_us: u64,
        /// When it came, on the monotonic clock, in nanoseconds.
        at_ns: u64,
    },
    /// The guest has not answered yet.
    NoAnswer,
    /// The switches are set.
    Done,
    /// How things stand.
    State(State),
    /// The record.
    Log {
        /// Oldest first.
        entries: Vec<Entry>,
    },
    /// The request makes no sense.
    Refused {
        /// Why.
        reason: String,
    },
}

/// How the machine stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Who has the nodes open.
    pub driver: Standing,
    /// The suspensions that hold, in either way.
    pub suspended: Vec<Holding>,
    /// Which call hangs in the kernel, because a test asked for it.
    pub hanging: Option<(FsId, Moment)>,
    /// Every UFSSUSPEND and every hold that was refused so far, as a sentence.
    pub refusals: Vec<String>,
}

pub(crate) struct Control {
    pub(crate) machine: Arc<Machine>,
    pub(crate) suspender: Arc<Suspender>,
    pub(crate) freezer: Arc<Freezer>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) log: Arc<IcLog>,
}

impl Control {
    /// Serves each connection from a thread of its own, for as long as the process lives.
    pub(crate) fn serve(self, listener: UnixListener) {
        let control = Arc::new(self);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let control = Arc::clone(&control);
                std::thread::spawn(move || control.converse(connection));
            }
        });
    }

    fn converse(&self, connection: UnixStream) {
        let Ok(reader) = connection.try_clone() else { return };
        let mut writer = connection;
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            let told = match serde_json::from_str(&line) {
                Ok(ask) => self.answer(ask),
                Err(error) => Told::Refused { reason: format!("\"{line}\" is not understood: {error}") },
            };
            let Ok(mut text) = serde_json::to_string(&told) else { return };
            text.push('\n');
            if writer.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, ask: Ask) -> Told {
        match ask {
            Ask::Send { hex } => match ic::from_hex(&hex) {
                Ok(bytes) => Told::Sent { xactid: self.machine.host_sends(&bytes, &self.log) },
                Err(reason) => Told::Refused { reason },
            },
            Ask::SendKvp { hex } => match ic::from_hex(&hex) {
                Ok(bytes) => Told::Sent { xactid: self.machine.host_sends_kvp(&bytes, &self.log) },
                Err(reason) => Told::Refused { reason },
            },
            Ask::Await { xactid, wait_ms } => match self.machine.host_waits(xactid, Duration::from_millis(wait_ms)) {
                Some((took, arrived)) => Told::Answer {
                    hex: ic::to_hex(&arrived.bytes),
                    took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                    at_ns: arrived.at.as_ns(),
                },
                None => Told::NoAnswer,
            },
            Ask::Set(switches) => {
                self.set(&switches);
                Told::Done
            }
            Ask::Fault { fsid, moment, fault } => {
                self.faults.set(fsid, moment, fault);
                Told::Done
            }
            Ask::Expire { fsid } => {
                self.freezer.expire(fsid);
                Told::Done
            }
            Ask::Unmount { fsid } => {
                self.faults.set_unmounting(fsid);
                Told::Done
            }
            Ask::Drop { fsid, path } => {
                self.suspender.keep_for_mappings(fsid, path);
                Told::Done
            }
            Ask::State => Told::State(State {
                driver: self.machine.standing(),
                suspended: [self.suspender.holdings(), self.freezer.holdings()].concat(),
                hanging: self.faults.hanging(),
                refusals: [self.suspender.refusals(), self.freezer.refusals()].concat(),
            }),
            Ask::Log => Told::Log { entries: self.log.entries() },
        }
    }

    fn set(&self, switches: &Switches) {
        if let Some(in_a_jail) = switches.jail {
            self.suspender.set_jail(in_a_jail);
            self.freezer.set_jail(in_a_jail);
        }
        if let Some(ms) = switches.limit_ms {
            self.machine.set_limit(Duration::from_millis(ms));
        }
        if let Some(ms) = switches.clock_shift_ms {
            self.machine.shift_clock(ms);
        }
        if let Some(opt) = switches.opt {
            self.machine.garble(opt);
        }
        if let Some(present) = switches.present {
            self.machine.set_present(present, &self.log);
        }
        if let Some(present) = switches.kvp_present {
            self.machine.set_kvp_present(present, &self.log);
        }
    }
}
