//! The blocking form: one thread that waits, and does what it is told.

use std::fmt;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hv_vss_device::{AnswerError, Device, DeviceError, Message, Operation, Verdict};
use hv_vss_platform::OsError;
use hv_vss_platform::clock::{self, Monotonic};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::rest::{LetGo, Rest};

/// The applications' node.
pub const NODE: &str = "/dev/hv_appvss_dev";

/// How long an application stays at rest if nobody tells it to go on: longer than any backup's freeze should last.
const MAX_HOLD: Duration = Duration::from_secs(60);

/// An application that hears of freezes. While it exists, each backup of this machine waits for its answers.
#[derive(Debug)]
pub struct App {
    pub(crate) node: Node,
}

/// The node with what has to be remembered, shared with the obligations that are out.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) device: Arc<Device>,
    rest: Arc<Mutex<Rest>>,
    max_hold: Duration,
}

/// What an application hears.
#[derive(Debug)]
pub enum Event {
    /// Could it come to rest now?
    Check(Check),
    /// It is to come to rest. It may come without a CHECK before it, and also while at rest.
    Freeze(Freeze),
    /// It may go on. Only ever told to an application at rest.
    Thaw(LetGo),
    /// The node serves no longer: the driver is gone. Nothing comes after this.
    Gone(String),
}

/// The obligation to answer a CHECK. Dropping it answers *fail*.
#[derive(Debug)]
#[must_use = "dropping this refuses the backup"]
pub struct Check(Owed);

/// The obligation to come to rest. Dropping it answers *fail*, and the backup does not take place.
#[derive(Debug)]
#[must_use = "dropping this makes the backup fail"]
pub struct Freeze(Owed);

#[derive(Debug)]
struct Owed {
    node: Node,
    request: Option<Message>,
}

/// Why an answer did not go out, or nothing could be waited for.
#[derive(Debug)]
pub enum AppError {
    /// The driver had given up on the request. An application that came to rest for it may go on: no
    /// [`Event::Thaw`] will come. Only our driver tells; with the one in base a late answer looks like
    /// any other, and [`App::max_hold`] ends the rest.
    TooLate,
    /// Anything else.
    System(OsError),
}

impl App {
    /// Opens the node.
    ///
    /// # Errors
    /// [`DeviceError::Busy`] when there are as many applications as the driver takes, [`DeviceError::Missing`] where there is no driver,
    /// [`DeviceError::Denied`] when this user may not.
    pub fn open() -> Result<Self, DeviceError> {
        Self::open_at(Path::new(NODE))
    }

    /// Opens the node at another path.
    ///
    /// # Errors
    /// As [`App::open`].
    pub fn open_at(path: &Path) -> Result<Self, DeviceError> {
        let device = Arc::new(Device::open(path)?);
        Ok(Self { node: Node { device, rest: Arc::new(Mutex::new(Rest::AtWork)), max_hold: MAX_HOLD } })
    }

    /// Sets how long it stays at rest if nobody tells it to go on (60 s unless set).
    #[must_use]
    pub fn max_hold(mut self, max_hold: Duration) -> Self {
        self.node.max_hold = max_hold;
        self
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// When poll(2) fails; it may be tried again.
    pub fn wait(&mut self) -> Result<Event, AppError> {
        loop {
            if self.node.runs_out() {
                return Ok(Event::Thaw(LetGo::TooLong));
            }
            match self.node.device.read() {
                Ok(Some(request)) => {
                    if let Some(event) = self.node.event(request) {
                        return Ok(event);
                    }
                }
                Ok(None) => {
                    if let Some(gone) = self.poll()? {
                        return Ok(gone);
                    }
                }
                Err(error) => return Ok(Event::Gone(error.to_string())),
            }
        }
    }

    fn poll(&self) -> Result<Option<Event>, AppError> {
        let device = &self.node.device;
        let timeout = match self.node.ends() {
            // One more, since what is left is cut to whole milliseconds.
            Some(end) => PollTimeout::try_from(clock::now().until(end).as_millis() + 1).unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        let mut polled = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => {
                return Err(AppError::System(OsError::new(format!("wait for a freeze on {}", device.path()), errno)));
            }
        }
        let events = polled[0].revents().unwrap_or(PollFlags::empty());
        let gone = events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL);
        Ok(gone.then(|| Event::Gone(format!("{} is gone: its driver was detached or has ended", device.path()))))
    }
}

