//! The driver's ioctls and the structs they carry. READ and WRITE are in FreeBSD's
//! sys/dev/hyperv/utilities/hv_snapshot.h; HEARD is our driver's, in kmod/broker/hv_snapshot.h.
//! The numbers come from nix's macros: Linux, where the tests run, encodes them in another way.

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

/// `struct hv_vss_heard_req`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WireHeardRequest {
    pub(crate) msgid: u64,
    pub(crate) opt: u32,
    pub(crate) status: u32,
    pub(crate) why: u32,
    pub(crate) app: u32,
    pub(crate) pid: i32,
    pub(crate) reserved: [u32; 3],
}

/// `struct hv_vss_heard`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WireHeard {
    pub(crate) version: u32,
    pub(crate) count: u32,
    pub(crate) total: u64,
    pub(crate) late: u64,
    pub(crate) apps: u32,
    pub(crate) app_pid: [i32; 8],
    pub(crate) reserved: [u32; 5],
    pub(crate) req: [WireHeardRequest; 16],
}

const _: () = assert!(size_of::<WireHeard>() == 720 && align_of::<WireHeard>() == 8);

mod number {
    use super::{Wire, WireHeard};

    nix::ioctl_none!(unassigned, b'v', 1);
    nix::ioctl_read!(read, b'v', 2, Wire);
    nix::ioctl_write_ptr!(write, b'v', 3, Wire);
    nix::ioctl_read!(heard, b'v', 4, WireHeard);

    #[cfg(target_os = "freebsd")]
    const _: () = {
        assert!(nix::request_code_none!(b'v', 1) == 0x2000_7601);
        assert!(nix::request_code_read!(b'v', 2, size_of::<Wire>()) == 0x4040_7602);
        assert!(nix::request_code_write!(b'v', 3, size_of::<Wire>()) == 0x8040_7603);
        assert!(nix::request_code_read!(b'v', 4, size_of::<WireHeard>()) == 0x42d0_7604);
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

/// What the host heard, as our driver tells it. The driver in base leaves all of it zero.
pub(crate) fn heard(node: impl AsFd) -> nix::Result<WireHeard> {
    let mut wire = WireHeard::default();
    // SAFETY: the driver fills the 720 bytes that the number promises, all of which are plain numbers.
    unsafe { number::heard(node.as_fd().as_raw_fd(), &raw mut wire) }?;
    Ok(wire)
}

/// Whether the driver accepts a command that is not assigned.
pub(crate) fn accepts_unassigned(node: impl AsFd) -> nix::Result<bool> {
    // SAFETY: the command has no argument.
    match unsafe { number::unassigned(node.as_fd().as_raw_fd()) } {
        Ok(_) => Ok(true),
        Err(Errno::ENOTTY) => Ok(false),
        Err(errno) => Err(errno),
    }
}
