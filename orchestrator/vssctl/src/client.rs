//! One question to the daemon over its control socket, and its answer. Waits with a limit, and says what it waits for when that takes a while.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hv_vss_platform::peer;
use hv_vss_wire::{FrameError, Frames, encode};
use nix::unistd::geteuid;

use hv_vss_core::control::{Question, Reply};

/// How long the daemon may take for what it answers at once, in every state.
pub(super) const AT_ONCE: Duration = Duration::from_secs(5);
/// After this long a human is told what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unreached {
    /// Nobody listens there.
    NotRunning(PathBuf),
    /// We may not ask.
    NotAllowed(PathBuf),
    /// Whoever listens there is not root.
    Impostor(PathBuf, u32),
    /// It did not answer in time.
    Silent(PathBuf, Duration),
    /// It closed the connection.
    HungUp(PathBuf),
    /// What it said is not the conversation we know.
    Strange(PathBuf, String),
    /// Something else went wrong: what was being done, and why it failed.
    System(&'static str, PathBuf, io::Error),
}

/// A connection to the daemon.
pub(super) struct Daemon {
    stream: UnixStream,
    path: PathBuf,
}

impl Daemon {
    /// Connects.
    pub(super) fn reach(path: &Path) -> Result<Self, Unreached> {
        let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Unreached::NotRunning(path.into()),
            io::ErrorKind::PermissionDenied => Unreached::NotAllowed(path.into()),
            _ => Unreached::System("connect to", path.into(), error),
        })?;
        let (user, _) = peer::credentials(&stream)
            .map_err(|error| Unreached::System("see who listens at", path.into(), io::Error::other(error)))?;
        if user != 0 && user != geteuid().as_raw() {
            return Err(Unreached::Impostor(path.into(), user));
        }
        Ok(Self { stream, path: path.into() })
    }

    /// Asks, and waits for the answer; a human is told what we wait for when it takes long.
    pub(super) fn ask(mut self, question: &Question, at_most: Duration, doing: &str) -> Result<Reply, Unreached> {
        let bytes = encode(question).map_err(|error| self.strange(&error))?;
        // A daemon that turns us away may have hung up already; that shows when its answer is read.
        let _ = self.stream.write_all(&bytes);
        let mut began = Instant::now();
        let mut frames = Frames::default();
        let mut told = false;
        let mut bytes = vec![0; 64 << 10];
        loop {
            if let Some(reply) = frames.next().map_err(|error| self.strange(&error))? {
                return Ok(reply);
            }
            let waited = began.elapsed();
            if waited >= at_most {
                return Err(Unreached::Silent(self.path, at_most));
            }
            if waited >= SAY_AFTER && !told && io::stderr().is_terminal() {
                eprintln!("{doing} ...");
                told = true;
            }
            let pause = if told { at_most - waited } else { SAY_AFTER.min(at_most - waited) };
            // Never zero, which would mean to wait without a limit.
            let pause = pause.max(Duration::from_millis(1));
            let limited = self.stream.set_read_timeout(Some(pause));
            match limited.and_then(|()| self.stream.read(&mut bytes)) {
                Ok(0) => return Err(Unreached::HungUp(self.path)),
                // Whose answer is on its way is at work: a long one may take as long as it is long.
                Ok(read) => {
                    frames.push(&bytes[..read]);
                    began = Instant::now();
                }
                Err(error) if retry(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(Unreached::HungUp(self.path));
                }
                Err(error) => return Err(Unreached::System("read from", self.path, error)),
            }
        }
    }

    fn strange(&self, error: &FrameError) -> Unreached {
        let cause = error.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
        Unreached::Strange(self.path.clone(), format!("{error}{cause}"))
    }
}

fn retry(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

impl Unreached {
    /// Whether simply no daemon runs.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::NotRunning(_))
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning(path) => write!(
                f,
                "hv_vss_daemon is not running: nobody listens at {}. Start it with `service hv_vss start`",
                path.display()
            ),
            Self::NotAllowed(path) => {
                write!(f, "only root may talk to hv_vss_daemon at {}: try again as root", path.display())
            }
            Self::Impostor(path, user) => write!(
                f,
                "the program that listens at {} belongs to user {user} and not to root, so it is not hv_vss_daemon: see who it is with sockstat(1)",
                path.display()
            ),
            Self::Silent(path, waited) => write!(
                f,
                "hv_vss_daemon accepted the question at {} and did not answer within {waited:?}; if its process is stopped, `kill -CONT` it",
                path.display()
            ),
            Self::HungUp(path) => write!(
                f,
                "hv_vss_daemon closed the connection at {} without an answer: it serves root alone, and no more than a few clients at once",
                path.display()
            ),
            Self::Strange(path, what) => write!(
                f,
                "what listens at {} sent {what}: install vssctl and hv_vss_daemon from one build, and restart the daemon",
                path.display()
            ),
            Self::System(doing, path, error) => write!(f, "can't {doing} {}: {error}", path.display()),
        }
    }
}

impl Error for Unreached {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::System(_, _, error) => Some(error),
            _ => None,
        }
    }
}
