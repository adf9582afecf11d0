//! Which boot this is: a record that outlived its boot was carried to another machine by a backup, or the machine was reset.

use crate::Result;

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// A word that is the same for the whole boot and different in any other.
///
/// # Errors
/// When the kernel doesn't tell.
pub fn id() -> Result<String> {
    system::id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_has_one_id() {
        let id = id().unwrap();
        assert!(id.len() >= 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'), "{id}");
        assert_eq!(super::id().unwrap(), id);
    }
}
