//! The name servers of resolv.conf(5).

use std::net::IpAddr;
use std::path::Path;

/// The name servers in this file, in its order. Reads it; none where there is no such file.
#[must_use]
pub fn name_servers(resolv_conf: &Path) -> Vec<IpAddr> {
    // A machine without the file asks a resolver of its own, as resolv.conf(5) has it.
    read(&String::from_utf8_lossy(&std::fs::read(resolv_conf).unwrap_or_default()))
}

fn read(text: &str) -> Vec<IpAddr> {
    text.lines().filter_map(of_line).collect()
}

fn of_line(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace();
    let server = words.next().filter(|word| *word == "nameserver").and(words.next())?;
    // The interface of a link-local address means nothing to others.
    server.split('%').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_server_is_read_and_nothing_else() {
        let text = "# nameserver 1.1.1.1\nsearch example.org\nnameserver 10.0.0.53 # first\n\tnameserver\tfe80::1%hn0\n\
                    nameserver\nnameserver host\nnameservers 9.9.9.9\n";
        assert_eq!(read(text), ["10.0.0.53".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
        assert_eq!(name_servers(Path::new("/nonexistent/resolv.conf")), [] as [IpAddr; 0]);
    }
}
