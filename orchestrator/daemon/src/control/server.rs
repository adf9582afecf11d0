//! The daemon's side of the control socket: root only, one task for each client, every wait bounded. A client that is silent, slow or mad costs
//! its own connection and nothing else: the engine only ever sees whole questions, one at a time and with pauses for the cycle, and never waits
//! for anyone to read an answer. When there are too many, the longest silent makes room for who comes next, then who has been answered most.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hv_vss_platform::peer;
use hv_vss_wire::{Frames, encode};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::engine::Event;
use hv_vss_core::control::{Question, Reply};

/// Clients at once; for one more somebody is sent away, see [`has_room`].
const MAX_CLIENTS: usize = 32;
/// Connections that are taken before this thread has a rest.
const KNOCKS: u32 = 256;
/// How long a client may take to ask, and to take its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a question may be; the longest of ours is some hundred bytes.
const MAX_QUESTION: usize = 16 << 10;

/// Opens the socket, readable and writable for root alone. A leftover of an earlier daemon is replaced: our lock says that it is dead.
///
/// # Errors
/// When the directory can't be written, or something else is in its place.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::other("something that is not a socket is in its place")),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves clients for ever.
pub async fn serve(listener: UnixListener, events: mpsc::UnboundedSender<Event>) {
    let mut clients: Vec<Client> = Vec::new();
    let turnstile = Rc::new(Turnstile::default());
    let stirred = Rc::new(Notify::new());
    let mut knocks = 0..KNOCKS;
    loop {
        // Who was let in last is heard before the next one is, so that a crowd at the door can't push out who came with a question. And who only
        // knocks must not keep this thread from the cycle.
        match knocks.next() {
            Some(_) => tokio::task::yield_now().await,
            None => {
                tokio::time::sleep(LEAST_REST).await;
                knocks = 0..KNOCKS;
            }
        }
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: clients have to wait until some are free again.
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        // Between bind and chmod somebody else may have connected, so the mode alone is not enough.
        if !peer::credentials(stream.as_fd()).is_ok_and(|(user, _)| user == 0) {
            continue;
        }
        while !has_room(&mut clients) {
            stirred.notified().await;
        }
        let standing = Rc::new(Standing::default());
        let conversation = Conversation {
            stream,
            events: events.clone(),
            turnstile: Rc::clone(&turnstile),
            standing: Rc::clone(&standing),
            stirred: Rc::clone(&stirred),
        };
        let task = tokio::task::spawn_local(conversation.hold()).abort_handle();
        clients.push(Client { task, standing });
    }
}

/// One connection.
struct Client {
    task: AbortHandle,
    standing: Rc<Standing>,
}

/// How a client stands.
#[derive(Default)]
struct Standing {
    waits: Cell<Waits>,
    /// How many answers it has had.
    served: Cell<u64>,
}

/// Who waits for whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waits {
    /// It has only just come.
    #[default]
    New,
    /// It has kept us waiting since then, for its question or for taking its answer.
    Us(Instant),
    /// It waits for its turn.
    ForItsTurn,
    /// It waits for something that takes a while: a check, a rehearsal.
    ForTheEnd,
}

/// Whether one more can be served; if need be after ending the conversation with somebody else: who has kept us waiting longest, or else who has
/// had the most answers already. So a crowd that says nothing, or says too much, is no wall before an operator who comes with one question.
fn has_room(clients: &mut Vec<Client>) -> bool {
    clients.retain(|client| !client.task.is_finished());
    if clients.len() < MAX_CLIENTS {
        return true;
    }
    let standings = || clients.iter().map(|client| &client.standing).enumerate();
    let silent = standings().filter_map(|(at, client)| match client.waits.get() {
        Waits::Us(since) => Some((since, at)),
        Waits::New | Waits::ForItsTurn | Waits::ForTheEnd => None,
    });
    let sated = standings().filter(|(_, client)| client.waits.get() == Waits::ForItsTurn && client.served.get() > 0);
    let longest = silent.min().map(|(_, at)| at);
    let Some(at) = longest.or_else(|| sated.max_by_key(|(_, client)| client.served.get()).map(|(at, _)| at)) else {
        return false;
    };
    clients.swap_remove(at).task.abort();
    true
}

