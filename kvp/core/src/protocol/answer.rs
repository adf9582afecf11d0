//! What the host is answered.

use super::{
    ADDRESS, DHCP, DNS, ENUMERATE, ENUMERATE_KEY, ENUMERATE_VALUE, EXCHANGE_VALUE, FAMILY, Field, GATEWAY, GET, GET_IP,
    MASK, Message,
};

/// The status of an answer, as Hyper-V numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was done.
    Ok,
    /// It was not.
    Failed,
    /// This daemon does not do that.
    NotSupported,
    /// There is no such key, or no pair at that place.
    NoMore,
}

impl Status {
    /// Its number (sys/dev/hyperv/utilities/hv_utilreg.h).
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Ok => 0,
            Self::Failed => 0x8000_4005,
            Self::NotSupported => 0x8007_0032,
            Self::NoMore => 0x8007_0103,
        }
    }
}

/// What the host is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No more than a status.
    Status(Status),
    /// To a GET.
    Value(String),
    /// To an ENUMERATE: key and value.
    Pair(String, String),
    /// To a GET_IP.
    Addresses(Addresses),
}

/// The addresses of an interface, each list with a semicolon behind each entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// 1: IPv4, 2: IPv6, 3: both.
    pub family: u8,
    /// They come by DHCP.
    pub dhcp: bool,
    /// The addresses.
    pub addresses: String,
    /// A mask for each: `255.255.255.0`, or `/64`.
    pub masks: String,
    /// The default gateways through this interface.
    pub gateways: String,
    /// The machine's name servers.
    pub name_servers: String,
}

impl Answer {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Status(status) => *status,
            _ => Status::Ok,
        }
    }
}

pub(super) fn fill_in(mut message: Message, answer: &Answer) -> Message {
    // What the host sent must not come back as a value. The driver reads these fields in any case.
    let empty: &[Field] = match message.byte(0) {
        GET => &[EXCHANGE_VALUE],
        ENUMERATE => &[ENUMERATE_KEY, ENUMERATE_VALUE],
        GET_IP => &[ADDRESS, MASK, GATEWAY, DNS],
        _ => &[],
    };
    empty.iter().for_each(|field| message.put_text(*field, ""));
    match answer {
        Answer::Status(_) => {}
        Answer::Value(value) => message.put_text(EXCHANGE_VALUE, value),
        Answer::Pair(key, value) => {
            message.put_text(ENUMERATE_KEY, key);
            message.put_text(ENUMERATE_VALUE, value);
        }
        Answer::Addresses(addresses) => {
            message.0[FAMILY] = addresses.family;
            message.0[DHCP] = addresses.dhcp.into();
            message.put_text(ADDRESS, &addresses.addresses);
            message.put_text(MASK, &addresses.masks);
            message.put_text(GATEWAY, &addresses.gateways);
            message.put_text(DNS, &addresses.name_servers);
        }
    }
    message.put_number(0, answer.status().number());
    message
}

#[cfg(test)]
mod tests {
    use super::super::SIZE;
    use super::*;

    fn request(operation: u8) -> Message {
        let mut bytes = vec![0xa5; SIZE];
        bytes[0] = operation;
        Message::of(&bytes).unwrap()
    }

    fn text(message: &Message, at: usize) -> &str {
        let bytes = &message.bytes()[at..];
        std::str::from_utf8(&bytes[..bytes.iter().position(|byte| *byte == 0).unwrap()]).unwrap()
    }

    /// GET always answers an empty value, in FreeBSD's hv_kvp_daemon.
    #[test]
    fn a_get_is_answered_with_the_value() {
        let answer = request(0).answered(&Answer::Value("a value".into()));
        assert_eq!((&answer.bytes()[..4], text(&answer, 528)), (&[0; 4][..], "a value"));
    }

    #[test]
    fn a_pair_and_addresses_lie_where_the_driver_reads_them() {
        let answer = request(3).answered(&Answer::Pair("Key".into(), "Value".into()));
        assert_eq!((text(&answer, 20), text(&answer, 532)), ("Key", "Value"));
        let addresses = Addresses {
            family: 3,
            dhcp: true,
            addresses: "10.0.0.2;".into(),
            masks: "255.0.0.0;".into(),
            gateways: "10.0.0.1;".into(),
            name_servers: "10.0.0.53;".into(),
        };
        let answer = request(4).answered(&Answer::Addresses(addresses));
        assert_eq!(&answer.bytes()[260..262], [3, 1]);
        for (at, expected) in [(262, "10.0.0.2;"), (2310, "255.0.0.0;"), (4358, "10.0.0.1;"), (5382, "10.0.0.53;")] {
            assert_eq!(text(&answer, at), expected);
        }
    }

    #[test]
    fn with_a_failure_nothing_of_the_request_comes_back_as_a_value() {
        for (operation, fields) in [(0, &[528][..]), (3, &[20, 532]), (4, &[262, 2310, 4358, 5382])] {
            let answer = request(operation).answered(&Answer::Status(Status::NoMore));
            assert_eq!(answer.bytes()[..4], 0x8007_0103_u32.to_ne_bytes());
            fields.iter().for_each(|at| assert_eq!(text(&answer, *at), ""));
        }
    }

    #[test]
    fn a_text_that_is_too_long_still_ends_within_its_field() {
        let answer = request(3).answered(&Answer::Pair("k".repeat(600), "€".repeat(2000)));
        assert_eq!((text(&answer, 20).len(), text(&answer, 532).len()), (511, 2046));
    }
}
