//! The requests and answers of `/dev/vfsfreeze` as bytes (kmod/vfsfreeze/vfsfreeze.h).

use std::time::Duration;

use hv_vss_platform::mounts::FsId;
use nix::errno::Errno;

/// Asks for the interface's version.
pub const VERSION: u32 = nix::request_code_read!(b'V', 1, 32) as u32;
/// Writes out what is dirty.
pub const FLUSH: u32 = nix::request_code_write!(b'V', 2, 32) as u32;
/// Begins a hold.
pub const HOLD: u32 = nix::request_code_write!(b'V', 3, 32) as u32;
/// Asks for the state.
pub const STATE: u32 = nix::request_code_read!(b'V', 4, 64) as u32;
/// Ends the hold.
pub const RELEASE: u32 = nix::request_code_none!(b'V', 5) as u32;

const GATE_ONLY: u32 = 1;
const QUIESCED: u32 = 2;

/// A request that is well formed.
pub(crate) enum Request {
    Version,
    Flush { fsid: FsId },
    Hold { fsid: FsId, limit: Duration, gate_only: bool },
    State,
    Release,
}

/// As the header numbers them; `VFSFREEZE_IDLE` is a descriptor without a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Begun = 1,
    Held = 2,
    Failed = 3,
    Released = 4,
    Expired = 5,
}

pub(crate) struct Report {
    pub(crate) state: State,
    pub(crate) error: i32,
    pub(crate) gate_only: bool,
    pub(crate) quiesced: bool,
    pub(crate) left: Duration,
    pub(crate) begin: Duration,
    pub(crate) held: Duration,
}

pub(crate) fn request(command: u32, input: &[u8], most: Duration) -> Result<Request, Errno> {
    let word = |at: usize| input.get(at..at + 4).and_then(|bytes| bytes.first_chunk()).copied().map(u32::from_ne_bytes);
    let fsid = || input.first_chunk().copied().map(FsId).ok_or(Errno::EINVAL);
    let zero_from = |at: usize| input.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
    match command {
        VERSION => Ok(Request::Version),
        STATE => Ok(Request::State),
        RELEASE => Ok(Request::Release),
        FLUSH if zero_from(8) => Ok(Request::Flush { fsid: fsid()? }),
        HOLD if zero_from(16) => {
            let (Some(ms), Some(flags)) = (word(8), word(12)) else { return Err(Errno::EINVAL) };
            let limit = Duration::from_millis(ms.into());
            if limit.is_zero() || limit > most || flags & !GATE_ONLY != 0 {
                return Err(Errno::EINVAL);
            }
            Ok(Request::Hold { fsid: fsid()?, limit, gate_only: flags & GATE_ONLY != 0 })
        }
        FLUSH | HOLD => Err(Errno::EINVAL),
        _ => Err(Errno::ENOTTY),
    }
}

pub(crate) fn version(most: Duration) -> Vec<u8> {
    let mut bytes = vec![0; 32];
    bytes[..4].copy_from_slice(&1_u32.to_ne_bytes());
    bytes[4..8].copy_from_slice(&milliseconds(most).to_ne_bytes());
    bytes
}

pub(crate) fn state(report: Option<Report>) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let Some(report) = report else { return bytes };
    let flags = u32::from(report.gate_only) * GATE_ONLY + u32::from(report.quiesced) * QUIESCED;
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    bytes[..4].copy_from_slice(&(report.state as u32).to_ne_bytes());
    bytes[4..8].copy_from_slice(&report.error.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&milliseconds(report.left).to_ne_bytes());
    bytes[16..24].copy_from_slice(&micros(report.begin).to_ne_bytes());
    bytes[24..32].copy_from_slice(&micros(report.held).to_ne_bytes());
    bytes
}

fn milliseconds(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}
