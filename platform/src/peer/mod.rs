//! Who is at the other end of a Unix socket.

use std::os::fd::AsFd;

use crate::{OsError, Result};

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// The effective user and group that the peer had when it connected.
///
/// # Errors
/// When the descriptor is no connected Unix socket.
pub fn credentials(socket: impl AsFd) -> Result<(u32, u32)> {
    system::credentials(socket.as_fd()).map_err(|errno| OsError::new("ask who is at the other end of a socket", errno))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use nix::unistd::{getegid, geteuid};

    use super::*;

    #[test]
    fn a_client_is_known_by_its_user_and_group() {
        let path = std::env::temp_dir().join(format!("hv_vss-peer-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(credentials(&accepted).unwrap(), (geteuid().as_raw(), getegid().as_raw()));
    }

    #[test]
    fn what_is_no_socket_has_no_peer() {
        assert!(credentials(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
