//! What the host asks, read from a message whose content nothing vouches for.

use super::{
    ADAPTER, ADDRESS, DELETE, DELETE_KEY, DHCP, DNS, ENUMERATE, ENUMERATE_INDEX, EXCHANGE_KEY, EXCHANGE_VALUE, FAMILY,
    Field, GATEWAY, GET, GET_IP, MASK, Message, SET, SET_IP,
};

/// What the host asks. A pool is a number as the host sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The value of a key.
    Get {
        /// The pool's number.
        pool: u8,
        /// The key.
        key: String,
    },
    /// A key gets a value.
    Set {
        /// The pool's number.
        pool: u8,
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A key is removed.
    Delete {
        /// The pool's number.
        pool: u8,
        /// The key.
        key: String,
    },
    /// The pair at a place, from 0 on, until there is no more.
    Enumerate {
        /// The pool's number.
        pool: u8,
        /// The place.
        index: u32,
    },
    /// The addresses of the interface with this hardware address.
    GetAddresses {
        /// The hardware address, as text.
        adapter: String,
    },
    /// The interface gets these addresses.
    SetAddresses(SetAddresses),
    /// An operation that no daemon knows: its number.
    Unknown(u8),
    /// An operation with a text that can't be used.
    Unfit(Unfit),
}

/// Addresses that the host wants to be set; texts as it sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAddresses {
    /// The interface's name. The driver has looked it up.
    pub interface: String,
    /// 1: IPv4, 2: IPv6, 3: both.
    pub family: u8,
    /// Addresses come by DHCP.
    pub dhcp: bool,
    /// Addresses, with a semicolon between two.
    pub addresses: String,
    /// Their masks.
    pub masks: String,
    /// Gateways.
    pub gateways: String,
    /// Name servers.
    pub name_servers: String,
}

/// Why a text can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The key is empty.
    NoKey,
    /// There is no null byte in its field.
    NotTerminated,
    /// It is not UTF-8.
    NotUtf8,
}

pub(super) fn of(message: &Message) -> Request {
    let pool = message.byte(1);
    let request = match message.byte(0) {
        GET => key(message, EXCHANGE_KEY).map(|key| Request::Get { pool, key }),
        SET => key(message, EXCHANGE_KEY).and_then(|key| {
            let value = text(message, EXCHANGE_VALUE)?;
            Ok(Request::Set { pool, key, value })
        }),
        DELETE => key(message, DELETE_KEY).map(|key| Request::Delete { pool, key }),
        ENUMERATE => Ok(Request::Enumerate { pool, index: message.number(ENUMERATE_INDEX) }),
        GET_IP => text(message, ADAPTER).map(|adapter| Request::GetAddresses { adapter }),
        SET_IP => set_addresses(message).map(Request::SetAddresses),
        other => Ok(Request::Unknown(other)),
    };
    request.unwrap_or_else(Request::Unfit)
}

fn set_addresses(message: &Message) -> Result<SetAddresses, Unfit> {
    Ok(SetAddresses {
        interface: text(message, ADAPTER)?,
        family: message.byte(FAMILY),
        dhcp: message.byte(DHCP) != 0,
        addresses: text(message, ADDRESS)?,
        masks: text(message, MASK)?,
        gateways: text(message, GATEWAY)?,
        name_servers: text(message, DNS)?,
    })
}

fn key(message: &Message, field: Field) -> Result<String, Unfit> {
    text(message, field).and_then(|key| if key.is_empty() { Err(Unfit::NoKey) } else { Ok(key) })
}

fn text(message: &Message, field: Field) -> Result<String, Unfit> {
    let bytes = message.field(field);
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(Unfit::NotTerminated)?;
    std::str::from_utf8(&bytes[..end]).map(str::to_owned).map_err(|_| Unfit::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::super::SIZE;
    use super::*;

    fn message(operation: u8, pool: u8, fields: &[(usize, &[u8])]) -> Message {
        let mut bytes = vec![0; SIZE];
        (bytes[0], bytes[1]) = (operation, pool);
        fields.iter().for_each(|(at, text)| bytes[*at..at + text.len()].copy_from_slice(text));
        Message::of(&bytes).unwrap()
    }

    #[test]
    fn each_operation_is_read_from_where_the_driver_puts_it() {
        let key = || "Key".to_owned();
        assert_eq!(message(0, 1, &[(16, b"Key")]).request(), Request::Get { pool: 1, key: key() });
        let value = "Wert".to_owned();
        let set = message(1, 0, &[(16, b"Key"), (528, b"Wert\0leftover")]);
        assert_eq!(set.request(), Request::Set { pool: 0, key: key(), value });
        assert_eq!(message(2, 9, &[(8, b"Key")]).request(), Request::Delete { pool: 9, key: key() });
        let index = 0x0102_0304_u32.to_ne_bytes();
        assert_eq!(message(3, 2, &[(4, &index)]).request(), Request::Enumerate { pool: 2, index: 0x0102_0304 });
        let adapter = "00:15:5D:00:00:01".to_owned();
        assert_eq!(message(4, 0, &[(4, adapter.as_bytes())]).request(), Request::GetAddresses { adapter });
        assert_eq!(message(6, 0, &[]).request(), Request::Unknown(6));
        let set_ip = message(
            5,
            0,
            &[(4, b"hn0"), (260, &[3, 1]), (262, b"10.0.0.2;"), (2310, b"/8"), (4358, b"10.0.0.1"), (5382, b"::1")],
        );
        let expected = SetAddresses {
            interface: "hn0".into(),
            family: 3,
            dhcp: true,
            addresses: "10.0.0.2;".into(),
            masks: "/8".into(),
            gateways: "10.0.0.1".into(),
            name_servers: "::1".into(),
        };
        assert_eq!(set_ip.request(), Request::SetAddresses(expected));
    }

    #[test]
    fn a_text_without_an_end_or_not_utf_8_and_an_empty_key_are_unfit() {
        let unfit = |message: Message| match message.request() {
            Request::Unfit(unfit) => unfit,
            other => panic!("{other:?}"),
        };
        assert_eq!(unfit(message(0, 1, &[])), Unfit::NoKey);
        assert_eq!(unfit(message(2, 1, &[])), Unfit::NoKey);
        assert_eq!(unfit(message(1, 1, &[(16, &[b'x'; 512])])), Unfit::NotTerminated);
        assert_eq!(unfit(message(1, 1, &[(16, b"k"), (528, &[b'x'; 2048])])), Unfit::NotTerminated);
        assert_eq!(unfit(message(0, 1, &[(16, b"\xff")])), Unfit::NotUtf8);
        assert_eq!(unfit(message(5, 1, &[(4, b"hn0"), (5382, &[b'x'; 2048])])), Unfit::NotTerminated);
    }

    #[test]
    fn what_has_not_the_size_of_a_message_is_none() {
        for size in [0, 1, SIZE - 1, SIZE + 1] {
            assert_eq!(Message::of(&vec![0; size]), None);
        }
    }
}