impl Node {
    fn rest<R>(&self, change: impl FnOnce(&mut Rest) -> R) -> R {
        change(&mut self.rest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn runs_out(&self) -> bool {
        self.rest(|rest| rest.runs_out(clock::now(), self.max_hold))
    }

    pub(crate) fn ends(&self) -> Option<Monotonic> {
        self.rest(|rest| rest.ends(self.max_hold))
    }

    /// What a request means to the application; `None` when it was answered here.
    pub(crate) fn event(&self, request: Message) -> Option<Event> {
        let owed = Owed { node: self.clone(), request: Some(request) };
        match request.asks_for() {
            Operation::Check => Some(Event::Check(Check(owed))),
            Operation::Freeze => {
                self.rest(Rest::forgets);
                Some(Event::Freeze(Freeze(owed)))
            }
            Operation::Thaw => {
                let (verdict, let_go) = self.rest(Rest::thawed);
                // That the host hears of it too late changes nothing for the application.
                let _ = owed.answer(verdict);
                let_go.map(Event::Thaw)
            }
            // Dropped, it is answered fail.
            Operation::Unknown(_) => None,
        }
    }
}

impl Check {
    /// A freeze would work.
    ///
    /// # Errors
    /// As [`AppError`] says.
    pub fn accept(self) -> Result<(), AppError> {
        self.0.answer(Verdict::Success)
    }

    /// It would not: the host is told that a backup can't be taken now.
    ///
    /// # Errors
    /// As [`AppError`] says.
    pub fn refuse(self) -> Result<(), AppError> {
        self.0.answer(Verdict::Fail)
    }
}

impl Freeze {
    /// The application is at rest: the backup goes on. From now on its files are left alone until [`Event::Thaw`].
    ///
    /// # Errors
    /// [`AppError::TooLate`]: the host has given up; go on working.
    pub fn release(self) -> Result<(), AppError> {
        // Before the answer: the THAW may come before this call returns.
        let node = self.0.node.clone();
        node.rest(|rest| rest.begins(clock::now()));
        self.0.answer(Verdict::Success).inspect_err(|_| node.rest(|rest| *rest = Rest::AtWork))
    }

    /// The application can't come to rest: the backup does not take place.
    ///
    /// # Errors
    /// As [`AppError`] says.
    pub fn refuse(self) -> Result<(), AppError> {
        self.0.answer(Verdict::Fail)
    }
}

impl Owed {
    fn answer(mut self, verdict: Verdict) -> Result<(), AppError> {
        let Some(request) = self.request.take() else { return Ok(()) };
        let device = &self.node.device;
        device.answer(&request, verdict)?;
        // On this node WRITE succeeds however late it is; only our driver tells, and only if it is asked.
        match device.heard() {
            Ok(Some(heard)) if heard.late == Some(request.msgid) => Err(AppError::TooLate),
            // Not known; or the node is gone, which the next wait says.
            _ => Ok(()),
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            // Nobody is left to tell if this fails; the driver's limit then answers the host.
            let _ = self.node.device.answer(&request, Verdict::Fail);
        }
    }
}

impl From<AnswerError> for AppError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::TooLate => Self::TooLate,
            AnswerError::Failed(error) => Self::System(error),
        }
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLate => f.write_str(
                "the answer came too late: the driver had given up on the request, and the host has heard a failure",
            ),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AppError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLate => None,
            Self::System(error) => Some(error),
        }
    }
}
