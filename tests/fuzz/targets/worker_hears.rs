//! Whatever the orchestrator may write to a worker, through the worker's own loop over a real socket, with a plugin made by the SDK behind it:
//! requests are answered in their order and once each, nothing is frozen twice, and at the end, whatever it was, nothing is held.
//!
//! The loop waits for its socket, and there is one thread: so what comes next is written by the plugin itself, each time it is checked, and each
//! part of the stream ends with a request for a check. When that can't be understood any more, the orchestrator "dies".
#![no_main]

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use hv_vss_fuzz::{Bytes, mount, several, word};
use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_plugin::export::Table;
use hv_vss_plugin::{About, Claim, Failure, Opening, Outcome as Told, Phase, Plugin, Progress, Role as InRole};
use hv_vss_wire::{Call, Event, Frames, Outcome, Request, Role, Step, encode};
use hv_vss_worker::debt::Debt;
use hv_vss_worker::link::Link;
use hv_vss_worker::load::{self, Loaded};
use hv_vss_worker::serve;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let (orchestrator, worker) = UnixStream::pair().expect("a pair of sockets");
    let mut stage = Stage {
        parts: parts(data),
        socket: orchestrator,
        sent: Vec::new(),
        frames: Frames::default(),
        held: BTreeSet::new(),
        opened: false,
        cut: false,
    };
    stage.go_on();
    STAGE.set(Some(stage));
    serve::converse(loaded(), &Rc::new(RefCell::new(Link::new(worker.into()))), &Rc::new(Debt::default()));

    let mut stage = STAGE.take().expect("it was put there");
    assert!(stage.held.is_empty(), "still held at the end: {:?}", stage.held);
    let mut heard = Vec::new();
    // The worker's end is closed.
    stage.socket.read_to_end(&mut heard).expect("what the host said");
    answers_fit(&stage.sent, &heard);
});

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

/// The orchestrator's side, and what the plugin holds.
struct Stage {
    parts: VecDeque<Vec<u8>>,
    socket: UnixStream,
    /// All that was written.
    sent: Vec<u8>,
    /// The same, read as the worker should read it.
    frames: Frames,
    held: BTreeSet<(bool, [u8; 8])>,
    /// The plugin was told its configuration.
    opened: bool,
    /// Nothing more can be written.
    cut: bool,
}

impl Stage {
    /// Writes the next part. If it can't lead to another check, that was the orchestrator's end.
    fn go_on(&mut self) {
        if self.cut {
            return;
        }
        let part = self.parts.pop_front().unwrap_or_default();
        let check =
            encode(&Request { id: 1_000_000, call: Call::Check(step(Vec::new(), "pump", None)) }).expect("it is short");
        for bytes in [&part, &check] {
            self.sent.extend(bytes);
            self.frames.push(bytes);
            self.socket.write_all(bytes).expect("room in the socket");
        }
        let mut last = None;
        while let Ok(Some(value)) = self.frames.next::<Value>() {
            last = value.get("id").and_then(Value::as_u64);
            self.opened |= matches!(serde_json::from_value(value), Ok(Request { call: Call::Open { .. }, .. }));
        }
        // A plugin that is not open yet is not asked for anything.
        if last != Some(1_000_000) || !self.opened || self.parts.is_empty() {
            self.die();
        }
    }

    fn die(&mut self) {
        self.cut = true;
        self.socket.shutdown(Shutdown::Write).expect("an end");
    }
}

fn with_stage<R>(act: impl FnOnce(&mut Stage) -> R) -> R {
    STAGE.with_borrow_mut(|stage| act(stage.as_mut().expect("a call outside of the conversation")))
}

/// A plugin of both roles. Whatever it is to do, the name of the cycle says: `refuse`, `break`, `chatter`.
struct Puppet;

impl Plugin for Puppet {
    const ABOUT: About =
        About { filesystem: true, holds_survive_exit: true, ..About::application("puppet", "1", "does as it is told") };

