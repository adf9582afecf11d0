//! FreeBSD: the messages of a routing table's dump (sys/net/route.h, struct rt_msghdr).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The size of struct rt_msghdr, with the 64-bit struct rt_metrics.
const HEADER: usize = 152;
/// Addresses are padded to a multiple of a long.
const ALIGNED: usize = 8;
const AT_INDEX: usize = 4;
const AT_FLAGS: usize = 8;
const AT_ADDRESSES: usize = 12;
const RTF_UP: u32 = 1;
const RTF_GATEWAY: u32 = 2;
const RTF_HOST: u32 = 4;
const RTA_DST: u32 = 1;
const RTA_GATEWAY: u32 = 2;
const RTA_NETMASK: u32 = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 28;

/// The gateways of the default routes, each with the number of its interface. What can't be
/// understood is passed over.
pub(super) fn default_gateways(mut messages: &[u8]) -> Vec<(u16, IpAddr)> {
    let mut gateways = Vec::new();
    while let Some(length) = u16_at(messages, 0).map(usize::from).filter(|length| *length >= HEADER) {
        let Some((message, rest)) = messages.split_at_checked(length) else { break };
        gateways.extend(default_gateway(message));
        messages = rest;
    }
    gateways
}

fn default_gateway(message: &[u8]) -> Option<(u16, IpAddr)> {
    let flags = u32_at(message, AT_FLAGS)?;
    if flags & (RTF_UP | RTF_GATEWAY | RTF_HOST) != RTF_UP | RTF_GATEWAY {
        return None;
    }
    let present = u32_at(message, AT_ADDRESSES)?;
    let mut rest = message.get(HEADER..)?;
    let (mut destination, mut gateway, mut mask) = (None, None, 0);
    for address in [RTA_DST, RTA_GATEWAY, RTA_NETMASK] {
        if present & address == 0 {
            continue;
        }
        let length = usize::from(*rest.first()?);
        let padded = if length == 0 { ALIGNED } else { length.next_multiple_of(ALIGNED) };
        let bytes = rest.get(..length)?;
        match address {
            RTA_DST => destination = read(bytes),
            RTA_GATEWAY => gateway = read(bytes),
            // A mask may be shorter than its address, and then ends in zeros.
            _ => mask = bytes.iter().skip(4).map(|byte| byte.count_ones()).sum(),
        }
        rest = rest.get(padded..).unwrap_or_default();
    }
    let is_default = destination.is_some_and(|destination| destination.is_unspecified()) && mask == 0;
    gateway.filter(|_| is_default).map(|gateway| (u16_at(message, AT_INDEX).unwrap_or(0), gateway))
}

/// struct sockaddr_in or struct sockaddr_in6.
fn read(address: &[u8]) -> Option<IpAddr> {
    match *address.get(1)? {
        AF_INET => Some(Ipv4Addr::from(*address.get(4..)?.first_chunk::<4>()?).into()),
        AF_INET6 => {
            let mut bytes = *address.get(8..)?.first_chunk::<16>()?;
            // The kernel keeps a link-local address's interface in its second pair of bytes.
            if bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80 {
                (bytes[2], bytes[3]) = (0, 0);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(address: &str) -> Vec<u8> {
        let mut bytes = vec![16, AF_INET, 0, 0];
        bytes.extend(address.parse::<Ipv4Addr>().unwrap().octets());
        bytes.resize(16, 0);
        bytes
    }

    fn ipv6(address: [u8; 16]) -> Vec<u8> {
        let mut bytes = vec![28, AF_INET6, 0, 0, 0, 0, 0, 0];
        bytes.extend(address);
        bytes.resize(32, 0);
        bytes
    }

    fn message(index: u16, flags: u32, addresses: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        addresses.iter().for_each(|address| bytes.extend(address));
        let length = u16::try_from(bytes.len()).unwrap();
        bytes[..2].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&index.to_ne_bytes());
        bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
        let present = (1_u32 << addresses.len()) - 1;
        bytes[12..16].copy_from_slice(&present.to_ne_bytes());
        bytes
    }

    #[test]
    fn default_routes_through_a_gateway_are_found_among_the_others() {
        let mut link_local = [0; 16];
        (link_local[0], link_local[1], link_local[3], link_local[15]) = (0xfe, 0x80, 2, 1);
        let no_mask = vec![0; 8];
        let dump = [
            message(1, 5, &[ipv4("10.0.0.2"), ipv4("10.0.0.2")]),
            message(2, 3, &[ipv4("0.0.0.0"), ipv4("10.0.0.1"), no_mask.clone()]),
            message(2, 3, &[ipv4("0.0.0.0"), ipv4("10.0.0.9"), ipv4("128.0.0.0")]),
            message(2, 3, &[ipv4("10.1.0.0"), ipv4("10.0.0.8"), ipv4("255.255.0.0")]),
            message(3, 3, &[ipv6([0; 16]), ipv6(link_local), no_mask]),
            // Without RTF_GATEWAY: an interface is the next hop.
            message(4, 1, &[ipv4("0.0.0.0"), vec![8, 18, 0, 0, 0, 0, 0, 0], vec![0; 8]]),
        ];
        let gateways = default_gateways(&dump.concat());
        assert_eq!(gateways, [(2, "10.0.0.1".parse().unwrap()), (3, "fe80::1".parse().unwrap())]);
    }

    #[test]
    fn a_dump_that_ends_too_early_or_has_a_length_of_zero_is_read_as_far_as_it_goes() {
        let whole = message(2, 3, &[ipv4("0.0.0.0"), ipv4("10.0.0.1"), vec![0; 8]]);
        for end in 0..whole.len() {
            assert_eq!(default_gateways(&whole[..end]), []);
            // The header tells the shorter length.
            let mut cut = whole[..end].to_vec();
            if end >= HEADER {
                cut[..2].copy_from_slice(&u16::try_from(end).unwrap().to_ne_bytes());
                default_gateways(&cut);
            }
        }
        assert_eq!(default_gateways(&[0; 1000]), []);
    }
}
