//! The conversation between the orchestrator and a worker.
//!
//! One stream socketpair for each worker; every message is a four-byte little-endian length and that many bytes of JSON, at most [`MAX_FRAME`].
//! The orchestrator sends [`Request`]s; the worker sends [`Event`]s. A worker works on one request at a time, in the order they came, and answers
//! each with exactly one [`Event::Answer`]; only [`Call::Cancel`] is looked at while another call is at work, and is not answered.
//! A worker that breaks these rules is a broken plugin, never a reason to panic.

mod frame;
pub mod owed;
mod plain;
mod settings;

pub use frame::{FrameError, Frames, MAX_FRAME, encode};
pub use plain::is_obeyed;
pub use settings::flat;

use hv_vss_types::{FsId, Monotonic, Mount};
use serde::{Deserialize, Serialize};

/// The version of this conversation. Orchestrator and worker come from one build; a worker left over from another is refused.
pub const WIRE_VERSION: u32 = 1;

/// The descriptor on which a worker finds its end of the socketpair.
pub const WORKER_SOCKET_FD: i32 = 3;

/// What the orchestrator asks of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the orchestrator, given back in the answer.
    pub id: u64,
    /// What to do.
    #[serde(flatten)]
    pub call: Call,
}

/// The calls, in the order of a plugin's life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// Give the plugin its configuration; once, before anything else.
    Open {
        /// The plugin's table from the configuration, without the keys that are the orchestrator's (`enabled`, `number`, `required`).
        config: serde_json::Map<String, serde_json::Value>,
    },
    /// Could you take part in a freeze now? Must change nothing.
    Check(Step),
    /// Whose is each of these mounts? Answered with one [`Claim`] for each, in their order.
    Claim {
        /// Which cycle, until when.
        step: Step,
        /// The mounts to judge.
        mounts: Vec<Mount>,
    },
    /// Come to rest (an application), or suspend one filesystem (`step.mounts` then holds exactly that one).
    Freeze {
        /// Which cycle, until when.
        step: Step,
        /// As what the plugin is asked.
        role: Role,
        /// When the worker lets go by itself, should nobody tell it to: READ of the FREEZE + limit + `max_frozen`.
        expiry: Monotonic,
        /// In a rehearsal: only the sub-step of this name is to be done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<String>,
        /// It is a rehearsal.
        #[serde(default, skip_serializing_if = "is_false")]
        rehearsal: bool,
    },
    /// Let go. Comes after every `Freeze`, even one that failed, and may come twice.
    Thaw {
        /// Which cycle, until when.
        step: Step,
        /// As what the plugin is asked.
        role: Role,
        /// What is owed by an earlier process of this plugin: the sub-steps it reported as started and not yet let go.
        /// Empty when this process itself did the freeze.
        owed: Vec<String>,
        /// It is a rehearsal.
        #[serde(default, skip_serializing_if = "is_false")]
        rehearsal: bool,
    },
    /// To an observer: a cycle or a CHECK is over.
    Ended {
        /// Which cycle, until when the observer may be at it.
        step: Step,
        /// The cycle's record, as JSON.
        record: String,
    },
    /// Prepare to end. The worker answers and exits.
    Close,
    /// Give up the call with this id as soon as possible; it still gets its answer.
    Cancel {
        /// The call to give up.
        call_id: u64,
    },
}

/// What every step of a cycle is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The cycle's id, as the log and the history show it.
    pub cycle: String,
    /// How the cycle stands.
    pub outcome: Outcome,
    /// The instant at which the worker is killed if the call has not been answered.
    pub deadline: Monotonic,
    /// The filesystems this step is about: for an application all that will be or were frozen, for a filesystem step that one.
    pub mounts: Vec<Mount>,
}

/// In which role a plugin is called: one plugin may have both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It suspends filesystems.
    Filesystem,
    /// It brings an application to rest.
    Application,
}

/// How a cycle stands, as plugins and scripts are told (`HV_VSS_OUTCOME`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing has failed so far.
    Ok,
    /// The freeze failed, or was given up.
    Aborted,
    /// The host did not thaw in time; we let go by ourselves.
    Expired,
    /// The daemon died in between; a later one cleans up.
    Recovered,
    /// This machine was started from the backup, or was reset during it.
    Restored,
}