    fn open(opening: Opening<'_>) -> Result<Self, Failure> {
        if opening.config.get("refuse").is_some() {
            // Nothing can come of it any more.
            with_stage(Stage::die);
            return Err(Failure::Refused("as it was told".to_owned()));
        }
        Ok(Self)
    }

    fn check(&mut self, step: &hv_vss_plugin::Step<'_>) -> Result<(), Failure> {
        if step.cycle() == "pump" {
            with_stage(Stage::go_on);
        }
        as_told(step)
    }

    fn claim(&mut self, _: &hv_vss_plugin::Step<'_>, mount: &hv_vss_plugin::Mount<'_>) -> Claim {
        match mount.fsid[0] % 4 {
            0 => Claim::Freeze,
            1 => Claim::Ignore(mount.on.to_owned()),
            2 => Claim::Veto(mount.fstype.repeat(100)),
            _ => Claim::NotMine,
        }
    }

    fn freeze(&mut self, step: &hv_vss_plugin::Step<'_>) -> Result<(), Failure> {
        let key = key(step);
        with_stage(|stage| assert!(stage.held.insert(key), "frozen twice: {key:?}"));
        as_told(step)
    }

    fn thaw(&mut self, step: &hv_vss_plugin::Step<'_>) -> Result<(), Failure> {
        // What the worker does of its own accord succeeds: it would try for ten seconds.
        if step.outcome() == Told::Ok {
            as_told(step)?;
        }
        let key = key(step);
        with_stage(|stage| stage.held.remove(&key));
        Ok(())
    }
}

fn key(step: &hv_vss_plugin::Step<'_>) -> (bool, [u8; 8]) {
    let filesystem = step.role() == Some(InRole::Filesystem);
    (filesystem, step.mounts().next().filter(|_| filesystem).map_or([0; 8], |mount| mount.fsid))
}

fn as_told(step: &hv_vss_plugin::Step<'_>) -> Result<(), Failure> {
    if step.cycle().contains("chatter") {
        for _ in 0..3 {
            step.log(hv_vss_plugin::Level::Info, step.cycle());
            step.substep(step.cycle(), Phase::Thaw, Progress::Failed(step.cycle()));
        }
    }
    let _ = (step.cancelled(), step.time_left());
    match step.cycle() {
        "refuse" => Err(Failure::Refused(step.mounts().map(|mount| mount.on).collect())),
        "break" => Err(Failure::Broken("as it was told".to_owned())),
        _ => Ok(()),
    }
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::of::<Puppet>);

fn loaded() -> Loaded {
    // SAFETY: a table that the SDK made, and that lives for ever.
    unsafe { load::copied(TABLE.as_ptr()) }.expect("the table of a plugin")
}

/// The stream, in the parts in which it is written: first of all the plugin is opened.
fn parts(data: &[u8]) -> VecDeque<Vec<u8>> {
    let mut bytes = Bytes::new(data);
    let mut parts = VecDeque::new();
    let config = match bytes.arbitrary::<u8>().unwrap_or(0) {
        0xff => serde_json::Map::from_iter([("refuse".to_owned(), Value::Bool(true))]),
        few => serde_json::Map::from_iter(
            (0..few % 4).map(|at| (format!("k{at}"), serde_json::json!({"a": [at, {"b": null}]}))),
        ),
    };
    let mut part = Vec::new();
    if bytes.ratio(1, 8).unwrap_or(false) {
        part.extend(this_and_that(&mut bytes).unwrap_or_default());
    }
    part.extend(encode(&Request { id: 1, call: Call::Open { config } }).unwrap_or_default());
    while let Ok(written) = this_and_that(&mut bytes) {
        part.extend(written);
        if bytes.is_empty() || parts.len() == 24 {
            break;
        }
        if bytes.ratio(1, 2).unwrap_or(true) {
            parts.push_back(std::mem::take(&mut part));
        }
    }
    parts.push_back(part);
    parts
}

