//! The socket between the daemon and a worker, reached from outside: a copy of the descriptor is taken from the process itself
//! (pidfd_getfd), and which of the daemon's descriptors is the other end of a host's the kernel tells (sock_diag).
#![allow(unsafe_code)] // Two system calls that nix has no wrapper for.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use hv_vss_wire::WORKER_SOCKET_FD;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockProtocol, SockType, recv, send, shutdown, socket,
};

/// Nothing that anybody could take for a message: its length is beyond all bounds.
const GARBAGE: &[u8] = b"\xff\xff\xff\x7fthis is no message, and no length either";

/// A copy of a process's descriptor.
fn taken_from(pid: i32, descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers go in, a new descriptor or -1 comes out.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let pidfd = owned(pidfd)?;
    // SAFETY: as above.
    let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), descriptor, 0) };
    owned(copy)
}

fn owned(descriptor: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(descriptor) {
        // SAFETY: the kernel has just given it to us, and nobody else knows of it.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The inode of a socket.
fn inode_of(pid: i32, descriptor: &str) -> Option<u32> {
    let target = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The inode of a unix socket's other end, as the kernel tells it (linux/unix_diag.h).
fn peer_of(inode: u32) -> io::Result<u32> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const SHOW_PEER: u32 = 4;
    const UNIX_DIAG_PEER: u16 = 2;
    const HEADER: usize = 16;
    const MESSAGE: usize = 16;
    let asks = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    let mut question = Vec::new();
    let length = u32::try_from(HEADER + 24).map_err(io::Error::other)?;
    question.extend(length.to_ne_bytes());
    question.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    question.extend(1_u16.to_ne_bytes()); // NLM_F_REQUEST
    question.extend([0; 8]);
    question.extend([1, 0, 0, 0]); // AF_UNIX
    question.extend(u32::MAX.to_ne_bytes()); // in any state
    question.extend(inode.to_ne_bytes());
    question.extend(SHOW_PEER.to_ne_bytes());
    question.extend([0xff; 8]); // no cookie
    send(asks.as_raw_fd(), &question, MsgFlags::empty())?;
    let mut answer = [0; 1024];
    let count = recv(asks.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let mut rest = answer.get(HEADER + MESSAGE..count).unwrap_or_default();
    while let [a, b, c, d, value @ ..] = rest {
        let (length, kind) = (usize::from(u16::from_ne_bytes([*a, *b])), u16::from_ne_bytes([*c, *d]));
        if let (UNIX_DIAG_PEER, Some(peer)) = (kind, value.first_chunk()) {
            return Ok(u32::from_ne_bytes(*peer));
        }
        rest = rest.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
    }
    Err(io::Error::other(format!("the kernel names no other end of the socket {inode}")))
}

/// The daemon's end of the socket to this host.
fn daemons_end(daemon: i32, host: i32) -> io::Result<OwnedFd> {
    let theirs =
        inode_of(host, &WORKER_SOCKET_FD.to_string()).ok_or_else(|| io::Error::other("the host has no socket"))?;
    let ours = peer_of(theirs)?;
    for entry in fs::read_dir(format!("/proc/{daemon}/fd"))?.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if inode_of(daemon, name) == Some(ours) {
            return taken_from(daemon, name.parse().map_err(io::Error::other)?);
        }
    }
    Err(io::Error::other("the daemon does not have the other end"))
}

/// In this host's name, garbage to the daemon.
///
/// # Errors
/// When the socket can't be reached.
pub fn worker_says_garbage(host: i32) -> io::Result<()> {
    says_garbage(&taken_from(host, WORKER_SOCKET_FD)?)
}

/// In the daemon's name, garbage to this host.
///
/// # Errors
/// When the socket can't be reached.
pub fn daemon_says_garbage(daemon: i32, host: i32) -> io::Result<()> {
    says_garbage(&daemons_end(daemon, host)?)
}

fn says_garbage(socket: &OwnedFd) -> io::Result<()> {
    send(socket.as_raw_fd(), GARBAGE, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT)?;
    Ok(())
}

/// The socket between the daemon and this host is closed, whoever did it.
///
/// # Errors
/// When the socket can't be reached.
pub fn is_shut(host: i32) -> io::Result<()> {
    shutdown(taken_from(host, WORKER_SOCKET_FD)?.as_raw_fd(), Shutdown::Both)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_kernel_tells_the_other_end_of_a_socket() {
        let (one, other) = UnixStream::pair().unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let inode = |socket: &UnixStream| inode_of(me, &socket.as_raw_fd().to_string()).unwrap();
        assert_eq!(peer_of(inode(&one)).unwrap(), inode(&other));
        assert_eq!(peer_of(inode(&other)).unwrap(), inode(&one));
    }

    #[test]
    fn what_is_written_to_a_descriptor_taken_from_a_process_arrives() {
        let (one, other) = UnixStream::pair().unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        says_garbage(&taken_from(me, one.as_raw_fd()).unwrap()).unwrap();
        let mut bytes = [0; 64];
        assert_eq!(recv(other.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT).unwrap(), GARBAGE.len());
    }
}
