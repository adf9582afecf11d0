//! The driver's ioctls, and the 64 bytes they carry (FreeBSD: sys/dev/hyperv/utilities/hv_snapshot.h). The numbers come from nix's macros: they
//! are encoded differently on the Linux machines where the tests run.

#![allow(unsafe_code)] // nix's ioctl macros make unsafe functions.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

use crate::message::Message;

/// `struct hv_vss_opt_msg`. The reserved bytes are not looked at on READ and are zero on WRITE.
#[repr(C)]
#[derive(Clone, Copy)]
struct Wire {
    opt: u32,
    status: u32,
    msgid: u64,
    reserved: [u8; 48],
}

const _: () = assert!(size_of::<Wire>() == 64 && align_of::<Wire>() == 8);

mod number {
    use super::Wire;

    nix::ioctl_none!(unassigned, b'v', 1);
    nix::ioctl_read!(read, b'v', 2, Wire);
    nix::ioctl_write_ptr!(write, b'v', 3, Wire);

    #[cfg(target_os = "freebsd")]
    const _: () = {
        assert!(nix::request_code_none!(b'v', 1) == 0x2000_7601);
        assert!(nix::request_code_read!(b'v', 2, size_of::<Wire>()) == 0x4040_7602);
        assert!(nix::request_code_write!(b'v', 3, size_of::<Wire>()) == 0x8040_7603);
    };
}

/// Takes the next request; none: the queue is empty, which is no error.
pub(crate) fn read(node: impl AsFd) -> nix::Result<Option<Message>> {
    let mut wire = Wire { opt: 0, status: 1, msgid: 0, reserved: [0; 48] };
    // SAFETY: the driver fills the 64 bytes that the number promises, all of which are plain numbers.
    unsafe { number::read(node.as_fd().as_raw_fd(), &raw mut wire) }?;
    let message = Message { operation: wire.opt, status: wire.status, msgid: wire.msgid };
    Ok((message.status == 0).then_some(message))
}

/// Answers a request.
pub(crate) fn write(node: impl AsFd, answer: &Message) -> nix::Result<()> {
    let wire = Wire { opt: answer.operation, status: answer.status, msgid: answer.msgid, reserved: [0; 48] };
    // SAFETY: the driver reads the 64 bytes that the number promises and keeps no pointer.
    unsafe { number::write(node.as_fd().as_raw_fd(), &raw const wire) }.map(drop)
}

/// Whether the driver accepts a command that nobody has assigned.
pub(crate) fn accepts_unassigned(node: impl AsFd) -> nix::Result<bool> {
    // SAFETY: the command has no argument.
    match unsafe { number::unassigned(node.as_fd().as_raw_fd()) } {
        Ok(_) => Ok(true),
        Err(Errno::ENOTTY) => Ok(false),
        Err(errno) => Err(errno),
    }
}
