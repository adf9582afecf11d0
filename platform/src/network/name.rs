//! The full name of a host, as resolvers know it.

#![allow(unsafe_code)] // getaddrinfo(3) with the canonical name has no wrapper in std or nix.

use std::ffi::{CStr, CString};
use std::ptr;

use nix::libc;

/// The canonical name of this host; none if it can't be resolved. Waits for the resolver, and reads
/// files.
#[must_use]
pub fn full_name(host: &str) -> Option<String> {
    let host = CString::new(host).ok().filter(|host| !host.is_empty())?;
    let mut list: *mut libc::addrinfo = ptr::null_mut();
    // SAFETY: all members are integers and pointers, for which zero is a value: no hints.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = libc::AF_UNSPEC;
    hints.ai_socktype = libc::SOCK_STREAM;
    hints.ai_flags = libc::AI_CANONNAME;
    // SAFETY: the name ends in a null byte; hints and list live through the call.
    let result = unsafe { libc::getaddrinfo(host.as_ptr(), ptr::null(), &raw const hints, &raw mut list) };
    if result != 0 || list.is_null() {
        return None;
    }
    // SAFETY: getaddrinfo has succeeded, so list points to an entry until it is freed below.
    let name = unsafe { (*list).ai_canonname };
    // SAFETY: the name is null or a text that ends in a null byte, and is copied before it is freed.
    let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned());
    // SAFETY: list came from getaddrinfo and is not used any more.
    unsafe { libc::freeaddrinfo(list) };
    name.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_has_a_name_and_what_is_no_host_has_none() {
        assert!(full_name("localhost").is_some_and(|name| name.starts_with("localhost")));
        for host in ["", "a\0b", "host name", "no-such-host.invalid"] {
            assert_eq!(full_name(host), None, "{host:?}");
        }
    }
}
