//! FreeBSD: setproctitle(3), which shows `program: text`.

use std::ffi::CStr;

use nix::libc;

pub(super) fn set(text: &CStr) {
    // SAFETY: the format takes exactly one string, and the function copies it.
    unsafe { libc::setproctitle(c"%s".as_ptr(), text.as_ptr()) };
}
