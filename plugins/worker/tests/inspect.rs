//! `hv_vss_worker inspect`: the report on good files and bad ones, and that no plugin can spoil it.

mod stage;

use std::path::Path;
use std::time::Duration;

use hv_vss_worker::inspect::{Report, in_throwaway_process};
use stage::*;

#[track_caller]
fn report_on(file: &Path) -> Report {
    let program = Path::new(env!("CARGO_BIN_EXE_hv_vss_worker"));
    in_throwaway_process(program, file, SOON).expect("the worker can be started")
}

#[test]
fn a_good_plugin_is_described() {
    let report = report_on(&plugin_with(&["-DROLES=3", "-DFLAGS=1", "-DNUMBER=7"]));
    let about = report.about.expect("it was loaded");
    assert_eq!((about.name.as_str(), about.number, about.abi), ("mischief", Some(7), 1));
    assert_eq!((about.filesystem, about.application, about.holds_survive_exit), (true, true, true));
    assert_eq!(report.members, ["open", "check", "claim", "freeze", "thaw", "close", "ended"]);
    assert_eq!(report.table_size, Some(104));
    assert!(report.needs.iter().any(|library| library.starts_with("libc.so")), "{:?}", report.needs);
    assert_eq!(report.not_found, [""; 0]);
    if nix::unistd::geteuid().is_root() {
        assert_eq!((report.usable, report.problems), (true, vec![]));
    } else {
        // It is not root's, so hv_vss_daemon would not load it; everything else is known all the same.
        assert!(!report.usable && report.problems.len() == 1, "{:?}", report.problems);
    }
}

#[test]
fn a_library_that_is_not_there_is_named() {
    hv_vss_testbed::needs!(Root);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = directory.join("libnot_there_later.so");
    let source = directory.join("not_there_later.c");
    std::fs::write(&source, "int not_there_later;\n").unwrap();
    let compiled = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-Wl,-soname,libnot_there_later.so", "-o"])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(compiled.success());
    let plugin = plugin_with(&["-Wl,--no-as-needed", &library.display().to_string()]);
    std::fs::remove_file(&library).unwrap();

    let report = report_on(&plugin);
    assert!(!report.usable);
    assert_eq!(report.not_found, ["libnot_there_later.so"]);
    assert!(report.problems.iter().any(|why| why.contains("libnot_there_later.so")), "{:?}", report.problems);
}

#[test]
fn a_constructor_that_prints_crashes_or_hangs_is_a_problem_in_the_report() {
    let prints = report_on(&plugin_with(&["-DCONSTRUCTOR=(void)!write(1,\"{}\",2)"]));
    assert!(prints.about.is_some(), "what it printed did not spoil the report: {prints:?}");

    let crashes = report_on(&plugin_with(&["-DCONSTRUCTOR=abort()"]));
    assert!(crashes.problems[0].contains("took down the process that loaded it"), "{crashes:?}");

    let hangs = plugin_with(&["-DCONSTRUCTOR=for(;;)pause()"]);
    let program = Path::new(env!("CARGO_BIN_EXE_hv_vss_worker"));
    let report = in_throwaway_process(program, &hangs, Duration::from_millis(300)).unwrap();
    assert!(report.problems[0].contains("did not let itself be loaded within 300ms"), "{report:?}");
}

#[test]
fn what_is_no_plugin_is_said_in_one_sentence_and_the_exit_code_is_1() {
    for file in ["/etc/passwd", "/nonexistent.so"] {
        let report = report_on(Path::new(file));
        assert!(!report.usable && report.problems.len() == 1, "{report:?}");
        assert!(report.problems[0].contains(file), "{report:?}");
    }
    let program = env!("CARGO_BIN_EXE_hv_vss_worker");
    let output = std::process::Command::new(program).args(["inspect", "/nonexistent.so"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}
