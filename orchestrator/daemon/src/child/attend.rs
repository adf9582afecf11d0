//! Attending to one worker: bytes out, bytes in, limits, its end. One task each; it owns the socket and the process.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use hv_vss_platform::clock::{Clock, Monotonic};
use hv_vss_wire::{Answer, Request, encode};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::hearing::{Heard, Hearing};
use super::{Order, Process, Said};
use crate::sleep;

/// What may wait to be sent to a worker that does not read. It is asked for one thing at a time, so more than this means that it hangs.
const MAX_UNSENT: usize = 4 << 20;
/// What is read from a worker at once. One that writes faster than we can hear it must not keep us from everything else.
const READ_AT_ONCE: usize = 64 << 10;
/// A process that was killed closes its socket a moment before its end is heard of. One that closed it and lives on is killed after this.
const BETWEEN_SOCKET_AND_END: Duration = Duration::from_millis(200);
/// What is still read of a worker that has ended. A process that it left behind may go on writing to the socket.
const LAST_WORDS: usize = 4 << 20;

/// One worker's process, socket and calls.
pub(super) struct Attended {
    name: String,
    process: Process,
    clock: Clock,
    /// Closed (`None`) once nothing more can come over it.
    socket: Option<UnixStream>,
    unsent: Vec<u8>,
    hearing: Hearing,
    calls: BTreeMap<u64, Call>,
    /// Why we killed it, if we did.
    killed_for: Option<String>,
    /// It closed its socket: until when its process may live on.
    closed_until: Option<Monotonic>,
}

struct Call {
    limit: Option<Monotonic>,
    answer: oneshot::Sender<Answer>,
}

/// Whether more is to be expected at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    MayCome,
    WillNot,
}

enum Happened {
    Ordered(Option<Order>),
    Readable,
    Writable,
    Overdue,
    LivesOn,
    Ended(io::Result<ExitStatus>),
}

/// Serves one worker until its process is gone.
pub(super) async fn attend(mut worker: Attended, mut orders: mpsc::UnboundedReceiver<Order>, told: impl Fn(Said)) {
    let mut wanted = true;
    loop {
        match worker.next(&mut orders, wanted).await {
            Happened::Ordered(Some(order)) => worker.take(order),
            // Nobody wants it any more: without its socket it lets go of all it holds, and ends.
            Happened::Ordered(None) => {
                wanted = false;
                worker.socket = None;
            }
            Happened::Readable => {
                if worker.read(READ_AT_ONCE, &told) == More::MayCome {
                    tokio::task::yield_now().await;
                }
            }
            Happened::Writable => worker.write(),
            // The answer may be there, not yet read.
            Happened::Overdue => {
                worker.read(LAST_WORDS, &told);
                if worker.is_overdue() {
                    worker.kill("it did not answer in time");
                }
            }
            Happened::LivesOn => {
                worker.closed_until = None;
                worker.kill("it closed its socket");
            }
            Happened::Ended(status) => {
                // What it said before it died was true when it said it.
                worker.read(LAST_WORDS, &told);
                told(Said::Gone(worker.epitaph(status)));
                return;
            }
        }
    }
}

impl Attended {
    pub(super) fn new(name: String, process: Process, socket: UnixStream, clock: Clock) -> Self {
        Self {
            name,
            process,
            clock,
            socket: Some(socket),
            unsent: Vec::new(),
            hearing: Hearing::default(),
            calls: BTreeMap::new(),
            killed_for: None,
            closed_until: None,
        }
    }

    async fn next(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>, wanted: bool) -> Happened {
        let socket = self.socket.as_ref();
        let readable = async {
            match socket {
                Some(socket) => socket.readable().await,
                None => pending().await,
            }
        };
        let writable = async {
            match socket {
                Some(socket) if !self.unsent.is_empty() => socket.writable().await,
                _ => pending().await,
            }
        };
        let first_limit = self.calls.values().filter_map(|call| call.limit).min();
        let overdue = async {
            match first_limit.filter(|_| self.killed_for.is_none()) {
                Some(limit) => sleep::until(&self.clock, limit).await,
                None => pending().await,
            }
        };
        let closed_until = self.closed_until;
        let lives_on = async {
            match closed_until {
                Some(until) => sleep::until(&self.clock, until).await,
                None => pending().await,
            }
        };
        // Reading comes last: a worker that never stops talking must not keep its own end, an order or a limit from being noticed.
        tokio::select! {
            biased;
            status = self.process.wait() => Happened::Ended(status),
            order = orders.recv(), if wanted => Happened::Ordered(order),
            () = overdue => Happened::Overdue,
            () = lives_on => Happened::LivesOn,
            _ = writable => Happened::Writable,
            _ = readable => Happened::Readable,
        }
    }

