//! What this machine is, and how it is reached: interfaces, default routes, names, name servers.
//!
//! Interfaces, routes, host name and system come from the kernel. The functions that read files say
//! so: they must not be called while filesystems are frozen.

mod name;
mod resolv;
#[cfg(any(target_os = "freebsd", test))]
mod rtsock;

use std::collections::BTreeMap;
use std::path::Path;

use hv_vss_types::{Gateway, Interface, System};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::signal::kill;
use nix::unistd::Pid;

pub use name::full_name;
pub use resolv::name_servers;

use crate::{OsError, Result};

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod of_system;

/// All interfaces with their addresses, in the kernel's order.
///
/// # Errors
/// When the kernel doesn't tell.
pub fn interfaces() -> Result<Vec<Interface>> {
    let entries = getifaddrs().map_err(|errno| OsError::new("list the network interfaces", errno))?;
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries {
        let at = *places.entry(entry.interface_name.clone()).or_insert_with(|| {
            interfaces.push(Interface { name: entry.interface_name.clone(), ..Interface::default() });
            interfaces.len() - 1
        });
        add(&mut interfaces[at], &entry);
    }
    Ok(interfaces)
}

/// An entry can be without an address.
fn add(interface: &mut Interface, entry: &InterfaceAddress) {
    interface.is_up |= entry.flags.contains(InterfaceFlags::IFF_UP);
    interface.is_loopback |= entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
    let Some(address) = &entry.address else { return };
    if let Some(link) = address.as_link_addr() {
        interface.hardware = link.addr().filter(|hardware| *hardware != [0; 6]);
    } else if let Some(address) = address.as_sockaddr_in() {
        let mask = entry.netmask.as_ref().and_then(|mask| mask.as_sockaddr_in());
        let prefix = mask.map_or(32, |mask| mask.ip().to_bits().leading_ones());
        interface.addresses.push((address.ip().into(), length(prefix)));
    } else if let Some(address) = address.as_sockaddr_in6() {
        let mask = entry.netmask.as_ref().and_then(|mask| mask.as_sockaddr_in6());
        let prefix = mask.map_or(128, |mask| mask.ip().to_bits().leading_ones());
        interface.addresses.push((address.ip().into(), length(prefix)));
    }
}

fn length(prefix: u32) -> u8 {
    u8::try_from(prefix).unwrap_or(u8::MAX)
}

/// The default routes that lead through a gateway.
///
/// # Errors
/// When the kernel doesn't tell.
pub fn gateways() -> Result<Vec<Gateway>> {
    of_system::gateways().map_err(|error| OsError::new("list the routes", error))
}

/// uname(3).
///
/// # Errors
/// When the kernel doesn't tell.
pub fn system() -> Result<System> {
    let names = nix::sys::utsname::uname().map_err(|errno| OsError::new("learn which system this is", errno))?;
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    Ok(System { name: text(names.sysname()), release: text(names.release()), machine: text(names.machine()) })
}

/// gethostname(3). Empty where none is set.
#[must_use]
pub fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// For which of these interfaces a DHCP client runs, by its pid file. Reads files.
#[must_use]
pub fn by_dhcp<'a>(interfaces: impl Iterator<Item = &'a str>) -> Vec<String> {
    let served = interfaces.filter(|name| {
        let files = of_system::DHCP_PID_FILES.iter().map(|file| file.replace("%", name));
        files.into_iter().any(|file| is_alive(Path::new(&file)))
    });
    served.map(str::to_owned).collect()
}

/// Whether the process of this pid file is there. Who may not signal it sees that it is.
fn is_alive(pid_file: &Path) -> bool {
    let text = std::fs::read_to_string(pid_file).unwrap_or_default();
    let pid = text.trim().parse().ok().filter(|pid: &i32| *pid > 1);
    pid.is_some_and(|pid| matches!(kill(Pid::from_raw(pid), None), Ok(()) | Err(nix::errno::Errno::EPERM)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback_interface_with_an_address_of_eight_bits() {
        let interfaces = interfaces().unwrap();
        let loopback = interfaces.iter().find(|interface| interface.is_loopback).expect("lo or lo0");
        assert!(loopback.is_up && loopback.hardware.is_none(), "{loopback:?}");
        assert!(loopback.addresses.contains(&("127.0.0.1".parse().unwrap(), 8)), "{loopback:?}");
        let mut names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), interfaces.len(), "each once");
    }

    #[test]
    fn every_gateway_leads_through_an_interface_that_is_there() {
        let interfaces = interfaces().unwrap();
        for gateway in gateways().unwrap() {
            assert!(interfaces.iter().any(|interface| interface.name == gateway.interface), "{gateway:?}");
            assert!(!gateway.address.is_unspecified(), "{gateway:?}");
        }
    }

    #[test]
    fn the_system_has_a_name_and_a_release() {
        let system = system().unwrap();
        assert!(system.name == "FreeBSD" || system.name == "Linux", "{system:?}");
        assert!(system.release.starts_with(|c: char| c.is_ascii_digit()) && !system.machine.is_empty(), "{system:?}");
    }

    #[test]
    fn a_dhcp_client_is_seen_by_its_living_process_only() {
        let file = std::env::temp_dir().join(format!("hv_vss-dhcp-{}", std::process::id()));
        for (text, alive) in
            [(std::process::id().to_string() + "\n", true), (String::new(), false), ("-1".into(), false)]
        {
            std::fs::write(&file, &text).unwrap();
            assert_eq!(is_alive(&file), alive, "{text:?}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(!is_alive(&file));
        assert!(by_dhcp(["nosuch0"].into_iter()).is_empty());
    }
}
