//! FreeBSD: routes by sysctl(3) net.route.

use std::io;

use hv_vss_types::Gateway;
use nix::libc::{CTL_NET, NET_RT_DUMP, PF_ROUTE};
use nix::net::if_::if_indextoname;

use super::rtsock;
use crate::sysctl_freebsd;

/// Of dhclient(8), as rc.d/dhclient and as older scripts name them, and of dhcpcd. `%` is the
/// interface.
pub(super) const DHCP_PID_FILES: &[&str] =
    &["/var/run/dhclient/dhclient.%.pid", "/var/run/dhclient.%.pid", "/var/run/dhcpcd/%.pid", "/var/run/dhcpcd-%.pid"];

pub(super) fn gateways() -> io::Result<Vec<Gateway>> {
    let messages = sysctl_freebsd::bytes(&[CTL_NET, PF_ROUTE, 0, 0, NET_RT_DUMP, 0])?;
    let named = |(index, address)| {
        // An interface may go in between.
        let interface = if_indextoname(u32::from(index)).ok()?.into_string().ok()?;
        Some(Gateway { interface, address })
    };
    Ok(rtsock::default_gateways(&messages).into_iter().filter_map(named).collect())
}
