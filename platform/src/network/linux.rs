//! Linux: routes by /proc/net.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hv_vss_types::Gateway;

/// `%` is the interface.
pub(super) const DHCP_PID_FILES: &[&str] = &["/run/dhclient.%.pid", "/run/dhcpcd/%.pid"];

pub(super) fn gateways() -> io::Result<Vec<Gateway>> {
    let ipv4 = fs::read_to_string("/proc/net/route")?;
    // A kernel without IPv6 has no such file.
    let ipv6 = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let ipv4 = ipv4.lines().skip(1).filter_map(of_ipv4);
    Ok(ipv4.chain(ipv6.lines().filter_map(of_ipv6)).collect())
}

/// `eth0 00000000 0100000A 0003 ...`: interface, destination, gateway, flags, ..., mask.
fn of_ipv4(line: &str) -> Option<Gateway> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [interface, "00000000", gateway, ..] = words[..] else { return None };
    let bits = u32::from_str_radix(gateway, 16).ok().filter(|bits| *bits != 0)?;
    let is_default = words.get(7) == Some(&"00000000");
    let address = IpAddr::V4(Ipv4Addr::from(bits.to_ne_bytes()));
    is_default.then(|| Gateway { interface: interface.to_owned(), address })
}

/// Destination, its prefix, source, its prefix, next hop, ..., interface.
fn of_ipv6(line: &str) -> Option<Gateway> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "00", _, _, gateway, .., interface] = words[..] else { return None };
    let bits = u128::from_str_radix(gateway, 16).ok().filter(|bits| *bits != 0)?;
    Some(Gateway { interface: interface.to_owned(), address: IpAddr::V6(Ipv6Addr::from_bits(bits)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_is_read_and_no_other() {
        let gateway = of_ipv4("eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0").unwrap();
        assert_eq!(gateway, Gateway { interface: "eth0".into(), address: "192.168.1.1".parse().unwrap() });
        assert_eq!(of_ipv4("eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0"), None);
        assert_eq!(of_ipv4("eth0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0"), None);
        let zero = "0".repeat(32);
        let line =
            format!("{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0");
        assert_eq!(of_ipv6(&line).unwrap().address, "fe80::1".parse::<IpAddr>().unwrap());
        assert_eq!(of_ipv6(&line.replace("fe800000000000000000000000000001", &zero)), None);
        assert_eq!(of_ipv6(""), None);
    }
}
