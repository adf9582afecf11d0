//! What ps(1) shows of a process, so that an operator can tell the workers from each other. The program's own name stays as it is: that is
//! what devd's `pkill -x` goes by.

#![cfg_attr(target_os = "freebsd", allow(unsafe_code))] // setproctitle has no wrapper in nix.

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// Shows `text` for this process; on FreeBSD behind the program's name, on Linux in its place and cut to 15 bytes.
pub fn set(text: &str) {
    // A title with a zero byte in it ends there.
    let text = text.split('\0').next().unwrap_or_default();
    if let Ok(text) = std::ffi::CString::new(text) {
        system::set(&text);
    }
}
