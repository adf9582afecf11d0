//! How helpers reach the thread in poll(2): a channel, and a pipe that wakes it.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;

use hv_vss_kvp_core::Input;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// The reading end.
#[derive(Debug)]
pub(crate) struct Mailbox {
    inputs: Receiver<Input>,
    woken: PipeReader,
}

/// A helper's stack, in bytes. All of it is locked in memory.
const STACK: usize = 512 << 10;

/// A helper's thread that is still to be started.
pub(crate) fn helper(name: &str) -> Builder {
    Builder::new().name(name.into()).stack_size(STACK)
}

/// The writing end. Clone it freely.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    inputs: Sender<Input>,
    wake: Arc<PipeWriter>,
}

/// Both ends.
pub(crate) fn mailbox() -> io::Result<(Mailbox, Post)> {
    let (woken, wake) = io::pipe()?;
    // A pipe that is full has woken the reader already, and an empty one has nothing to be read.
    for end in [woken.as_fd(), wake.as_fd()] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let (sender, inputs) = channel();
    Ok((Mailbox { inputs, woken }, Post { inputs: sender, wake: Arc::new(wake) }))
}

impl Post {
    pub(crate) fn send(&self, input: Input) {
        // Refused only when the daemon ends.
        let _ = self.inputs.send(input);
        let _ = (&*self.wake).write(&[1]);
    }
}

impl Mailbox {
    /// Readable when something was sent.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// What was sent. The pipe is emptied first: what comes in between wakes once more.
    pub(crate) fn take(&mut self) -> Vec<Input> {
        while self.woken.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        self.inputs.try_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn is_readable(mailbox: &Mailbox) -> bool {
        poll(&mut [PollFd::new(mailbox.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn a_reader_is_woken_once_for_all_that_was_sent_and_again_for_what_comes_later() {
        let (mut mailbox, post) = mailbox().unwrap();
        assert!(!is_readable(&mailbox));
        (0..100_000).for_each(|_| post.send(Input::Due));
        assert!(is_readable(&mailbox));
        assert_eq!(mailbox.take().len(), 100_000);
        assert!(!is_readable(&mailbox) && mailbox.take().is_empty());
        post.clone().send(Input::End);
        assert!(is_readable(&mailbox));
    }
}