/// Lets questions through one at a time, and no more of them than leave most of this thread to the cycle, which it serves, too.
struct Turnstile(Semaphore);

/// After a question the turnstile stays closed for so many times as long as the question took.
const REST: u32 = 3;
/// And for no less than this.
const LEAST_REST: Duration = Duration::from_millis(1);

impl Default for Turnstile {
    fn default() -> Self {
        Self(Semaphore::const_new(1))
    }
}

struct Conversation {
    stream: UnixStream,
    events: mpsc::UnboundedSender<Event>,
    turnstile: Rc<Turnstile>,
    standing: Rc<Standing>,
    stirred: Rc<Notify>,
}

/// One client's whole conversation, with nobody else there.
#[doc(hidden)]
pub async fn converse(stream: UnixStream, events: &mpsc::UnboundedSender<Event>) {
    let conversation = Conversation {
        stream,
        events: events.clone(),
        turnstile: Rc::default(),
        standing: Rc::default(),
        stirred: Rc::default(),
    };
    conversation.hold().await;
}

impl Conversation {
    /// To the end. What became of it is the client's business.
    async fn hold(self) {
        let _ = self.questions_and_answers().await;
        self.stirred.notify_one();
    }

    fn stands(&self, waits: Waits) {
        self.standing.waits.set(waits);
        self.stirred.notify_one();
    }

    async fn questions_and_answers(&self) -> Option<()> {
        let mut frames = Frames::default();
        loop {
            self.stands(Waits::Us(Instant::now()));
            let bytes = match timeout(PATIENCE, question(&self.stream, &mut frames)).await.ok()? {
                Ok(question) => self.ask(question).await?,
                Err(Some(reason)) => {
                    let _ = timeout(PATIENCE, send(&self.stream, &in_bytes(&Reply::Refused { reason })?)).await;
                    return None;
                }
                Err(None) => return None,
            };
            self.standing.served.set(self.standing.served.get() + 1);
            self.stands(Waits::Us(Instant::now()));
            timeout(PATIENCE, send(&self.stream, &bytes)).await.ok()?.ok()?;
        }
    }

    /// Asks the engine in its turn, and puts the answer into bytes.
    async fn ask(&self, question: Question) -> Option<Vec<u8>> {
        self.stands(Waits::ForItsTurn);
        // First come, first served.
        let turn = self.turnstile.0.acquire().await.ok()?;
        let began = Instant::now();
        let takes_a_while = matches!(question, Question::Check | Question::Rehearse { .. });
        let (answer, answered) = oneshot::channel();
        self.events.send(Event::Control(question, answer)).ok()?;
        if takes_a_while {
            self.stands(Waits::ForTheEnd);
            tokio::time::sleep(LEAST_REST).await;
            drop(turn);
            return in_bytes(&answered.await.ok()?);
        }
        let bytes = in_bytes(&answered.await.ok()?);
        tokio::time::sleep((began.elapsed() * REST).max(LEAST_REST)).await;
        bytes
    }
}

/// The next question. `Err(None)`: the client is done; `Err(Some)`: it is told what it did wrong.
async fn question(stream: &UnixStream, frames: &mut Frames) -> Result<Question, Option<String>> {
    let mut read = 0;
    let mut bytes = [0; 2048];
    loop {
        match frames.next::<Question>() {
            Ok(Some(question)) => return Ok(question),
            Ok(None) => {}
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                return Err(Some(format!("this daemon got {error}{cause}; see docs/control.md")));
            }
        }
        stream.readable().await.map_err(|_| None)?;
        match stream.try_read(&mut bytes) {
            Ok(0) => return Err(None),
            Ok(more) => {
                read += more;
                if read > MAX_QUESTION {
                    return Err(Some(format!("a question of more than {MAX_QUESTION} bytes is none of ours")));
                }
                frames.push(&bytes[..more]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(None),
        }
    }
}

fn in_bytes(reply: &Reply) -> Option<Vec<u8>> {
    let long = |_| encode(&Reply::Refused { reason: "the answer is too long; ask for less".to_owned() });
    encode(reply).or_else(long).ok()
}

async fn send(stream: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        stream.writable().await?;
        match stream.try_write(left) {
            Ok(written) => left = &left[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
