//! The host's raw VMBus messages for the VSS service: made as Hyper-V makes them, and read back from what the guest answered.
//!
//! This is the host's own view of the format (facts.md, 1a), written apart from kmod/, so that a mistake there does not hide itself here.

use serde::{Deserialize, Serialize};

/// Status of an answer: done.
pub const HV_S_OK: u32 = 0;
/// Status of an answer: failed.
pub const HV_E_FAIL: u32 = 0x8000_4005;
/// Status of an answer: the guest doesn't know the operation.
pub const HV_ERROR_NOT_SUPPORTED: u32 = 0x8007_0032;

/// The guest's CHECK.
pub const HOT_BACKUP: u8 = 2;
/// Asks for flags that are always 0.
pub const GET_DM_INFO: u8 = 3;
/// Bring the guest to rest.
pub const FREEZE: u8 = 5;
/// Let it go again.
pub const THAW: u8 = 6;

/// Bytes in the common header, the pipe's eight included.
pub const HEADER: usize = 28;
/// Bytes in a whole VSS message.
pub const VSS_MESSAGE: usize = 40;

pub(crate) const AT_TYPE: usize = 12;
pub(crate) const AT_DATA_SIZE: usize = 18;
pub(crate) const AT_STATUS: usize = 20;
pub(crate) const AT_TRANSACTION: usize = 24;
pub(crate) const AT_FLAGS: usize = 25;
pub(crate) const AT_OPERATION: usize = 28;
pub(crate) const AT_VSS_FLAGS: usize = 36;
pub(crate) const AT_NEGOTIATED: usize = 36;

pub(crate) const TYPE_NEGOTIATE: u16 = 0;
const TYPE_VSS: u16 = 5;

const FLAG_TRANSACTION: u8 = 1;
const FLAG_REQUEST: u8 = 2;
pub(crate) const FLAGS_OF_AN_ANSWER: u8 = FLAG_TRANSACTION | 4;

/// A version, major and minor.
pub type Version = (u16, u16);

/// A VSS request as the host sends it.
#[must_use]
pub fn request(operation: u8, transaction: u8) -> Vec<u8> {
    let mut bytes = message(TYPE_VSS, VSS_MESSAGE, transaction);
    bytes[AT_OPERATION] = operation;
    bytes
}

/// An offer of versions as the host sends it.
#[must_use]
pub fn negotiation(frameworks: &[Version], messages: &[Version], transaction: u8) -> Vec<u8> {
    let length = AT_NEGOTIATED + 4 * (frameworks.len() + messages.len());
    let mut bytes = message(TYPE_NEGOTIATE, length, transaction);
    put16(&mut bytes, HEADER, u16::try_from(frameworks.len()).unwrap_or(u16::MAX));
    put16(&mut bytes, HEADER + 2, u16::try_from(messages.len()).unwrap_or(u16::MAX));
    for (place, (major, minor)) in frameworks.iter().chain(messages).enumerate() {
        put16(&mut bytes, AT_NEGOTIATED + 4 * place, *major);
        put16(&mut bytes, AT_NEGOTIATED + 4 * place + 2, *minor);
    }
    bytes
}

pub(crate) fn message(kind: u16, length: usize, transaction: u8) -> Vec<u8> {
    let mut bytes = vec![0; length];
    bytes[0] = 1;
    put32(&mut bytes, 4, u32::try_from(length - 8).unwrap_or(u32::MAX));
    put16(&mut bytes, 8, 3);
    put16(&mut bytes, AT_TYPE, kind);
    put16(&mut bytes, 14, 5);
    put16(&mut bytes, AT_DATA_SIZE, u16::try_from(length - HEADER).unwrap_or(u16::MAX));
    bytes[AT_TRANSACTION] = transaction;
    bytes[AT_FLAGS] = FLAG_TRANSACTION | FLAG_REQUEST;
    bytes
}

/// What the guest answered, as the host reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The status field.
    pub status: u32,
    /// The flags of the header: an answer's are TRANSACTION and RESPONSE, 5.
    pub flags: u8,
    /// The transaction's id, as the host had chosen it.
    pub transaction: u8,
    /// The operation that was echoed; none in a negotiation.
    pub operation: Option<u8>,
    /// The flags of the VSS body.
    pub vss_flags: Option<u32>,
    /// The versions a negotiation ended with, the framework's first.
    pub versions: Vec<Version>,
}

