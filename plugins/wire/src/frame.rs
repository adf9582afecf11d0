//! Frames: a four-byte little-endian length, then that many bytes of JSON. This file only cuts and joins bytes; it reads and writes no socket.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message, in bytes. Enough for the claims on a few thousand mounts; what is longer is not one of ours.
pub const MAX_FRAME: usize = 1 << 20;

const LENGTH: usize = 4;

/// Why bytes are not a message of ours.
#[derive(Debug)]
pub enum FrameError {
    /// The message would be longer than [`MAX_FRAME`]; its length in bytes.
    TooLong(usize),
    /// The bytes are no JSON of the expected kind.
    Garbage(serde_json::Error),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(length) => write!(f, "a message of {length} bytes, where {MAX_FRAME} is the most"),
            Self::Garbage(_) => f.write_str("a message that can't be understood"),
        }
    }
}

impl std::error::Error for FrameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLong(_) => None,
            Self::Garbage(cause) => Some(cause),
        }
    }
}

/// The bytes of one message, its length in front.
///
/// # Errors
/// When the message would be longer than [`MAX_FRAME`] or can't be put as JSON.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; LENGTH];
    serde_json::to_writer(&mut bytes, message).map_err(FrameError::Garbage)?;
    let length = bytes.len() - LENGTH;
    let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME).ok_or(FrameError::TooLong(length))?;
    bytes[..LENGTH].copy_from_slice(&prefix.to_le_bytes());
    Ok(bytes)
}

/// Bytes as they come from a stream, cut into messages again.
#[derive(Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// How many of them were taken already. They go when more is added: a thousand short messages are not moved a thousand times.
    taken: usize,
}

impl Frames {
    /// Adds what was read.
    pub fn push(&mut self, read: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(read);
    }

    /// Takes the next whole message, if one is there. After an error the stream is of no more use.
    ///
    /// # Errors
    /// When the next message is too long or not of the expected kind.
    #[allow(
        clippy::should_implement_trait,
        reason = "each call says which kind of message it wants; an iterator has one kind"
    )]
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let left = &self.bytes[self.taken..];
        let Some(prefix) = left.first_chunk::<LENGTH>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(FrameError::TooLong(length));
        }
        let Some(body) = left.get(LENGTH..LENGTH + length) else { return Ok(None) };
        let message = serde_json::from_slice(body).map_err(FrameError::Garbage)?;
        self.taken += LENGTH + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_however_the_stream_was_cut() {
        let mut stream = encode(&"first").unwrap();
        stream.extend(encode(&"second").unwrap());
        for cut in 0..stream.len() {
            let mut frames = Frames::default();
            let mut out: Vec<String> = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                frames.push(part);
                while let Some(message) = frames.next().unwrap() {
                    out.push(message);
                }
            }
            assert_eq!(out, ["first", "second"], "cut at {cut}");
        }
    }

    #[test]
    fn a_message_beyond_the_limit_is_refused_on_both_sides() {
        assert!(matches!(encode(&"x".repeat(MAX_FRAME)), Err(FrameError::TooLong(_))));
        let mut frames = Frames::default();
        frames.push(&u32::MAX.to_le_bytes());
        assert!(matches!(frames.next::<String>(), Err(FrameError::TooLong(_))));
    }
}