/// What a worker tells the orchestrator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first message: the file passed its checks and is loaded.
    Loaded {
        /// [`WIRE_VERSION`] of the worker program.
        wire: u32,
        /// What the plugin says of itself.
        about: About,
    },
    /// Instead of `Loaded`: the file can't be used. The worker exits after this.
    Unfit {
        /// A sentence.
        reason: String,
    },
    /// A call has ended.
    Answer {
        /// The request's id.
        id: u64,
        /// How it ended.
        #[serde(flatten)]
        answer: Answer,
    },
    /// A line for the log.
    Log {
        /// How serious it is.
        level: Level,
        /// The line.
        text: String,
    },
    /// A sub-step (a script of exec-hook) began or ended.
    Substep {
        /// Its name, such as `10-mysql.sh`.
        name: String,
        /// Which half of the cycle it belongs to.
        phase: Phase,
        /// What happened to it.
        progress: Progress,
    },
    /// A process was started for a sub-step.
    Process {
        /// The sub-step's name.
        name: String,
        /// Which half of the cycle it belongs to.
        phase: Phase,
        /// The process: also its session.
        pid: i32,
        /// What marks it and its descendants.
        mark: String,
    },
    /// The worker let go of everything by itself, since the expiry had passed.
    LetGo,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The name from its table, such as `ufs`.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// One line.
    pub description: String,
    /// The ABI it was built for.
    pub abi: u32,
    /// It suspends filesystems.
    pub filesystem: bool,
    /// It brings an application to rest.
    pub application: bool,
    /// It is told how cycles ended, and does nothing else.
    #[serde(default)]
    pub observer: bool,
    /// Its holds outlive its process, so its death releases nothing.
    pub holds_survive_exit: bool,
    /// Its place in the order, 0 to 99, unless the configuration gives another; none: 50.
    pub number: Option<u8>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Done {
        /// After `claim`: one for each mount asked about, in their order. Else empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        claims: Vec<Claim>,
        /// After `thaw`: whether what was frozen had stayed frozen until this call. Else true.
        #[serde(default = "yes")]
        held: bool,
    },
    /// It can't be done now, for a reason an administrator can act on.
    Refused {
        /// A sentence.
        reason: String,
    },
    /// The plugin itself failed.
    Broken {
        /// A sentence.
        reason: String,
    },
}

/// A filesystem plugin's verdict on one mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "claim", rename_all = "snake_case")]
pub enum Claim {
    /// I will freeze it.
    Freeze,
    /// It needs no freezing.
    Ignore {
        /// Why, as a sentence.
        reason: String,
    },
    /// It can't be frozen, and a backup without it would be wrong.
    Veto {
        /// Why, as a sentence.
        reason: String,
    },
    /// Ask another plugin.
    NotMine,
}

/// The halves of a cycle, as scripts know them (`HV_VSS_PHASE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before and at the freeze.
    Freeze,
    /// At and after the thaw.
    Thaw,
}

/// What happened to a sub-step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "progress", rename_all = "snake_case")]
pub enum Progress {
    /// It will be run in this cycle if nothing goes wrong before.
    Planned,
    /// It was started.
    Started,
    /// It ended.
    Ended {
        /// None: well. Else the sentence that says what went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
    },
}

/// How serious a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For developers.
    Debug,
    /// Normal business.
    Info,
    /// Worth a look.
    Warn,
    /// Something went wrong.
    Error,
}

impl Answer {
    /// Done, with nothing more to say.
    #[must_use]
    pub fn done() -> Self {
        Self::Done { claims: Vec::new(), held: true }
    }
}

impl Step {
    /// The filesystem a filesystem step is about.
    #[must_use]
    pub fn fsid(&self) -> Option<FsId> {
        self.mounts.first().map(|mount| mount.fsid)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_way_there_and_back() {
        let step = Step {
            cycle: "c7".into(),
            outcome: Outcome::Ok,
            deadline: Monotonic::from_ns(u64::MAX - 1),
            mounts: vec![],
        };
        for only in [None, Some("10-app".to_owned())] {
            let expiry = Monotonic::from_ns(5);
            let call = Call::Freeze { step: step.clone(), role: Role::Filesystem, expiry, only, rehearsal: true };
            let request = Request { id: 9, call };
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
        }

        let request = Request { id: 10, call: Call::Ended { step, record: "{\"cycle\":\"c7\"}".into() } };
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);

        let event = Event::Answer { id: 9, answer: Answer::Refused { reason: "no".into() } };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }

    #[test]
    fn an_answer_without_details_reads_as_plainly_done() {
        let event = serde_json::from_str::<Event>(r#"{"event":"answer","id":1,"result":"done"}"#).unwrap();
        assert_eq!(event, Event::Answer { id: 1, answer: Answer::done() });
    }
}