impl Answer {
    /// Reads an answer; none if it has not even a header.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER {
            return None;
        }
        let negotiation = get16(bytes, AT_TYPE) == Some(TYPE_NEGOTIATE);
        let versions = if negotiation {
            let [frameworks, messages] = [HEADER, HEADER + 2].map(|at| usize::from(get16(bytes, at).unwrap_or(0)));
            (0..frameworks + messages)
                .map_while(|place| {
                    let at = AT_NEGOTIATED + 4 * place;
                    Some((get16(bytes, at)?, get16(bytes, at + 2)?))
                })
                .collect()
        } else {
            Vec::new()
        };
        Some(Self {
            status: get32(bytes, AT_STATUS)?,
            flags: bytes[AT_FLAGS],
            transaction: bytes[AT_TRANSACTION],
            operation: bytes.get(AT_OPERATION).copied().filter(|_| !negotiation),
            vss_flags: get32(bytes, AT_VSS_FLAGS).filter(|_| !negotiation),
            versions,
        })
    }

    /// Whether the host may go on.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == HV_S_OK
    }
}

/// What the log calls this message.
#[must_use]
pub fn name(bytes: &[u8]) -> String {
    match (get16(bytes, AT_TYPE), bytes.get(AT_OPERATION)) {
        _ if bytes.len() < HEADER => "a runt".into(),
        (Some(TYPE_NEGOTIATE), _) => "negotiate".into(),
        (Some(TYPE_VSS), Some(&HOT_BACKUP)) => "check".into(),
        (Some(TYPE_VSS), Some(&GET_DM_INFO)) => "dm-info".into(),
        (Some(TYPE_VSS), Some(&FREEZE)) => "freeze".into(),
        (Some(TYPE_VSS), Some(&THAW)) => "thaw".into(),
        (Some(TYPE_VSS), Some(other)) => format!("vss operation {other}"),
        (kind, _) => format!("type {}", kind.unwrap_or(0)),
    }
}

pub(crate) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn get16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn get32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal digits as bytes; spaces are passed over.
///
/// # Errors
/// A sentence, when it isn't pairs of hexadecimal digits.
pub fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text.split_whitespace().collect();
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) || !digits.len().is_multiple_of(2) {
        return Err(format!("\"{text}\" is not pairs of hexadecimal digits"));
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| format!("\"{text}\" is not hexadecimal")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_is_laid_out_as_hyper_v_lays_it_out() {
        assert_eq!(
            to_hex(&request(FREEZE, 7)),
            "0100000020000000 03000000 0500 05000000 0c00 00000000 07 03 0000 05 00000000000000 00000000"
                .replace(' ', "")
        );
    }

    #[test]
    fn a_negotiation_lists_framework_versions_first() {
        let bytes = negotiation(&[(1, 0), (3, 0)], &[(5, 0)], 1);
        assert_eq!(bytes.len(), 48);
        assert_eq!(Answer::read(&bytes).unwrap().versions, [(1, 0), (3, 0), (5, 0)]);
    }

    #[test]
    fn counts_that_add_up_to_more_than_sixteen_bits_are_read_as_far_as_there_are_versions() {
        let mut bytes = negotiation(&[(3, 0)], &[(5, 0)], 1);
        bytes[HEADER..HEADER + 4].fill(0xff);
        assert_eq!(Answer::read(&bytes).unwrap().versions, [(3, 0), (5, 0)]);
    }

    #[test]
    fn hexadecimal_comes_back_as_it_went_and_nonsense_is_refused() {
        assert_eq!(from_hex("00 ff 1").ok(), None);
        // The second was found by a fuzzer: a sign is a digit to from_str_radix.
        for nonsense in ["zz", "+0 0a", "0x", "é0"] {
            assert_eq!(from_hex(nonsense).ok(), None, "{nonsense}");
        }
        assert_eq!(from_hex(&to_hex(&[0, 255, 16])).unwrap(), [0, 255, 16]);
    }
}
