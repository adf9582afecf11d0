//! Files that are no plugins: each is found unfit before the first call, with one sentence that names the file and what is wrong with it.

mod stage;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use hv_vss_testbed::needs;
use stage::*;

/// The sentence about a file.
#[track_caller]
fn said_of(file: &Path) -> String {
    let why = Stage::around(file, &[]).unfit();
    assert!(why.contains(&file.display().to_string()), "the sentence does not name {}: {why}", file.display());
    why
}

#[track_caller]
fn file_of(bytes: &[u8]) -> Scratch {
    let file = Scratch::new("file.so");
    fs::write(&file.0, bytes).expect("the scratch directory can be written");
    file
}

#[test]
fn a_plugin_compiled_with_a_mistake_in_its_table_is_told_which_one() {
    for (option, expected) in [
        ("-DNO_THAW", "its table lacks the required member thaw"),
        ("-DROLES=0", "its table lacks the required member roles"),
        ("-DROLES=8", "its table lacks the required member roles"),
        ("-DROLES=4 -DNO_ENDED", "its table lacks the required member ended"),
        ("-DROLES=6", "it is an observer and has another role beside that"),
        ("-DTABLE_SIZE=16", "its table lacks the required members name, version, open, check, freeze, thaw, close"),
        (
            "-DTABLE_SIZE=0",
            "its table says that it is 0 bytes long: `size` must be sizeof(struct hv_vss_plugin), which is 104 here",
        ),
        ("-DTABLE_SIZE=4000000000u", "its table says that it is 4000000000 bytes long"),
        ("-DNUMBER=100", "it asks for the number 100: 1 to 99 are possible, or 0 for the default"),
        ("-DNO_TABLE", "hv_vss_plugin_v1() returned no table"),
        ("-DNO_ENTRY", "it does not export hv_vss_plugin_v1"),
        ("-DUNDEFINED_SYMBOL", "a_symbol_that_nobody_has"),
    ] {
        let options: Vec<&str> = option.split(' ').collect();
        let why = said_of(&plugin_with(&options));
        assert!(why.contains(expected), "{option}: {why}");
    }
}

#[test]
fn a_file_that_is_no_plugin_at_all_is_called_what_it_is() {
    let whole = fs::read(plugin_with(&[])).unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, expected) in [
        (b"#!/bin/sh\nexit 0\n".to_vec(), "it is not a shared object: it does not begin as an ELF file does"),
        (Vec::new(), "it is not a shared object"),
        (with(18, 243), "it is an ELF file for another processor (riscv); this machine needs "),
        (with(4, 1), "it is an ELF file for another kind of machine"),
        (with(5, 2), "it is an ELF file for another kind of machine"),
        (with(16, 2), "it is not a shared object but a program"),
        (with(16, 1), "it is not a shared object but an object file: link it with -shared"),
    ] {
        let why = said_of(&file_of(&bytes).0);
        assert!(why.contains(expected), "{why}");
    }
}

#[test]
fn a_plugin_truncated_at_every_512th_byte_is_found_unfit_and_never_crashes_the_host() {
    let whole = fs::read(plugin_with(&[])).unwrap();
    for length in (0..whole.len()).step_by(512) {
        let why = said_of(&file_of(&whole[..length]).0);
        let expected = if length == 0 { "does not begin as an ELF file does" } else { "it is cut off: its " };
        assert!(why.contains(expected), "cut to {length} bytes: {why}");
    }
}

#[test]
fn a_file_that_somebody_else_could_have_changed_is_not_loaded() {
    needs!(Root);
    let whole = fs::read(plugin_with(&["-DCONSTRUCTOR=abort()"])).unwrap();
    let writable = file_of(&whole);
    fs::set_permissions(&writable.0, fs::Permissions::from_mode(0o666)).unwrap();
    said_of(&writable.0);
    let foreign = file_of(&whole);
    chown(&foreign.0, Some(12345), None).unwrap();
    said_of(&foreign.0);
    // Had one of them been loaded, its constructor would have taken the worker down instead of this sentence.
}

#[test]
fn a_missing_file_a_directory_and_a_dangling_link_are_each_a_sentence() {
    let missing = Scratch::new("missing.so");
    said_of(&missing.0);
    said_of(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let link = Scratch::new("link.so");
    symlink(&missing.0, &link.0).unwrap();
    said_of(&link.0);
}

#[test]
fn a_wrong_option_is_a_sentence_on_stderr_before_anything_is_loaded() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_hv_vss_worker"))
        .args(["serve", "/nonexistent.so", "--memroy", "1G"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("unknown option --memroy: there are --memory, --descriptors, --core and --owed"), "{said}");
}
