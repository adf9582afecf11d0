//! GET_IP: the addresses of the interface that the host names by its hardware address.

use core::net::{IpAddr, Ipv4Addr};

use hv_vss_types::Interface;

use crate::computed::list;
use crate::machine::{Files, Machine};
use crate::protocol::Addresses;

/// The sizes of the host's fields, in UTF-16 units twice over: the driver tells no length, so the
/// last unit of each has to stay zero.
const ADDRESSES: usize = 2048;
const GATEWAYS: usize = 1024;

const IPV4: u8 = 1;
const IPV6: u8 = 2;

/// The addresses of an interface; none: no interface has this hardware address.
pub(crate) fn of(adapter: &str, machine: &Machine, files: &Files) -> Option<Addresses> {
    let hardware = hardware_address(adapter)?;
    let interface = machine.interfaces.iter().find(|interface| interface.hardware == Some(hardware))?;
    let families = interface.addresses.iter().map(|(address, _)| if address.is_ipv4() { IPV4 } else { IPV6 });
    let gateways = machine.gateways.iter().filter(|gateway| gateway.interface == interface.name);
    Some(Addresses {
        family: families.fold(0, |family, more| family | more),
        dhcp: files.by_dhcp.contains(&interface.name),
        addresses: list(interface.addresses.iter().map(|(address, _)| address), ADDRESSES),
        masks: list(masks(interface), ADDRESSES),
        gateways: list(gateways.map(|gateway| gateway.address), GATEWAYS),
        name_servers: list(files.name_servers.iter(), ADDRESSES),
    })
}

/// As many as there are addresses, in their order.
fn masks(interface: &Interface) -> impl Iterator<Item = String> {
    interface.addresses.iter().map(|(address, prefix)| match address {
        IpAddr::V4(_) => mask(*prefix).to_string(),
        IpAddr::V6(_) => format!("/{prefix}"),
    })
}

fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

/// Six octets in hexadecimal, with colons or dashes between them.
fn hardware_address(text: &str) -> Option<[u8; 6]> {
    let mut octets = text.split([':', '-']).map(|octet| match octet.len() {
        // A sign would be a digit to from_str_radix.
        1 | 2 if octet.bytes().all(|digit| digit.is_ascii_hexdigit()) => u8::from_str_radix(octet, 16).ok(),
        _ => None,
    });
    let mut address = [0; 6];
    for place in &mut address {
        *place = octets.next()??;
    }
    octets.next().is_none().then_some(address)
}

#[cfg(test)]
mod tests {
    use hv_vss_types::Gateway;

    use super::*;

    const HN1: [u8; 6] = [0, 0x15, 0x5d, 0, 0, 1];

    fn machine() -> Machine {
        let interface = |name: &str, last: u8, addresses: &[(&str, u8)]| Interface {
            name: name.into(),
            is_up: true,
            hardware: Some([0, 0x15, 0x5d, 0, 0, last]),
            addresses: addresses.iter().map(|(address, prefix)| (address.parse().unwrap(), *prefix)).collect(),
            ..Interface::default()
        };
        let gateway =
            |interface: &str, address: &str| Gateway { interface: interface.into(), address: address.parse().unwrap() };
        Machine {
            interfaces: vec![
                interface("hn10", 0x10, &[("10.10.0.2", 8)]),
                interface("hn1", 1, &[("10.1.0.2", 22), ("fd00::2", 64)]),
                interface("hn2", 2, &[]),
            ],
            gateways: vec![gateway("hn10", "10.10.0.1"), gateway("hn1", "10.1.0.1"), gateway("hn1", "fe80::1")],
            ..Machine::default()
        }
    }

    fn files() -> Files {
        Files { name_servers: vec!["10.0.0.53".parse().unwrap()], by_dhcp: vec!["hn10".into()] }
    }

    /// Interface hn1 matches hn10, in FreeBSD's hv_kvp_daemon.
    #[test]
    fn an_interface_is_asked_for_by_its_hardware_address_and_no_other_is_meant() {
        let expected = Addresses {
            family: 3,
            dhcp: false,
            addresses: "10.1.0.2;fd00::2;".into(),
            masks: "255.255.252.0;/64;".into(),
            gateways: "10.1.0.1;fe80::1;".into(),
            name_servers: "10.0.0.53;".into(),
        };
        for adapter in ["00:15:5D:00:00:01", "00-15-5d-00-00-01", "0:15:5d:0:0:1"] {
            assert_eq!(of(adapter, &machine(), &files()), Some(expected.clone()), "{adapter}");
        }
        let other = of("00:15:5d:00:00:10", &machine(), &files()).unwrap();
        assert_eq!((other.addresses.as_str(), other.dhcp), ("10.10.0.2;", true));
    }

    #[test]
    fn an_empty_address_or_the_beginning_of_one_is_no_interface() {
        for adapter in
            ["", "00", "00:15:5D:00:00", "00:15:5D:00:00:01:02", "{guid}", "+0:15:5D:00:00:01", "00:15:5D:00:00:7"]
        {
            assert_eq!(of(adapter, &machine(), &files()), None, "{adapter}");
        }
        assert_eq!(hardware_address("00:15:5D:00:00:01"), Some(HN1));
    }

    /// NULL dereferences in three places, in FreeBSD's hv_kvp_daemon.
    #[test]
    fn an_interface_without_addresses_and_a_machine_without_interfaces_are_answered() {
        let none = of("00:15:5d:00:00:02", &machine(), &Files::default()).unwrap();
        assert_eq!(none, Addresses::default());
        assert_eq!(of("00:15:5d:00:00:02", &Machine::default(), &Files::default()), None);
    }

    #[test]
    fn every_length_of_a_prefix_has_its_mask() {
        assert_eq!(mask(0), Ipv4Addr::UNSPECIFIED);
        assert_eq!((mask(32), mask(200)), (Ipv4Addr::BROADCAST, Ipv4Addr::BROADCAST));
        assert_eq!(mask(25).to_string(), "255.255.255.128");
    }
}
