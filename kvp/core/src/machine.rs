//! What the daemon is told of its machine.

use core::net::IpAddr;

use hv_vss_types::{Gateway, Interface, System};

/// What the kernel tells without a look at a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// gethostname(3).
    pub host_name: String,
    /// uname(3).
    pub system: System,
    /// All interfaces.
    pub interfaces: Vec<Interface>,
    /// The default routes.
    pub gateways: Vec<Gateway>,
}

/// What stands in files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The name servers of resolv.conf(5).
    pub name_servers: Vec<IpAddr>,
    /// The interfaces for which a DHCP client runs.
    pub by_dhcp: Vec<String>,
}