    fn is_overdue(&self) -> bool {
        let now = self.clock.now();
        self.calls.values().filter_map(|call| call.limit).any(|limit| limit <= now)
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Call { id, call, limit, answer } => {
                self.send(&Request { id, call });
                self.hearing.asked(id);
                self.calls.insert(id, Call { limit, answer });
            }
            // No answer belongs to a cancel, so its own number is never used again.
            Order::Cancel { id } => self.send(&Request { id: 0, call: hv_vss_wire::Call::Cancel { call_id: id } }),
            Order::Kill(why) => self.kill(why),
        }
    }

    fn send(&mut self, request: &Request) {
        match encode(request) {
            Ok(bytes) if self.unsent.len() + bytes.len() <= MAX_UNSENT => {
                self.unsent.extend(bytes);
                self.write();
            }
            Ok(_) => self.kill("it does not read what it is sent"),
            Err(error) => {
                tracing::error!("plugin {}: a call could not be sent: {error}", self.name);
                self.kill("a call could not be sent to it");
            }
        }
    }

    fn write(&mut self) {
        let Some(socket) = &self.socket else { return };
        while !self.unsent.is_empty() {
            match socket.try_write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Its end of the socket is closed; the reading side and the process's end tell the rest.
                Err(_) => self.unsent.clear(),
            }
        }
    }

    /// Reads what is there, about so many bytes at the most.
    fn read(&mut self, most: usize, told: &impl Fn(Said)) -> More {
        let mut bytes = [0; 16 << 10];
        let mut total = 0;
        while total < most {
            let Some(socket) = &self.socket else { return More::WillNot };
            match socket.try_read(&mut bytes) {
                Ok(0) => {
                    self.socket = None;
                    self.closed_until = Some(self.clock.now() + BETWEEN_SOCKET_AND_END);
                }
                Ok(read) => {
                    total += read;
                    self.hearing.push(&bytes[..read]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return More::WillNot,
                Err(error) => {
                    self.socket = None;
                    self.kill(&format!("its socket failed: {error}"));
                }
            }
            self.listen(told);
        }
        More::MayCome
    }

    fn listen(&mut self, told: &impl Fn(Said)) {
        loop {
            match self.hearing.hear() {
                Ok(None) => return,
                Ok(Some(Heard::Told(said))) => told(said),
                Ok(Some(Heard::Answered(id, answer))) => {
                    if let Some(call) = self.calls.remove(&id) {
                        // Whoever asked may have lost interest.
                        let _ = call.answer.send(answer);
                    }
                }
                Err(why) => {
                    // First, or it may still end of the closed socket, and nobody is told why.
                    self.kill(&why);
                    self.socket = None;
                    self.hearing = Hearing::default();
                    told(Said::Unheard);
                    return;
                }
            }
        }
    }

    fn kill(&mut self, why: &str) {
        self.killed_for.get_or_insert_with(|| why.to_owned());
        self.process.kill();
    }

    fn epitaph(&self, status: io::Result<ExitStatus>) -> String {
        let killed = nix::libc::SIGKILL;
        match (status.map(|status| (status.code(), status.signal())), &self.killed_for) {
            // It may have been quicker than our signal; then its own end is the one to tell.
            (Ok((_, Some(signal))), Some(why)) if signal == killed => format!("was killed, since {why}"),
            (Ok((_, Some(signal))), _) if signal == killed => {
                "was killed from outside (signal 9): by a command, or by the kernel when memory ran out".to_owned()
            }
            (Ok((_, Some(signal))), _) => format!("was ended by signal {signal}"),
            (Ok((Some(code), _)), _) => format!("ended by itself with exit code {code}"),
            (Ok((None, None)), _) => "ended".to_owned(),
            (Err(error), _) => format!("is gone, and its exit code can't be had: {error}"),
        }
    }
}
