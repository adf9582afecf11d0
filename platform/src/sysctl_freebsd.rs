//! Reading sysctls: FreeBSD's way of asking the kernel about itself. Nothing here sets one.

#![allow(unsafe_code)] // sysctl(3) has no wrapper in nix.

use std::ffi::CStr;
use std::io;
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_int};

/// Numbers of a sysctl, such as `kern.proc.pid.PID`, and its bytes. The length of such a list can grow between two calls: it is asked for
/// again until it fits.
pub(crate) fn bytes(mib: &[c_int]) -> io::Result<Vec<u8>> {
    loop {
        let mut length = 0;
        call(mib, ptr::null_mut(), &mut length)?;
        // Room for what comes in between the two calls.
        length += length / 8 + 64;
        let mut value = vec![0_u8; length];
        match call(mib, value.as_mut_ptr(), &mut length) {
            Ok(()) => {
                value.truncate(length);
                return Ok(value);
            }
            Err(error) if error.raw_os_error() == Some(Errno::ENOMEM as i32) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The numbers of a sysctl that has a name.
pub(crate) fn numbers(name: &CStr) -> io::Result<Vec<c_int>> {
    let mut mib = vec![0; 24]; // CTL_MAXNAME
    let mut length = mib.len();
    // SAFETY: `mib` has room for `length` numbers, and the kernel writes no more than that.
    match unsafe { libc::sysctlnametomib(name.as_ptr(), mib.as_mut_ptr(), &raw mut length) } {
        0 => {
            mib.truncate(length);
            Ok(mib)
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// A sysctl that is an `int`.
pub(crate) fn int(name: &CStr) -> io::Result<c_int> {
    let value = bytes(&numbers(name)?)?;
    let value = value.first_chunk().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(c_int::from_ne_bytes(*value))
}

/// A sysctl that is a `u_long`, or was an `int` in older kernels.
pub(crate) fn unsigned(name: &CStr) -> io::Result<u64> {
    let value = bytes(&numbers(name)?)?;
    match (<[u8; 8]>::try_from(&value[..]), <[u8; 4]>::try_from(&value[..])) {
        (Ok(long), _) => Ok(u64::from_ne_bytes(long)),
        (_, Ok(int)) => Ok(u64::from(u32::from_ne_bytes(int))),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

/// The `int` that stands at `at` in a structure the kernel filled; zero beyond its end.
pub(crate) fn int_at(structure: &[u8], at: usize) -> c_int {
    structure.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| c_int::from_ne_bytes(*bytes))
}

fn call(mib: &[c_int], value: *mut u8, length: &mut usize) -> io::Result<()> {
    let numbers = u32::try_from(mib.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `value` is null or has room for `length` bytes (both callers are above); the kernel writes no more and says how much.
    match unsafe { libc::sysctl(mib.as_ptr(), numbers, value.cast(), length, ptr::null(), 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The `kinfo_proc` of a process (sysctl kern.proc.pid); its fields are read by their offsets with [`int_at`] and its like.
///
/// # Errors
/// ESRCH: no such process.
pub(crate) fn process(pid: libc::pid_t) -> io::Result<Vec<u8>> {
    let info = bytes(&[libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, pid])?;
    match info.len() {
        // A kernel that no longer finds the process may also answer with nothing at all.
        0 => Err(Errno::ESRCH.into()),
        length if length == size_of::<libc::kinfo_proc>() => Ok(info),
        _ => Err(io::Error::other("the kernel's kinfo_proc is not the one this program was built for")),
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<libc::kinfo_proc>() == 1088, "sys/user.h: KINFO_PROC_SIZE");
