//! SET_IP: what the host wants an interface to be set to, checked word by word. Only addresses that
//! were parsed here reach a script.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::machine::Machine;
use crate::protocol::SetAddresses;

/// More than this no host sets.
const MOST: usize = 16;

/// What an interface is to be set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    interface: String,
    dhcp: bool,
    addresses: Vec<(IpAddr, u8)>,
    gateways: Vec<IpAddr>,
    name_servers: Vec<IpAddr>,
}

impl Settings {
    /// Checks what the host sent.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn of(set: &SetAddresses, machine: &Machine) -> Result<Self, String> {
        // The name is one that the kernel gave to an interface of this machine, and so is clean.
        let known =
            machine.interfaces.iter().any(|interface| interface.name == set.interface && !interface.is_loopback);
        if !known || !is_clean(&set.interface) {
            return Err(format!("there is no interface \"{}\"", set.interface.escape_default()));
        }
        let addresses = usable("address", &set.addresses)?;
        let masks: Vec<&str> = entries(&set.masks).collect();
        if set.dhcp && addresses.is_empty() && masks.is_empty() {
            let (gateways, name_servers) =
                (usable("gateway", &set.gateways)?, usable("name server", &set.name_servers)?);
            return Ok(Self {
                interface: set.interface.clone(),
                dhcp: true,
                addresses: vec![],
                gateways,
                name_servers,
            });
        }
        if addresses.is_empty() {
            return Err("there is no address, and not DHCP either".into());
        }
        if masks.len() != addresses.len() {
            return Err(format!("there are {} addresses and {} masks", addresses.len(), masks.len()));
        }
        let prefixes = addresses.iter().zip(masks).map(|(address, mask)| Ok((*address, prefix(address, mask)?)));
        Ok(Self {
            interface: set.interface.clone(),
            dhcp: set.dhcp,
            addresses: prefixes.collect::<Result<_, String>>()?,
            gateways: usable("gateway", &set.gateways)?,
            name_servers: usable("name server", &set.name_servers)?,
        })
    }

    /// The arguments of the script, one word each.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments =
            vec![format!("interface={}", self.interface), format!("dhcp={}", if self.dhcp { "yes" } else { "no" })];
        arguments.extend(self.addresses.iter().map(|(address, prefix)| format!("address={address}/{prefix}")));
        arguments.extend(self.gateways.iter().map(|address| format!("gateway={address}")));
        arguments.extend(self.name_servers.iter().map(|address| format!("nameserver={address}")));
        arguments
    }
}

/// A name as interfaces have it: letters, digits, and a few marks of renamed ones.
fn is_clean(name: &str) -> bool {
    let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() < 16 && !name.starts_with(['-', '.']) && name.chars().all(clean)
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split([';', ',']).map(str::trim).filter(|entry| !entry.is_empty())
}

fn usable(what: &str, list: &str) -> Result<Vec<IpAddr>, String> {
    let addresses = entries(list).map(|entry| {
        let address: IpAddr =
            entry.parse().map_err(|_| format!("\"{}\" is not an address, as a {what}", entry.escape_default()))?;
        let unusable = address.is_unspecified() || address.is_multicast() || address == Ipv4Addr::BROADCAST
            // A resolver on this machine is a name server like any other.
            || (address.is_loopback() && what != "name server");
        if unusable { Err(format!("{address} can't be a {what}")) } else { Ok(address) }
    });
    let addresses: Vec<IpAddr> = addresses.collect::<Result<_, _>>()?;
    if addresses.len() > MOST { Err(format!("there are more than {MOST} entries, as a {what}")) } else { Ok(addresses) }
}

