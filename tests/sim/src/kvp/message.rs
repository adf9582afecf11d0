//! The host's messages for the KVP service, and what it reads from the answers.

use crate::ic::{self, AT_STATUS, HEADER, get32, put32};

/// Bytes of a KVP message behind the common header.
pub const BODY: usize = 7430;
/// Statuses of an answer beside those in [`ic`]: no such key, or no more pairs.
pub const HV_S_CONT: u32 = 0x8007_0103;

/// The operations, by number.
pub const GET: u8 = 0;
/// A key gets a value.
pub const SET: u8 = 1;
/// A key is removed.
pub const DELETE: u8 = 2;
/// The pair at a place.
pub const ENUMERATE: u8 = 3;
/// An interface's addresses.
pub const GET_IP: u8 = 4;
/// Addresses for an interface.
pub const SET_IP: u8 = 5;

const TYPE_KVP: u16 = 2;
/// HV_REG_SZ.
const TEXT: u32 = 1;

/// A request of these two bytes and nothing else.
#[must_use]
pub fn empty(operation: u8, pool: u8) -> Vec<u8> {
    let mut bytes = ic::message(TYPE_KVP, HEADER + BODY, 1);
    (bytes[HEADER], bytes[HEADER + 1]) = (operation, pool);
    bytes
}

/// What is a key's value?
#[must_use]
pub fn get(pool: u8, key: &str) -> Vec<u8> {
    let mut bytes = empty(GET, pool);
    let size = put_text(&mut bytes, 16, 512, key);
    put32(&mut bytes, HEADER + 8, size);
    bytes
}

/// A key gets a value.
#[must_use]
pub fn set(pool: u8, key: &str, value: &str) -> Vec<u8> {
    let mut bytes = empty(SET, pool);
    put32(&mut bytes, HEADER + 4, TEXT);
    let size = put_text(&mut bytes, 16, 512, key);
    put32(&mut bytes, HEADER + 8, size);
    let size = put_text(&mut bytes, 528, 2048, value);
    put32(&mut bytes, HEADER + 12, size);
    bytes
}

/// A key is removed.
#[must_use]
pub fn delete(pool: u8, key: &str) -> Vec<u8> {
    let mut bytes = empty(DELETE, pool);
    let size = put_text(&mut bytes, 8, 512, key);
    put32(&mut bytes, HEADER + 4, size);
    bytes
}

/// The pair at this place?
#[must_use]
pub fn enumerate(pool: u8, index: u32) -> Vec<u8> {
    let mut bytes = empty(ENUMERATE, pool);
    put32(&mut bytes, HEADER + 4, index);
    bytes
}

/// The addresses of the interface with this hardware address?
#[must_use]
pub fn get_ip(hardware: &str) -> Vec<u8> {
    let mut bytes = empty(GET_IP, 0);
    put_text(&mut bytes, 2, 256, hardware);
    bytes
}

/// The interface gets this address.
#[must_use]
pub fn set_ip(interface: &str, address: &str, mask: &str) -> Vec<u8> {
    let mut bytes = empty(SET_IP, 0);
    put_text(&mut bytes, 2, 256, interface);
    bytes[HEADER + 258] = 1;
    put_text(&mut bytes, 260, 2048, address);
    put_text(&mut bytes, 2308, 2048, mask);
    bytes
}

/// UTF-16 with a null unit; its size in bytes.
fn put_text(bytes: &mut [u8], at: usize, room: usize, text: &str) -> u32 {
    let units: Vec<u16> = text.encode_utf16().take(room / 2 - 1).chain([0]).collect();
    for (place, unit) in units.iter().enumerate() {
        ic::put16(bytes, HEADER + at + 2 * place, *unit);
    }
    u32::try_from(2 * units.len()).unwrap_or(u32::MAX)
}

/// What the host reads of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u32,
    /// The text at 20, by its size at 12: an ENUMERATE's key.
    pub key: String,
    /// An ENUMERATE's or GET's value, by its size.
    pub value: String,
    /// A GET_IP's addresses.
    pub addresses: String,
}

/// Reads the answer to a request of this operation.
///
/// # Panics
/// When the guest tells a length that is not there.
#[must_use]
#[track_caller]
pub fn read(bytes: &[u8]) -> Answer {
    let status = get32(bytes, AT_STATUS).expect("a header");
    let sized = |at: usize, size_at: usize, room: usize| {
        let size = get32(bytes, HEADER + size_at).expect("a size") as usize;
        assert!(size <= room, "the host is told of {size} bytes where {room} are");
        text(&bytes[HEADER + at..HEADER + at + size])
    };
    let (key, value) = match (status, bytes[HEADER]) {
        (0, ENUMERATE) => (sized(20, 12, 512), sized(532, 16, 2048)),
        (0, GET) => (String::new(), sized(528, 12, 2048)),
        _ => (String::new(), String::new()),
    };
    let addresses = if bytes[HEADER] == GET_IP { text(&bytes[HEADER + 260..HEADER + 2308]) } else { String::new() };
    Answer { status, key, value, addresses }
}

fn text(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    String::from_utf16(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>()).expect("whole characters")
}
