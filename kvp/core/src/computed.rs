//! The pairs of the pool that no file has: what the host shows of this guest.

use core::fmt::Display;
use core::net::IpAddr;

use crate::machine::Machine;
use crate::records::VALUE_SIZE;
use crate::text::{fitting, holds};

/// The pairs in the order in which the host has always been told them. `domain_name` is the
/// machine's full name, as far as it is known.
#[must_use]
pub fn pairs(machine: &Machine, domain_name: Option<&str>) -> Vec<(&'static str, String)> {
    let system = &machine.system;
    // The host expects a version as numbers with dots.
    let version = system.release.split('-').next().unwrap_or_default();
    let mut numbers = version.split('.');
    let mut number = || numbers.next().unwrap_or_default();
    let (major, minor) = (number(), number());
    let pairs = [
        ("FullyQualifiedDomainName", domain_name.unwrap_or(&machine.host_name).to_owned()),
        // The drivers that Hyper-V calls integration services are a part of the kernel.
        ("IntegrationServicesVersion", system.release.clone()),
        ("NetworkAddressIPv4", addresses(machine, IpAddr::is_ipv4)),
        ("NetworkAddressIPv6", addresses(machine, IpAddr::is_ipv6)),
        ("OSBuildNumber", version.to_owned()),
        ("OSName", system.name.clone()),
        ("OSMajorVersion", major.to_owned()),
        ("OSMinorVersion", minor.to_owned()),
        ("OSVersion", version.to_owned()),
        ("ProcessorArchitecture", system.machine.clone()),
    ];
    pairs.map(|(key, value)| (key, fitting(&value))).to_vec()
}

/// The addresses by which others reach this machine.
fn addresses(machine: &Machine, is_wanted: impl Fn(&IpAddr) -> bool) -> String {
    let interfaces = machine.interfaces.iter().filter(|interface| interface.is_up && !interface.is_loopback);
    let addresses = interfaces.flat_map(|interface| &interface.addresses).map(|(address, _)| *address);
    list(addresses.filter(|address| is_wanted(address) && !address.is_loopback()), VALUE_SIZE)
}

/// Each entry with a semicolon behind it, as many whole ones as a field of this size takes.
pub(crate) fn list(entries: impl Iterator<Item = impl Display>, size: usize) -> String {
    let mut list = String::new();
    for entry in entries {
        let longer = format!("{list}{entry};");
        if !holds(&longer, size) {
            break;
        }
        list = longer;
    }
    list
}

#[cfg(test)]
mod tests {
    use hv_vss_types::{Interface, System};

    use super::*;

    pub(crate) fn machine() -> Machine {
        let interface = |name: &str, addresses: &[&str]| Interface {
            name: name.into(),
            is_up: true,
            is_loopback: name == "lo0",
            hardware: None,
            addresses: addresses.iter().map(|address| (address.parse().unwrap(), 24)).collect(),
        };
        Machine {
            host_name: "web1".into(),
            system: System { name: "FreeBSD".into(), release: "14.0-RELEASE-p5".into(), machine: "amd64".into() },
            interfaces: vec![
                interface("lo0", &["127.0.0.1", "::1", "10.9.9.9"]),
                interface("hn0", &["10.0.0.2", "fe80::1", "10.0.0.3"]),
                Interface { is_up: false, ..interface("hn1", &["10.1.0.2"]) },
            ],
            gateways: vec![],
        }
    }

    fn value(pairs: &[(&'static str, String)], key: &str) -> String {
        pairs.iter().find(|(have, _)| *have == key).unwrap().1.clone()
    }

    #[test]
    fn there_are_ten_pairs_in_the_order_that_the_host_counts_them_by() {
        let pairs = pairs(&machine(), Some("web1.example.org"));
        let keys: Vec<&str> = pairs.iter().map(|(key, _)| *key).collect();
        assert_eq!(
            keys,
            [
                "FullyQualifiedDomainName",
                "IntegrationServicesVersion",
                "NetworkAddressIPv4",
                "NetworkAddressIPv6",
                "OSBuildNumber",
                "OSName",
                "OSMajorVersion",
                "OSMinorVersion",
                "OSVersion",
                "ProcessorArchitecture"
            ]
        );
        for (key, expected) in [
            ("FullyQualifiedDomainName", "web1.example.org"),
            ("IntegrationServicesVersion", "14.0-RELEASE-p5"),
            ("OSBuildNumber", "14.0"),
            ("OSMajorVersion", "14"),
            ("OSMinorVersion", "0"),
            ("ProcessorArchitecture", "amd64"),
        ] {
            assert_eq!(value(&pairs, key), expected);
        }
    }

    /// Loopback reported, in FreeBSD's hv_kvp_daemon.
    #[test]
    fn neither_loopback_nor_what_is_down_is_an_address_of_the_machine() {
        let pairs = pairs(&machine(), None);
        assert_eq!(value(&pairs, "NetworkAddressIPv4"), "10.0.0.2;10.0.0.3;");
        assert_eq!(value(&pairs, "NetworkAddressIPv6"), "fe80::1;");
    }

    /// An error text sent as the FQDN, in FreeBSD's hv_kvp_daemon.
    #[test]
    fn a_name_that_is_not_resolved_is_the_host_name_and_no_error_text() {
        assert_eq!(value(&pairs(&machine(), None), "FullyQualifiedDomainName"), "web1");
    }

    #[test]
    fn more_addresses_than_the_field_takes_are_left_out_whole() {
        let mut machine = machine();
        machine.interfaces[1].addresses =
            (0..2000).map(|at| (format!("10.0.{}.{}", at / 250, at % 250).parse().unwrap(), 8)).collect();
        let list = value(&pairs(&machine, None), "NetworkAddressIPv4");
        assert!(list.len() <= 1022 && list.len() > 1000 && list.ends_with(';'), "{list}");
        assert!(list.split_terminator(';').all(|address| address.parse::<IpAddr>().is_ok()), "{list}");
    }

    #[test]
    fn a_machine_without_anything_has_empty_values() {
        let pairs = pairs(&Machine::default(), None);
        assert!(pairs.len() == 10 && pairs.iter().all(|(_, value)| value.is_empty()));
    }
}
