//! The worker's end of the conversation with the orchestrator.
//!
//! Nothing here ever waits but [`Link::wait`]: reads take what is there, and what the socket has no room for stays in the outbox. A stopped
//! orchestrator must not keep the worker from letting go at the expiry, so an answer is not worth blocking for either. Log lines that find
//! the outbox full are dropped and counted; answers and sub-steps are kept.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_wire::{Answer, Call, Event, FrameError, Frames, Level, Request, encode};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};

/// Beyond this many unsent bytes log lines are dropped.
const LOGS_UP_TO: usize = 64 << 10;
/// Beyond this many unsent bytes sub-steps are dropped, too: nobody has read for a long time, and memory is locked.
const SUBSTEPS_UP_TO: usize = 2 << 20;
/// A log line is cut to this many bytes.
const LINE: usize = 4 << 10;

/// Why there will be no more requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The orchestrator closed its end or died.
    Closed,
    /// What it sent was no message; the sentence says what was wrong.
    Garbage(String),
    /// The socket itself failed.
    Failed(Errno),
}

/// A message that came.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// One to serve.
    Request(Request),
    /// One with an id, but of no kind that this build knows.
    Unknown {
        /// To answer it with.
        id: u64,
        /// Why it was not understood.
        why: String,
    },
}

/// The socket with what was read ahead and what could not yet be sent.
pub struct Link {
    socket: OwnedFd,
    frames: Frames,
    inbox: VecDeque<Incoming>,
    given_up: Vec<u64>,
    outbox: Vec<u8>,
    dropped: u32,
    end: Option<End>,
}

