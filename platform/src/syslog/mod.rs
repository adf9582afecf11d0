//! The way to syslogd, without ever waiting for it: libc's syslog(3) blocks when syslogd's queue is full, and syslogd may be waiting for the
//! very filesystem we hold.

use std::io;
use std::os::unix::net::UnixDatagram;

use crate::{OsError, Result};

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// A non-blocking, close-on-exec datagram socket to syslogd: a send that would wait fails with `WouldBlock`, or on FreeBSD with ENOBUFS (some
/// kernels of 2022 say nothing and drop the line).
///
/// # Errors
/// When no syslogd listens. It may be tried again later.
pub fn connect() -> Result<UnixDatagram> {
    connect_to(system::SOCKETS)
}

/// The first of these sockets at which somebody listens.
fn connect_to(paths: &[&str]) -> Result<UnixDatagram> {
    let cannot = |cause| OsError::new(format!("reach syslogd at {}", paths.join(" or ")), cause);
    let socket = UnixDatagram::unbound().map_err(cannot)?;
    socket.set_nonblocking(true).map_err(cannot)?;
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for path in paths {
        match socket.connect(path) {
            Ok(()) => return Ok(socket),
            Err(error) => refused = error,
        }
    }
    Err(cannot(refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket file of a syslogd of our own, removed at the end.
    struct Syslogd(String, UnixDatagram);

    impl Syslogd {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("hv_vss-{name}-{}", std::process::id())).display().to_string();
            let socket = UnixDatagram::bind(&path).unwrap();
            Self(path, socket)
        }
    }

    impl Drop for Syslogd {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_line_arrives_at_the_first_socket_that_listens() {
        let syslogd = Syslogd::new("first");
        let socket = connect_to(&["/nonexistent/log", &syslogd.0]).unwrap();
        socket.send(b"<30>hv_vss: hello").unwrap();
        let mut line = [0; 64];
        let length = syslogd.1.recv(&mut line).unwrap();
        assert_eq!(&line[..length], b"<30>hv_vss: hello");
    }

    #[test]
    fn a_syslogd_that_does_not_read_never_makes_a_send_wait() {
        const SENT: usize = 2_000;
        let syslogd = Syslogd::new("deaf");
        let socket = connect_to(&[&syslogd.0]).unwrap();
        let accepted = (0..SENT).filter(|_| socket.send(&[b'x'; 512]).is_ok()).count();
        // That this is reached is the claim; the rest shows that the queue was full indeed. (Some FreeBSD kernels of 2022 accept what they drop.)
        syslogd.1.set_nonblocking(true).unwrap();
        let arrived = std::iter::from_fn(|| syslogd.1.recv(&mut [0; 512]).ok()).count();
        assert!(arrived <= accepted && arrived < SENT, "{arrived} arrived of {accepted} accepted");
    }

    #[test]
    fn when_nobody_listens_the_sentence_names_where_it_was_tried() {
        let error = connect_to(&["/nonexistent/a", "/nonexistent/b"]).unwrap_err().to_string();
        assert!(error.starts_with("can't reach syslogd at /nonexistent/a or /nonexistent/b: No such file"), "{error}");
    }
}
