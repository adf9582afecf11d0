//! FreeBSD: root's own socket first, which other users can't fill (sys/sys/syslog.h: _PATH_LOG_PRIV, _PATH_LOG).

pub(super) const SOCKETS: &[&str] = &["/var/run/logpriv", "/var/run/log"];
