//! The daemon's side of the control socket: root only, one task for each client, every wait bounded. A client that is silent, slow or mad costs
//! its own connection and nothing else: the engine only ever sees whole questions, and never waits for anyone to read an answer.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use hv_vss_platform::peer;
use hv_vss_wire::{Frames, encode};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Question, Reply};
use crate::engine::Event;

/// Clients at once; one more is turned away.
const MAX_CLIENTS: usize = 32;
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
    let clients = Rc::new(Cell::new(0_usize));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: clients have to wait until some are free again.
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        // Between bind and chmod somebody else may have connected, so the mode alone is not enough.
        let is_root = peer::credentials(stream.as_fd()).is_ok_and(|(user, _)| user == 0);
        if !is_root || clients.get() >= MAX_CLIENTS {
            continue;
        }
        clients.set(clients.get() + 1);
        let (events, clients) = (events.clone(), Rc::clone(&clients));
        tokio::task::spawn_local(async move {
            // What became of the conversation is the client's business.
            let _ = converse(stream, &events).await;
            clients.set(clients.get() - 1);
        });
    }
}

async fn converse(stream: UnixStream, events: &mpsc::UnboundedSender<Event>) -> Option<()> {
    let mut frames = Frames::default();
    loop {
        let reply = match timeout(PATIENCE, question(&stream, &mut frames)).await.ok()? {
            Ok(question) => {
                let (answer, answered) = oneshot::channel();
                events.send(Event::Control(question, answer)).ok()?;
                answered.await.ok()?
            }
            Err(Some(reason)) => {
                let _ = timeout(PATIENCE, send(&stream, &Reply::Refused { reason })).await;
                return None;
            }
            Err(None) => return None,
        };
        timeout(PATIENCE, send(&stream, &reply)).await.ok()?.ok()?;
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

async fn send(stream: &UnixStream, reply: &Reply) -> io::Result<()> {
    let long = |_| encode(&Reply::Refused { reason: "the answer is too long; ask for less".to_owned() });
    let bytes = encode(reply).or_else(long).map_err(io::Error::other)?;
    let mut left = bytes.as_slice();
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
