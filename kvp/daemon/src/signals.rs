//! The helper that takes signals, so that no handler is needed.

use std::io;

use hv_vss_kvp_core::Input;
use nix::sys::signal::{SigSet, Signal};

use crate::mailbox::{Post, helper};

/// Blocks the signals that end the daemon. Before the first thread: all of them inherit it.
pub(crate) fn block() -> io::Result<SigSet> {
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    ends.thread_block()?;
    Ok(ends)
}

/// Starts the helper.
pub(crate) fn start(ends: SigSet, post: Post) -> io::Result<()> {
    helper("signals").spawn(move || {
        while ends.wait().is_ok() {
            post.send(Input::End);
        }
    })?;
    Ok(())
}
