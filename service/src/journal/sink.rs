//! Where lines go: to syslogd as datagrams, or to stderr; both without waiting.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use hv_vss_platform::syslog;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::Level;

use super::Line;

/// `--log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// syslogd(8), facility daemon.
    Syslog,
    /// The standard error output.
    Stderr,
}

/// Where lines go.
pub enum Sink {
    /// syslogd, when it can be reached.
    Syslog(Syslog),
    /// A descriptor that is written to only when it can be, since when, and this program's name.
    Pipe(File, Instant, &'static str),
}

/// The way to syslogd.
pub struct Syslog {
    name: &'static str,
    socket: Option<UnixDatagram>,
    tried: Option<Instant>,
}

/// syslogd's facility `daemon` (RFC 3164).
const FACILITY_DAEMON: u8 = 3 << 3;
/// How long we leave a syslogd alone that is not there.
const RETRY: Duration = Duration::from_secs(1);

impl Sink {
    /// The sink for this destination. `name` is this program's.
    ///
    /// # Errors
    /// When stderr can't be had.
    pub fn open(destination: Destination, name: &'static str) -> std::io::Result<Self> {
        match destination {
            Destination::Syslog => Ok(Self::Syslog(Syslog { name, socket: None, tried: None })),
            Destination::Stderr => Ok(Self::of_pipe(std::io::stderr().as_fd().try_clone_to_owned()?, name)),
        }
    }

    /// A sink that writes lines to this descriptor.
    #[must_use]
    pub fn of_pipe(fd: OwnedFd, name: &'static str) -> Self {
        Self::Pipe(File::from(fd), Instant::now(), name)
    }

    /// Sends a line; false when it can't be taken now.
    pub(super) fn send(&mut self, line: &Line) -> bool {
        match self {
            Self::Syslog(syslog) => syslog.send(line),
            Self::Pipe(file, start, name) => {
                let ms = line.at.saturating_duration_since(*start).as_millis();
                let text = format!("{name}: {:>6}.{:03} {:<5} {}\n", ms / 1000, ms % 1000, line.level, line.text);
                let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                let takes = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready == 1);
                // A pipe that polls writable takes at least PIPE_BUF (4,096) bytes at once. A reader that is gone has the line thrown away.
                let gone =
                    fds[0].revents().is_some_and(|events| events.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL));
                if takes && !gone {
                    // A line that a broken reader refuses is lost, not tried for ever.
                    let _ = file.write_all(text.as_bytes());
                }
                takes
            }
        }
    }
}

impl Syslog {
    fn send(&mut self, line: &Line) -> bool {
        if self.socket.is_none() && self.tried.is_none_or(|tried| tried.elapsed() >= RETRY) {
            self.tried = Some(Instant::now());
            self.socket = syslog::connect().ok();
        }
        let Some(socket) = &self.socket else { return false };
        let severity = match line.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        let text = format!("<{}>{}[{}]: {}", FACILITY_DAEMON | severity, self.name, std::process::id(), line.text);
        match socket.send(text.as_bytes()) {
            Ok(_) => true,
            Err(error)
                if error.kind() == std::io::ErrorKind::WouldBlock
                    || error.raw_os_error() == Some(nix::libc::ENOBUFS) =>
            {
                false
            }
            Err(_) => {
                // syslogd was restarted: its socket is another one now.
                self.socket = None;
                false
            }
        }
    }
}
