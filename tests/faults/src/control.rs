//! The operator's question how the daemon stands, asked over its control socket: only to see that a moment has really been reached. No verdict
//! hangs on it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hv_vss_core::control::{Question, Reply};
use hv_vss_wire::{Frames, encode};

/// The state that the daemon says it is in; none: nobody answers.
#[must_use]
pub fn state(socket: &Path) -> Option<String> {
    let mut connection = UnixStream::connect(socket).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    connection.write_all(&encode(&Question::Status).ok()?).ok()?;
    let mut frames = Frames::default();
    let mut bytes = [0; 4096];
    loop {
        if let Some(reply) = frames.next::<Reply>().ok()? {
            return match reply {
                Reply::Status(status) => Some(status.state),
                _ => None,
            };
        }
        match connection.read(&mut bytes).ok()? {
            0 => return None,
            count => frames.push(&bytes[..count]),
        }
    }
}
