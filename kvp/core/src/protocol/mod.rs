//! The message between FreeBSD's KVP driver and its daemon: 7,430 bytes, packed, text in UTF-8.
//!
//! The layout is `struct hv_kvp_msg` (sys/dev/hyperv/utilities/hv_kvp.h). A request becomes its own
//! answer: the status overlays operation and pool, and the driver remembers which operation it was.
//! The sizes in a message are not used: what the driver puts there is not the length of the text.

mod answer;
mod request;

pub use answer::{Addresses, Answer, Status};
pub use request::{Request, SetAddresses, Unfit};

/// The bytes of a message. More must never be read from the node at once.
pub const SIZE: usize = 7430;

const GET: u8 = 0;
const SET: u8 = 1;
const DELETE: u8 = 2;
const ENUMERATE: u8 = 3;
const GET_IP: u8 = 4;
const SET_IP: u8 = 5;
/// The first message of a daemon. The same number as [`GET_IP`].
const REGISTER: u8 = 4;

/// Where a field lies, and how long it is.
#[derive(Clone, Copy)]
struct Field {
    at: usize,
    size: usize,
}

const fn field(at: usize, size: usize) -> Field {
    Field { at, size }
}

const EXCHANGE_KEY: Field = field(16, 512);
const EXCHANGE_VALUE: Field = field(528, 2048);
const DELETE_KEY: Field = field(8, 512);
const ENUMERATE_INDEX: usize = 4;
const ENUMERATE_KEY: Field = field(20, 512);
const ENUMERATE_VALUE: Field = field(532, 2048);
const ADAPTER: Field = field(4, 256);
const FAMILY: usize = 260;
const DHCP: usize = 261;
const ADDRESS: Field = field(262, 2048);
const MASK: Field = field(2310, 2048);
const GATEWAY: Field = field(4358, 1024);
const DNS: Field = field(5382, 2048);

const _: () = assert!(DNS.at + DNS.size == SIZE);

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message(Box<[u8; SIZE]>);

impl Message {
    /// The message in these bytes; none unless there are exactly so many.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Some(Self(Box::new(bytes.try_into().ok()?)))
    }

    /// What a daemon writes after it has opened the node, once.
    #[must_use]
    pub fn register() -> Self {
        let mut message = Self(Box::new([0; SIZE]));
        message.0[0] = REGISTER;
        message
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; SIZE] {
        &self.0
    }

    /// What the host asks.
    #[must_use]
    pub fn request(&self) -> Request {
        request::of(self)
    }

    /// The answer to this request, as it is written to the node.
    #[must_use]
    pub fn answered(self, answer: &Answer) -> Self {
        answer::fill_in(self, answer)
    }

    fn byte(&self, at: usize) -> u8 {
        self.0[at]
    }

    fn number(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_ne_bytes(bytes)
    }

    fn put_number(&mut self, at: usize, number: u32) {
        self.0[at..at + 4].copy_from_slice(&number.to_ne_bytes());
    }

    fn field(&self, field: Field) -> &[u8] {
        &self.0[field.at..field.at + field.size]
    }

    /// A text and null bytes to the field's end. The last byte is always null: the driver takes the
    /// text's length with strlen(3).
    fn put_text(&mut self, field: Field, text: &str) {
        let length = text.floor_char_boundary(field.size - 1);
        let place = &mut self.0[field.at..field.at + field.size];
        place[..length].copy_from_slice(&text.as_bytes()[..length]);
        place[length..].fill(0);
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({:?})", self.request())
    }
}
