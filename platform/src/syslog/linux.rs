//! Linux: syslog(3)'s one socket.

pub(super) const SOCKETS: &[&str] = &["/dev/log"];
