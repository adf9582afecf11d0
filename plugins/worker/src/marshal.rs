//! C structs made from the wire's values. Each type here owns the strings that its structs point to, so that keeping the value alive for the
//! length of a call is all a caller has to do.

use std::ffi::{CString, c_char};

use hv_vss_platform::mounts::Mount;
use hv_vss_plugin::abi;
use hv_vss_wire::Outcome;
use serde_json::{Map, Value};

/// A C string of the text up to its first null byte, which no C string can hold.
#[must_use]
pub fn c_string(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

const fn size_of_u32<T>() -> u32 {
    size_of::<T>() as u32
}

/// Mounts as `const struct hv_vss_mount *const *`.
pub struct CMounts {
    _strings: Vec<CString>,
    _mounts: Vec<abi::Mount>,
    pointers: Vec<*const abi::Mount>,
}

impl CMounts {
    /// The mounts in their order.
    #[must_use]
    pub fn of(mounts: &[Mount]) -> Self {
        let mut strings = Vec::new();
        let mut keep = |text: &str| {
            let string = c_string(text);
            // A CString's bytes are on the heap: they stay where they are when the vector grows.
            let pointer: *const c_char = string.as_ptr();
            strings.push(string);
            pointer
        };
        let mounts: Vec<_> = mounts
            .iter()
            .map(|mount| abi::Mount {
                size: size_of_u32::<abi::Mount>(),
                flags: if mount.read_only { abi::MOUNT_READ_ONLY } else { 0 },
                fsid: mount.fsid.0,
                fstype: keep(&mount.fstype),
                on: keep(&mount.on),
                from: keep(&mount.from),
                backing: mount.backing.as_deref().map_or(std::ptr::null(), &mut keep),
                swap: mount.swap.as_deref().map_or(std::ptr::null(), &mut keep),
            })
            .collect();
        let pointers = mounts.iter().map(|mount| &raw const *mount).collect();
        Self { _strings: strings, _mounts: mounts, pointers }
    }

    /// One pointer a mount; valid as long as `self`.
    #[must_use]
    pub fn pointers(&self) -> &[*const abi::Mount] {
        &self.pointers
    }
}

/// Strings as `const char *const *`.
pub struct CStrings {
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl CStrings {
    /// The strings in their order.
    #[must_use]
    pub fn of(texts: &[String]) -> Self {
        let strings: Vec<_> = texts.iter().map(|text| c_string(text)).collect();
        let pointers = strings.iter().map(|string| string.as_ptr()).collect();
        Self { _strings: strings, pointers }
    }

    /// One pointer a string; valid as long as `self`.
    #[must_use]
    pub fn pointers(&self) -> &[*const c_char] {
        &self.pointers
    }
}

/// A configuration as `const struct hv_vss_setting *const *`, and as JSON.
pub struct CSettings {
    _strings: Vec<(CString, CString)>,
    _settings: Vec<abi::Setting>,
    pointers: Vec<*const abi::Setting>,
    json: CString,
}

impl CSettings {
    /// The settings in their order, tables within the table as `outer.inner`, a list once for each of its items.
    #[must_use]
    pub fn of(config: &Map<String, Value>) -> Self {
        let strings: Vec<_> =
            hv_vss_wire::flat(config).iter().map(|(key, value)| (c_string(key), c_string(value))).collect();
        let size = size_of_u32::<abi::Setting>();
        let setting = |(key, value): &(CString, CString)| abi::Setting {
            size,
            reserved: 0,
            key: key.as_ptr(),
            value: value.as_ptr(),
        };
        let settings: Vec<_> = strings.iter().map(setting).collect();
        let pointers = settings.iter().map(|setting| &raw const *setting).collect();
        let json = c_string(&Value::Object(config.clone()).to_string());
        Self { _strings: strings, _settings: settings, pointers, json }
    }

    /// One pointer a setting; valid as long as `self`.
    #[must_use]
    pub fn pointers(&self) -> &[*const abi::Setting] {
        &self.pointers
    }

    /// The same table as JSON; valid as long as `self`.
    #[must_use]
    pub fn json(&self) -> *const c_char {
        self.json.as_ptr()
    }
}

/// The header's number of an outcome.
#[must_use]
pub const fn outcome(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Ok => abi::OUTCOME_OK,
        Outcome::Aborted => abi::OUTCOME_ABORTED,
        Outcome::Expired => abi::OUTCOME_EXPIRED,
        Outcome::Recovered => abi::OUTCOME_RECOVERED,
        Outcome::Restored => abi::OUTCOME_RESTORED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_byte_ends_a_string_instead_of_losing_it() {
        assert_eq!(c_string("/a\0b"), CString::new("/a").unwrap());
    }
}
