//! Clients of the control socket that misbehave, each in its way, all at once and without end.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How a client misbehaves. Each begins anew as soon as it is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// Connects and says nothing.
    Silent,
    /// Sends its question a byte at a time.
    Slow,
    /// Asks how the daemon stands, over and over.
    Flooding,
    /// Asks for the whole history over and over, and never takes an answer.
    Deaf,
    /// Ends its side in the middle of a question.
    HalfClosed,
    /// Sends what is no question.
    Babbling,
    /// Announces a question of 4 GiB.
    Boasting,
    /// Connects and is gone, over and over.
    Knocking,
    /// Asks whether a backup would work, over and over: a question that every plugin has to answer.
    Nagging,
}

/// A crowd. Dropping it sends it away.
pub struct Crowd {
    gone: Arc<AtomicBool>,
    visits: Arc<AtomicUsize>,
    members: Vec<JoinHandle<()>>,
}

/// Between two bytes of a slow client, and two looks of a silent one.
const PACE: Duration = Duration::from_millis(20);

impl Crowd {
    /// So many clients at this socket; all of them have been there once when this returns.
    ///
    /// # Panics
    /// When they don't get in.
    #[must_use]
    #[track_caller]
    pub fn comes(many: usize, manners: Manners, socket: &Path) -> Self {
        let (gone, visits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let members = (0..many).map(|_| {
            let (gone, visits, socket) = (Arc::clone(&gone), Arc::clone(&visits), socket.to_owned());
            std::thread::spawn(move || Member { gone, visits, socket }.misbehaves(manners))
        });
        let crowd = Self { members: members.collect(), gone, visits };
        let deadline = Instant::now() + Duration::from_secs(20);
        while crowd.visits.load(Ordering::Relaxed) < many {
            assert!(Instant::now() < deadline, "the crowd did not come: {:?} visits", crowd.visits);
            std::thread::sleep(Duration::from_millis(2));
        }
        crowd
    }

    /// How often its members have connected so far.
    #[must_use]
    pub fn visits(&self) -> usize {
        self.visits.load(Ordering::Relaxed)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        self.members.drain(..).for_each(|member| drop(member.join()));
    }
}

struct Member {
    gone: Arc<AtomicBool>,
    visits: Arc<AtomicUsize>,
    socket: PathBuf,
}

impl Member {
    fn misbehaves(&self, manners: Manners) {
        while !self.gone.load(Ordering::Relaxed) {
            let Ok(mut stream) = UnixStream::connect(&self.socket) else {
                std::thread::sleep(PACE);
                continue;
            };
            let limits = stream.set_read_timeout(Some(PACE)).and_then(|()| stream.set_write_timeout(Some(PACE)));
            limits.expect("a socket has time limits");
            self.visits.fetch_add(1, Ordering::Relaxed);
            match manners {
                Manners::Silent => self.waits_to_be_sent_away(&mut stream),
                Manners::Slow => self.dribbles(&mut stream),
                Manners::Flooding => self.asks_without_end(&mut stream, r#"{"ask":"status"}"#),
                Manners::Nagging => self.asks_without_end(&mut stream, r#"{"ask":"check"}"#),
                Manners::Deaf => while self.is_heard(&mut stream, &frame(r#"{"ask":"history","last":500}"#)) {},
                Manners::HalfClosed => {
                    self.is_heard(&mut stream, &frame(r#"{"ask":"status"}"#)[..9]);
                    let _ = stream.shutdown(Shutdown::Write);
                    self.waits_to_be_sent_away(&mut stream);
                }
                Manners::Babbling => while self.is_heard(&mut stream, &frame("{\"ask\":\"\u{1b}[2J\"}\n")) {},
                Manners::Boasting => while self.is_heard(&mut stream, &[0xff; 64]) {},
                Manners::Knocking => {}
            }
        }
    }

    /// Sends that. False once nobody takes it any more.
    fn is_heard(&self, stream: &mut UnixStream, bytes: &[u8]) -> bool {
        match stream.write(bytes) {
            // What of it was taken is no matter: it is not meant to be understood.
            Ok(taken) => taken > 0 && !self.gone.load(Ordering::Relaxed),
            Err(error) => waits(&error) && !self.gone.load(Ordering::Relaxed),
        }
    }

    fn waits_to_be_sent_away(&self, stream: &mut UnixStream) {
        while !self.gone.load(Ordering::Relaxed) {
            match stream.read(&mut [0; 1024]) {
                Ok(0) => return,
                Err(error) if !waits(&error) => return,
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn dribbles(&self, stream: &mut UnixStream) {
        for byte in frame(r#"{"ask":"history","last":1}"#) {
            if !self.is_heard(stream, &[byte]) {
                return;
            }
            std::thread::sleep(PACE * 10);
        }
    }

    fn asks_without_end(&self, stream: &mut UnixStream, question: &str) {
        // Several questions at once, so that there is always one that waits.
        let many = frame(question).repeat(8);
        while self.is_heard(stream, &many) {
            match stream.read(&mut [0; 64 << 10]) {
                Ok(0) => return,
                Err(error) if !waits(&error) => return,
                Ok(_) | Err(_) => {}
            }
        }
    }
}

fn waits(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn frame(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&length[..], text.as_bytes()].concat()
}
