//! Where unsafe code is: exactly where ARCHITECTURE.md says, and nowhere without the lints that watch over it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All files below a directory with this name or ending, as paths from the root.
fn files(directory: &Path, ending: &str, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", ".git"].contains(&name.as_str()) {
                files(&path, ending, into);
            }
        } else if name.ends_with(ending) {
            into.insert(path.strip_prefix(root()).expect("below the root").display().to_string());
        }
    }
}

fn has_unsafe_code(text: &str) -> bool {
    let marks = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe(", "allow(unsafe_code"];
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().map(code).any(|line| marks.iter().any(|mark| line.contains(mark)))
}

/// The files that the table under "## unsafe" names.
fn listed(architecture: &str) -> BTreeSet<String> {
    let section = architecture.split("\n## unsafe\n").nth(1).expect("a section on unsafe code");
    let section = section.split("\n## ").next().expect("its text");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| row.split(" | ").next().unwrap_or_default().split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_files_with_unsafe_code_are_those_that_the_architecture_lists() {
    let mut sources = BTreeSet::new();
    files(&root(), ".rs", &mut sources);
    // This file has the marks in it, as text.
    sources.remove("tests/packaging/tests/unsafe_code.rs");
    let there: BTreeSet<String> = sources.into_iter().filter(|name| has_unsafe_code(&read(name))).collect();
    let listed = listed(&read("ARCHITECTURE.md"));
    let unlisted: Vec<_> = there.difference(&listed).collect();
    assert!(unlisted.is_empty(), "ARCHITECTURE.md does not say why there is unsafe code in {unlisted:?}");
    let gone: Vec<_> = listed.difference(&there).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md lists {gone:?}, where there is none");
}

#[test]
fn what_counts_as_unsafe_code_is_told_from_talk_about_it() {
    assert!(has_unsafe_code("    let x = unsafe { f() };"));
    assert!(has_unsafe_code("#![cfg_attr(target_os = \"freebsd\", allow(unsafe_code))]"));
    assert!(has_unsafe_code("#[unsafe(no_mangle)]"));
    assert!(!has_unsafe_code("// an unsafe { block } in a comment\n#![deny(unsafe_op_in_unsafe_fn)]"));
    let table = "# A\n## unsafe\n\n| file | why |\n| --- | --- |\n| `a.rs`, `b.rs` | `c.rs` |\n\n## more\n| `d.rs` | |";
    assert_eq!(listed(table), BTreeSet::from(["a.rs".to_owned(), "b.rs".to_owned()]));
}

#[test]
fn every_crate_takes_the_lints_and_these_deny_what_is_not_allowed_and_not_explained() {
    let workspace = read("Cargo.toml");
    for lint in ["unsafe_code = \"deny\"", "unsafe_op_in_unsafe_fn = \"deny\"", "undocumented_unsafe_blocks = \"deny\""]
    {
        assert!(workspace.contains(lint), "the workspace lacks {lint}");
    }
    let members = workspace.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("members");
    for member in members.split('"').skip(1).step_by(2) {
        let manifest = read(&format!("{member}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{member} does not take the workspace's lints");
    }
}
