//! `make sanitize` sees something: without this, a build in which the sanitizer is asleep would pass all its tests.
#![cfg(sanitized)]

mod stage;

use hv_vss_platform::clock;
use stage::*;

#[test]
fn a_plugin_in_c_that_reads_one_byte_too_many_is_found_out_by_the_sanitizer() {
    let constructor = "-DCONSTRUCTOR=(void)((volatile char*)malloc(8))[8]";
    let mut stage = Stage::around(&plugin_with(&[constructor]), &[]);
    // How AddressSanitizer ends a process. Without it the byte is read, and nobody minds.
    assert_eq!(
        stage.worker.event(clock::now() + SOON),
        Err("its process ended by itself, with exit code 1".to_owned())
    );
}
