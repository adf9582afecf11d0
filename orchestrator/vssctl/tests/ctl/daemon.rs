//! A daemon that is a script: answers what it was given, in order, and remembers what it was asked.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hv_vss_core::control::{Question, Reply};
use hv_vss_wire::{Frames, encode};

use super::run::Home;

/// How it behaves.
pub(crate) enum Manners {
    /// One of these to each question.
    Answers(Vec<Reply>),
    HangsUp,
    TalksNonsense,
    SaysNothing,
}

/// The daemon. Dropping it ends it.
pub(crate) struct Daemon {
    socket: PathBuf,
    heard: Arc<Mutex<Heard>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    questions: Vec<Question>,
    open_files: Vec<PathBuf>,
}

impl Daemon {
    pub(crate) fn start(home: &Home, manners: Manners) -> Self {
        let socket = home.socket();
        let listener = UnixListener::bind(&socket).unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let ending = Arc::new(AtomicBool::new(false));
        let thread = {
            let (heard, ending) = (Arc::clone(&heard), Arc::clone(&ending));
            std::thread::spawn(move || serve(&listener, manners, &heard, &ending))
        };
        Self { socket, heard, ending, thread: Some(thread) }
    }

    pub(crate) fn asked(&self) -> Vec<Question> {
        self.heard.lock().unwrap().questions.clone()
    }

    /// Which files the latest client had open when its question arrived.
    pub(crate) fn files_open_at_the_question(&self) -> Vec<PathBuf> {
        self.heard.lock().unwrap().open_files.clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes it from its wait.
        let _ = UnixStream::connect(&self.socket);
        let ended = self.thread.take().map(JoinHandle::join);
        let _ = std::fs::remove_file(&self.socket);
        if !std::thread::panicking() {
            assert!(!matches!(ended, Some(Err(_))), "the scripted daemon panicked");
        }
    }
}

fn serve(listener: &UnixListener, manners: Manners, heard: &Mutex<Heard>, ending: &AtomicBool) {
    let mut silent = Vec::new();
    let mut replies = match &manners {
        Manners::Answers(replies) => replies.clone().into_iter(),
        _ => Vec::new().into_iter(),
    };
    while let Ok((mut client, _)) = listener.accept() {
        if ending.load(Ordering::SeqCst) {
            return;
        }
        match manners {
            Manners::HangsUp => drop(client),
            Manners::SaysNothing => silent.push(client),
            Manners::TalksNonsense => {
                let _ = client.write_all(b"\x03\0\0\0{{{");
                let _ = client.read(&mut [0; 512]);
            }
            Manners::Answers(_) => {
                let Some(question) = question(&mut client) else { continue };
                let mut heard = heard.lock().unwrap();
                heard.questions.push(question);
                heard.open_files = open_files(&client);
                drop(heard);
                if let Some(reply) = replies.next() {
                    let _ = client.write_all(&encode(&reply).unwrap());
                }
            }
        }
    }
}

fn question(client: &mut UnixStream) -> Option<Question> {
    let mut frames = Frames::default();
    let mut bytes = [0; 4096];
    loop {
        if let Some(question) = frames.next().unwrap() {
            return Some(question);
        }
        match client.read(&mut bytes) {
            Ok(0) | Err(_) => return None,
            Ok(read) => frames.push(&bytes[..read]),
        }
    }
}

/// The regular files that the process at the other end has open (Linux; elsewhere none are known).
fn open_files(client: &UnixStream) -> Vec<PathBuf> {
    #[cfg(target_os = "linux")]
    {
        let credentials = nix::sys::socket::getsockopt(client, nix::sys::socket::sockopt::PeerCredentials).unwrap();
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", credentials.pid())).unwrap();
        descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = client;
        Vec::new()
    }
}
