//! Linux: SO_PEERCRED.

use std::os::fd::BorrowedFd;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

pub(super) fn credentials(socket: BorrowedFd<'_>) -> nix::Result<(u32, u32)> {
    let peer = getsockopt(&socket, PeerCredentials)?;
    Ok((peer.uid(), peer.gid()))
}