impl Link {
    /// Takes over the socket.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            frames: Frames::default(),
            inbox: VecDeque::new(),
            given_up: Vec::new(),
            outbox: Vec::new(),
            dropped: 0,
            end: None,
        }
    }

    /// The next message to serve.
    pub fn take(&mut self) -> Option<Incoming> {
        self.inbox.pop_front()
    }

    /// Why no more will come, if so. Messages that came before are still in the inbox.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether the orchestrator gave this call up.
    #[must_use]
    pub fn is_given_up(&self, id: u64) -> bool {
        self.given_up.contains(&id)
    }

    /// Reads what is there.
    pub fn read(&mut self) {
        let mut bytes = [0; 16 << 10];
        while self.end.is_none() {
            match recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => self.end = Some(End::Closed),
                Ok(count) => {
                    self.frames.push(&bytes[..count]);
                    self.sort();
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => self.end = Some(End::Closed),
                Err(errno) => self.end = Some(End::Failed(errno)),
            }
        }
    }

    /// Takes whole messages out of the bytes; a cancellation takes effect at once, everything else waits its turn.
    fn sort(&mut self) {
        loop {
            // By its parts only if it is none that we know: most messages are, and some are long.
            let next = match self.frames.next::<Request>() {
                Err(FrameError::Garbage(_)) => {
                    self.frames.next::<serde_json::Value>().map(|value| value.map(understand))
                }
                known => known.map(|request| request.map(|request| Ok(Incoming::Request(request)))),
            };
            match next {
                Ok(None) => return,
                Ok(Some(understood)) => match understood {
                    Ok(Incoming::Request(Request { call: Call::Cancel { call_id }, .. })) => {
                        // Only the latest few matter: calls come one at a time.
                        if self.given_up.len() == 16 {
                            self.given_up.remove(0);
                        }
                        self.given_up.push(call_id);
                    }
                    Ok(incoming) => self.inbox.push_back(incoming),
                    Err(why) => return self.end = Some(End::Garbage(why)),
                },
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                    return self.end = Some(End::Garbage(format!("{error}{}", cause.unwrap_or_default())));
                }
            }
        }
    }

    /// Sends an event that must arrive: an answer, `Loaded`, `LetGo`.
    pub fn send(&mut self, event: &Event) {
        match (encode(event), event) {
            (Ok(bytes), _) => self.outbox.extend(bytes),
            // Only a list of claims can be that long. The orchestrator waits for an answer, so it gets one.
            (Err(error), Event::Answer { id, .. }) => {
                let reason = format!("the answer can't be sent: {error}");
                let event = Event::Answer { id: *id, answer: Answer::Broken { reason } };
                self.outbox.extend(encode(&event).unwrap_or_default());
            }
            (Err(_), _) => {}
        }
        self.flush();
    }

    /// Sends a sub-step, unless nobody has read for a very long time.
    pub fn send_substep(&mut self, event: &Event) {
        self.flush();
        if self.outbox.len() > SUBSTEPS_UP_TO {
            self.drop_line();
        } else {
            self.send(event);
        }
    }

    /// Sends a log line if there is room for it.
    pub fn log(&mut self, level: Level, text: &str) {
        self.flush();
        if self.outbox.len() > LOGS_UP_TO {
            self.drop_line();
            return;
        }
        self.tell_of_dropped_lines();
        self.send(&Event::Log { level, text: one_line(text) });
    }

    /// Counts a line that is not sent.
    pub fn drop_line(&mut self) {
        self.dropped += 1;
    }

    /// Says how many lines were not sent, if there is room to say it.
    pub fn tell_of_dropped_lines(&mut self) {
        if self.dropped > 0 && self.outbox.len() <= LOGS_UP_TO {
            let text = format!("{} log lines were dropped, since too many came at once", self.dropped);
            self.dropped = 0;
            self.send(&Event::Log { level: Level::Warn, text });
        }
    }

    /// Sends what the socket has room for.
    pub fn flush(&mut self) {
        while !self.outbox.is_empty() {
            match send(self.socket.as_raw_fd(), &self.outbox, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return,
                // Nobody reads any more. That there will be no more requests either is read()'s to find out: some may still be there.
                Err(_) => return self.outbox.clear(),
            }
        }
    }

    /// Whether something is still unsent.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The one place where this process waits: until something can be read (or sent, if something is unsent), or until `latest`.
    pub fn wait(&mut self, latest: Option<Monotonic>) {
        let timeout = latest.map_or(PollTimeout::NONE, |latest| {
            // Rounded up: to wake a little late costs nothing, to wake early costs a turn of the loop.
            let left = clock::now().until(latest) + Duration::from_micros(999);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let mut interest = PollFlags::POLLIN;
        if self.has_unsent() {
            interest |= PollFlags::POLLOUT;
        }
        let socket: BorrowedFd<'_> = std::os::fd::AsFd::as_fd(&self.socket);
        match poll(&mut [PollFd::new(socket, interest)], timeout) {
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => self.end = Some(End::Failed(errno)),
        }
        self.flush();
        self.read();
    }
}

/// A message by its parts: what is not even an object with an id can't be answered, and ends the conversation.
fn understand(value: serde_json::Value) -> Result<Incoming, String> {
    let id = value.get("id").and_then(serde_json::Value::as_u64);
    match serde_json::from_value(value) {
        Ok(request) => Ok(Incoming::Request(request)),
        Err(error) => match id {
            Some(id) => Ok(Incoming::Unknown { id, why: error.to_string() }),
            None => Err(format!("a message without an id: {error}")),
        },
    }
}

/// A line of a log: bounded, and without the characters that would make it two or move a terminal's cursor.
pub(crate) fn one_line(text: &str) -> String {
    let mut end = text.len().min(LINE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim_end().replace(hv_vss_wire::is_obeyed, " ")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Link::new(ours.into()), theirs)
    }

    #[test]
    fn log_lines_beyond_the_room_are_dropped_and_counted_but_an_answer_is_kept() {
        let (mut link, mut peer) = pair();
        for _ in 0..100_000 {
            link.log(Level::Info, "a line of a plugin that talks much");
        }
        link.send(&Event::Answer { id: 7, answer: Answer::done() });
        assert!(link.outbox.len() < LOGS_UP_TO + (8 << 10), "the outbox is bounded: {}", link.outbox.len());

        peer.set_nonblocking(true).unwrap();
        let mut frames = Frames::default();
        let mut events: Vec<Event> = Vec::new();
        let mut bytes = [0; 1 << 16];
        loop {
            match std::io::Read::read(&mut peer, &mut bytes) {
                Ok(count) => frames.push(&bytes[..count]),
                Err(_) if link.has_unsent() => link.flush(),
                Err(_) => break,
            }
            while let Some(event) = frames.next().unwrap() {
                events.push(event);
            }
        }
        assert_eq!(events.last(), Some(&Event::Answer { id: 7, answer: Answer::done() }));
        link.log(Level::Info, "later");
        let count = std::io::Read::read(&mut peer, &mut bytes).unwrap();
        frames.push(&bytes[..count]);
        assert!(matches!(frames.next().unwrap(), Some(Event::Log { text, .. }) if text.contains("lines were dropped")));
    }

    #[test]
    fn an_unknown_call_keeps_its_id_and_garbage_ends_the_conversation() {
        let (mut link, mut peer) = pair();
        peer.write_all(&encode(&serde_json::json!({"id": 5, "call": "dance"})).unwrap()).unwrap();
        link.read();
        assert!(matches!(link.take(), Some(Incoming::Unknown { id: 5, why }) if why.contains("dance")));
        assert_eq!(link.end(), None);

        peer.write_all(&encode(&"hello").unwrap()).unwrap();
        link.read();
        assert!(matches!(link.end(), Some(End::Garbage(_))), "{:?}", link.end());
    }

    #[test]
    fn messages_that_came_before_the_end_are_still_there() {
        let (mut link, mut peer) = pair();
        peer.write_all(&encode(&Request { id: 1, call: Call::Close }).unwrap()).unwrap();
        drop(peer);
        link.read();
        assert_eq!(link.end(), Some(&End::Closed));
        assert_eq!(link.take(), Some(Incoming::Request(Request { id: 1, call: Call::Close })));
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(one_line("two\nlines\u{1b}[2J\n"), "two lines [2J");
        assert_eq!(one_line(&"é".repeat(LINE)).len(), LINE);
    }
}
