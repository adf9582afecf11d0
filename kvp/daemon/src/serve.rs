//! One thread in poll(2): requests and the helpers' results in, what the core decides out.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::Sender;

use hv_vss_kvp_core::{Action, Core, Input, Level, Machine, Settings};
use hv_vss_platform::{clock, network};
use hv_vss_service::Journal;
use hv_vss_types::System;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::disk::Job;
use crate::mailbox::Mailbox;
use crate::node::{Node, NodeError};

/// The helpers' addresses.
pub(crate) struct Helpers {
    pub(crate) disk: Sender<Job>,
    pub(crate) name: Sender<String>,
    pub(crate) script: Option<Sender<Settings>>,
}

/// What serves requests.
pub(crate) struct Server {
    pub(crate) core: Core,
    pub(crate) node: Node,
    pub(crate) mailbox: Mailbox,
    pub(crate) helpers: Helpers,
    pub(crate) journal: Journal,
    pub(crate) system: System,
}

/// How the node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// Nothing may be read before it knows a daemon.
    Unregistered,
    /// A request may come.
    Open,
    /// A request was read and not answered yet: it says readable all the time.
    Busy,
}

impl Server {
    /// Serves until the daemon is told to end.
    ///
    /// # Errors
    /// When the node can't be used any more.
    pub(crate) fn run(mut self) -> Result<(), NodeError> {
        let mut stands = Stands::Unregistered;
        let mut inputs = VecDeque::from([Input::Begin(self.machine())]);
        loop {
            for input in std::mem::take(&mut inputs) {
                for action in self.core.take(input, clock::now()) {
                    if action == Action::End {
                        return Ok(());
                    }
                    self.perform(action, &mut stands)?;
                }
            }
            let (has_request, has_post) = self.wait(stands)?;
            if has_post {
                inputs.extend(self.mailbox.take());
            }
            if has_request {
                let seen = clock::now();
                let message = self.node.read()?;
                stands = Stands::Busy;
                inputs.push_back(Input::Request(message, seen, Box::new(self.machine())));
            }
            if inputs.is_empty() {
                inputs.push_back(Input::Due);
            }
        }
    }

    /// Waits for a request, a helper, or the next instant.
    fn wait(&self, stands: Stands) -> Result<(bool, bool), NodeError> {
        let mut waits = vec![PollFd::new(self.mailbox.as_fd(), PollFlags::POLLIN)];
        if stands == Stands::Open {
            waits.push(PollFd::new(self.node.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut waits, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(NodeError::System("wait for requests at", self.node.path().into(), errno.into())),
        }
        let has = |at: usize| waits.get(at).and_then(PollFd::any).unwrap_or(false);
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        if waits.get(1).and_then(PollFd::revents).is_some_and(|events| events.intersects(gone)) {
            let error = io::Error::other("it is gone: its driver was detached or has ended");
            return Err(NodeError::System("serve", self.node.path().into(), error));
        }
        Ok((has(1), has(0)))
    }

    fn timeout(&self) -> PollTimeout {
        let Some(due) = self.core.due() else { return PollTimeout::NONE };
        // A timeout that is cut to whole milliseconds would end just before the instant.
        let left = clock::now().until(due).as_nanos().div_ceil(1_000_000);
        PollTimeout::try_from(i32::try_from(left).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
    }

    fn perform(&mut self, action: Action, stands: &mut Stands) -> Result<(), NodeError> {
        match action {
            Action::Register => {
                self.node.register()?;
                *stands = Stands::Open;
                tracing::info!("ready: serves {}", self.node.path().display());
            }
            Action::Answer(message) => {
                *stands = Stands::Open;
                if let Err(error) = self.node.answer(&message) {
                    // It was taken all the same: the driver says so of operations that it does not know.
                    tracing::debug!("the driver returned \"{error}\" for an answer");
                }
            }
            // A helper ends only with the daemon.
            Action::Ask => drop(self.helpers.disk.send(Job::Ask)),
            Action::Look(look) => drop(self.helpers.disk.send(Job::Look(look))),
            Action::Write(pool, number, changes) => drop(self.helpers.disk.send(Job::Write(pool, number, changes))),
            Action::Resolve(host) => drop(self.helpers.name.send(host)),
            Action::Configure(settings) => {
                if let Some(script) = &self.helpers.script {
                    drop(script.send(settings));
                }
            }
            Action::Log(Level::Error, text) => tracing::error!("{text}"),
            Action::Log(Level::Warn, text) => tracing::warn!("{text}"),
            Action::Log(Level::Info, text) => tracing::info!("{text}"),
            Action::Log(Level::Debug, text) => tracing::debug!("{text}"),
            Action::HoldLog(true) => self.journal.hold(),
            Action::HoldLog(false) => self.journal.let_go(),
            Action::End => {}
        }
        self.journal.send();
        Ok(())
    }

    /// The machine at this moment. No disk is touched.
    fn machine(&self) -> Machine {
        let told = |error: &hv_vss_platform::OsError| tracing::debug!("{error}");
        Machine {
            host_name: network::host_name(),
            system: self.system.clone(),
            interfaces: network::interfaces().inspect_err(told).unwrap_or_default(),
            gateways: network::gateways().inspect_err(told).unwrap_or_default(),
        }
    }
}
