//! Linux: the name of the calling thread, which is the process's if it is the first.

use std::ffi::CStr;

pub(super) fn set(text: &CStr) {
    // Fails only for a bad pointer.
    let _ = nix::sys::prctl::set_name(text);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_title_shows_cut_to_what_linux_keeps() {
        crate::title::set("hv_vss_worker: ufs\0hidden");
        assert_eq!(nix::sys::prctl::get_name().unwrap().to_str().unwrap(), "hv_vss_worker: ");
    }
}
