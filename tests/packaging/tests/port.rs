//! The port that packaging/make-port completes.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use hv_vss_packaging::{Directory, run, source};

#[test]
fn the_port_is_complete_and_names_every_crate_that_is_not_ours() {
    let ports = Directory::new();
    run(Command::new(source("packaging/make-port")).arg(ports.path())).well();

    let makefile = ports.read("hv_vss/Makefile");
    let version = env!("CARGO_PKG_VERSION");
    assert!(makefile.contains(&format!("DISTVERSION=\t{version}\n")) && !makefile.contains("%%"), "{makefile}");
    assert!(ports.path().join(format!("hv_vss-{version}.tar.gz")).is_file());

    let lock = fs::read_to_string(source("Cargo.lock")).unwrap();
    let field = |package: &str, name: &str| {
        let line = package.lines().find(|line| line.starts_with(&format!("{name} = ")))?;
        line.split('"').nth(1).map(str::to_owned)
    };
    let foreign: BTreeSet<String> = lock
        .split("[[package]]")
        .filter(|package| package.contains("\nsource = "))
        .map(|package| format!("{}-{}", field(package, "name").unwrap(), field(package, "version").unwrap()))
        .collect();
    let named = ports.read("hv_vss/Makefile.crates");
    let named: BTreeSet<String> = named
        .trim_start_matches("CARGO_CRATES=")
        .split_whitespace()
        .filter(|word| *word != "\\")
        .map(str::to_owned)
        .collect();
    assert_eq!(named, foreign);
}

#[test]
fn the_port_builds_what_the_installer_wants_and_nothing_for_tests() {
    let makefile = fs::read_to_string(source("packaging/freebsd-port/Makefile")).unwrap();
    let arguments = makefile.split("CARGO_BUILD_ARGS=").nth(1).unwrap().split("\nSUB_FILES").next().unwrap();
    let packages: BTreeSet<_> = arguments.split_whitespace().filter(|word| *word != "-p" && *word != "\\").collect();
    let mut wanted = BTreeSet::new();
    let manifest = fs::read_to_string(source("packaging/manifest")).unwrap();
    for line in manifest.lines().filter(|line| line.starts_with("program ") || line.starts_with("plugin ")) {
        wanted.insert(match line.split_whitespace().nth(1).unwrap() {
            "hv_vss_daemon" | "hv_vss_flush" => "hv-vss-daemon",
            "vssctl" => "vssctl",
            "hv_kvp_daemon" => "hv-vss-kvp-daemon",
            "hv_vss_worker" => "hv-vss-worker",
            "libufs.so" => "hv-vss-plugin-ufs",
            "libzfs_veto.so" => "hv-vss-plugin-zfs-veto",
            "libexec_hook.so" => "hv-vss-plugin-exec-hook",
            "libkvp_report.so" => "hv-vss-plugin-kvp-report",
            other => panic!("which package builds {other}?"),
        });
    }
    assert_eq!(packages, wanted);
}

#[test]
fn the_message_tells_when_installing_upgrading_and_removing() {
    let message = fs::read_to_string(source("packaging/freebsd-port/files/pkg-message.in")).unwrap();
    for when in ["install", "upgrade", "remove"] {
        assert!(message.contains(&format!("{{ type: {when}\n")), "{when}");
    }
    assert_eq!(message.matches("<<EOM\n").count(), message.matches("\nEOM\n").count(), "a text does not end");
    for step in [
        "vssctl check --offline",
        "/boot/efi",
        "sysrc hv_vss_enable=YES",
        "service devd restart",
        "pkill -x hv_vss_daemon",
    ] {
        assert!(message.contains(step), "{step}");
    }
}