fn this_and_that(bytes: &mut Bytes<'_>) -> arbitrary::Result<Vec<u8>> {
    let id = bytes.int_in_range(0..=5)?;
    let role = *bytes.choose(&[Role::Filesystem, Role::Application])?;
    let call = match bytes.int_in_range(0..=10)? {
        0 => Call::Check(some_step(bytes)?),
        1 => Call::Claim { step: some_step(bytes)?, mounts: several(bytes, 3, mount)? },
        2 => Call::Close,
        3 => Call::Cancel { call_id: bytes.int_in_range(0..=5)? },
        4 => Call::Open { config: serde_json::Map::new() },
        5 => {
            let length = bytes.int_in_range(0..=60)?;
            return Ok(bytes.bytes(bytes.len().min(length))?.to_vec());
        }
        6 => {
            let text = word(bytes)?;
            let length = u32::try_from(text.len()).unwrap_or(0).to_le_bytes();
            return Ok([length.as_slice(), text.as_bytes()].concat());
        }
        7 => return Ok(encode(&serde_json::json!({"id": id, "call": word(bytes)?})).unwrap_or_default()),
        8 => Call::Thaw { step: some_step(bytes)?, role, owed: several(bytes, 3, word)?, rehearsal: false },
        _ => {
            let only = if bytes.ratio(1, 4)? { Some(word(bytes)?) } else { None };
            Call::Freeze { step: some_step(bytes)?, role, expiry: instant(bytes)?, only, rehearsal: false }
        }
    };
    Ok(encode(&Request { id, call }).unwrap_or_default())
}

fn some_step(bytes: &mut Bytes<'_>) -> arbitrary::Result<Step> {
    let cycle = match bytes.int_in_range(0..=5)? {
        0 => "refuse".to_owned(),
        1 => "break".to_owned(),
        2 => format!("chatter {}", word(bytes)?),
        3 => word(bytes)?,
        _ => "c1".to_owned(),
    };
    let mounts = if bytes.ratio(3, 4)? { vec![mount(bytes)?] } else { several(bytes, 3, mount)? };
    Ok(Step {
        outcome: *bytes.choose(&[Outcome::Ok, Outcome::Aborted, Outcome::Expired])?,
        ..step(mounts, &cycle, Some(instant(bytes)?))
    })
}

fn step(mounts: Vec<hv_vss_platform::mounts::Mount>, cycle: &str, deadline: Option<Monotonic>) -> Step {
    let deadline = deadline.unwrap_or(Monotonic::from_ns(u64::MAX));
    Step { cycle: cycle.to_owned(), outcome: Outcome::Ok, deadline, mounts }
}

fn instant(bytes: &mut Bytes<'_>) -> arbitrary::Result<Monotonic> {
    Ok(match bytes.int_in_range(0..=7)? {
        0 => Monotonic::from_ns(bytes.arbitrary()?),
        1 => Monotonic::from_ns(u64::MAX),
        2 => clock::now() + Duration::from_micros(bytes.arbitrary::<u8>()?.into()),
        _ => clock::now() + Duration::from_secs(60),
    })
}

/// Of those who were to be answered the first ones were, in their order.
fn answers_fit(sent: &[u8], heard: &[u8]) {
    let mut expected = Vec::new();
    let mut frames = Frames::default();
    frames.push(sent);
    while let Ok(Some(value)) = frames.next::<Value>() {
        let id = value.get("id").and_then(Value::as_u64);
        match serde_json::from_value::<Request>(value) {
            Ok(Request { call: Call::Cancel { .. }, .. }) => {}
            Ok(request) => expected.push(request.id),
            Err(_) => match id {
                Some(id) => expected.push(id),
                None => break,
            },
        }
    }
    let mut frames = Frames::default();
    frames.push(heard);
    let mut answered = Vec::new();
    while let Some(event) = frames.next::<Event>().expect("events of the kind that the orchestrator understands") {
        if let Event::Answer { id, .. } = event {
            answered.push(id);
        }
    }
    // A close at the end is answered though what came before it no longer is.
    let in_order = expected.starts_with(&answered)
        || answered.split_last().is_some_and(|(last, before)| expected.starts_with(before) && expected.contains(last));
    assert!(in_order, "asked {expected:?}, answered {answered:?}");
}
