//! FreeBSD: getpeereid(3).

use std::os::fd::BorrowedFd;

use nix::unistd::getpeereid;

pub(super) fn credentials(socket: BorrowedFd<'_>) -> nix::Result<(u32, u32)> {
    let (user, group) = getpeereid(socket)?;
    Ok((user.as_raw(), group.as_raw()))
}
