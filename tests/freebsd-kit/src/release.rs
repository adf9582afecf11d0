//! Which kernel this is, for the few claims that changed between releases.

use std::process::Command;

/// `__FreeBSD_version` of the running kernel (`uname -K`).
pub(crate) fn version() -> u32 {
    let said = Command::new("uname")
        .arg("-K")
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().parse().ok());
    said.ok().flatten().unwrap_or(0)
}

/// What a suspend by a process with threads, or with a writable descriptor of its own, comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Careless {
    /// Kernels since December 2022: EDEADLK.
    Refused,
    /// Kernels before: it is allowed.
    Allowed,
}

/// What this kernel does. The check came to 14-CURRENT in December 2022 and to the 13 branch before 13.2.
pub(crate) fn careless_suspend() -> Careless {
    match version() {
        1_302_000..1_400_000 | 1_400_076.. => Careless::Refused,
        _ => Careless::Allowed,
    }
}