/// `255.255.255.0`, `/24` or `24`; for IPv6 also `ffff:ffff::`.
fn prefix(address: &IpAddr, mask: &str) -> Result<u8, String> {
    let (most, bits) = match address {
        IpAddr::V4(_) => (32, mask.parse::<Ipv4Addr>().ok().and_then(|mask| length(mask.to_bits().into(), 32))),
        IpAddr::V6(_) => (128, mask.parse::<Ipv6Addr>().ok().and_then(|mask| length(mask.to_bits(), 128))),
    };
    let digits = mask.strip_prefix('/').unwrap_or(mask);
    let number = || Some(digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?.parse().ok();
    let prefix = bits.or_else(number).filter(|prefix| (1..=most).contains(prefix));
    prefix.ok_or_else(|| format!("\"{}\" is no mask for {address}", mask.escape_default()))
}

/// The length of a mask without gaps.
fn length(mask: u128, width: u32) -> Option<u8> {
    let ones = (mask << (128 - width)).leading_ones();
    (mask.count_ones() == ones).then(|| u8::try_from(ones).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use hv_vss_types::Interface;

    use super::*;

    fn machine() -> Machine {
        let interface =
            |name: &str| Interface { name: name.into(), is_loopback: name == "lo0", ..Interface::default() };
        Machine { interfaces: ["lo0", "hn0", "a;b"].map(interface).to_vec(), ..Machine::default() }
    }

    fn asked() -> SetAddresses {
        SetAddresses {
            interface: "hn0".into(),
            family: 3,
            dhcp: false,
            addresses: "10.0.0.5;fd00::5;".into(),
            masks: "255.255.255.0;/64".into(),
            gateways: "10.0.0.1".into(),
            name_servers: "10.0.0.53;127.0.0.1".into(),
        }
    }

    fn refused(set: SetAddresses) -> String {
        Settings::of(&set, &machine()).unwrap_err()
    }

    #[test]
    fn addresses_become_arguments_one_word_each() {
        let settings = Settings::of(&asked(), &machine()).unwrap();
        assert_eq!(
            settings.arguments(),
            [
                "interface=hn0",
                "dhcp=no",
                "address=10.0.0.5/24",
                "address=fd00::5/64",
                "gateway=10.0.0.1",
                "nameserver=10.0.0.53",
                "nameserver=127.0.0.1"
            ]
        );
        let empty = || String::new();
        let dhcp = SetAddresses {
            dhcp: true,
            addresses: empty(),
            masks: empty(),
            gateways: empty(),
            name_servers: empty(),
            ..asked()
        };
        assert_eq!(Settings::of(&dhcp, &machine()).unwrap().arguments(), ["interface=hn0", "dhcp=yes"]);
    }

    /// SET_IP writes the host's text unquoted into a file that a root shell script reads, in
    /// FreeBSD's hv_kvp_daemon.
    #[test]
    fn a_text_that_is_no_address_reaches_no_script() {
        for text in [
            "10.0.0.5`id`",
            "$(reboot)",
            "10.0.0.5\nhn0",
            "10.0.0",
            "10.0.0.5/24",
            "::ffff:g",
            "-x",
            "0.0.0.0",
            "224.0.0.1",
            "127.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            for set in [
                SetAddresses { addresses: format!("{text};fd00::5"), ..asked() },
                SetAddresses { gateways: text.into(), ..asked() },
            ] {
                refused(set);
            }
        }
        refused(SetAddresses { name_servers: "$(id)".into(), ..asked() });
        for interface in ["", "hn1", "hn", "lo0", "a;b", "../hn0"] {
            assert!(refused(SetAddresses { interface: interface.into(), ..asked() }).contains("no interface"));
        }
    }

    #[test]
    fn masks_have_no_gaps_and_are_as_many_as_addresses() {
        for masks in
            ["255.255.255.0", "255.0.255.0;/64", "255.255.255.0;/129", "255.255.255.0;+64", "0.0.0.0;64", "33;64", ""]
        {
            refused(SetAddresses { masks: masks.into(), ..asked() });
        }
        for (masks, expected) in
            [("24;64", "10.0.0.5/24"), ("/32;ffff:ffff::", "10.0.0.5/32"), ("128.0.0.0;/1", "10.0.0.5/1")]
        {
            let settings = Settings::of(&SetAddresses { masks: masks.into(), ..asked() }, &machine()).unwrap();
            assert_eq!(settings.arguments()[2], format!("address={expected}"));
        }
    }

    #[test]
    fn a_list_that_no_host_sends_is_refused() {
        let many = "10.0.0.1;".repeat(17);
        assert!(refused(SetAddresses { gateways: many, ..asked() }).contains("more than 16"));
        refused(SetAddresses { addresses: String::new(), ..asked() });
    }
}
