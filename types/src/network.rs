//! What a machine is and how it can be reached.

use core::net::IpAddr;

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `hn0`.
    pub name: String,
    /// It is up.
    pub is_up: bool,
    /// It reaches this machine only.
    pub is_loopback: bool,
    /// Its Ethernet address, if it has one.
    pub hardware: Option<[u8; 6]>,
    /// Its addresses with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// A default route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The interface that it leads through.
    pub interface: String,
    /// The next hop.
    pub address: IpAddr,
}

/// The operating system, as uname(3) has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Such as `FreeBSD`.
    pub name: String,
    /// Such as `14.0-RELEASE-p5`.
    pub release: String,
    /// Such as `amd64`.
    pub machine: String,
}
