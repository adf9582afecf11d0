//! Every shell script that is shipped or installs: understood by a plain POSIX shell, and nothing for shellcheck to say.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use hv_vss_packaging::{run, source};
use hv_vss_testbed::needs;

fn scripts() -> Vec<PathBuf> {
    let mut all = vec![source("packaging/install"), source("packaging/make-port"), source("packaging/rc.d/hv_vss")];
    all.push(source("packaging/rc.d/hv_kvp"));
    for name in ["service", "daemon", "pgrep", "hv_vss_daemon", "vssctl"] {
        all.push(source("tests/packaging/stand-ins").join(name));
    }
    for entry in fs::read_dir(source("hooks.d")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && fs::read(&path).unwrap().starts_with(b"#!/bin/sh") {
            all.push(path);
        }
    }
    all
}

#[test]
fn a_plain_shell_understands_them() {
    needs!(Dash);
    for script in scripts() {
        run(Command::new("dash").arg("-n").arg(&script)).well();
    }
}

#[test]
fn shellcheck_has_nothing_to_say() {
    needs!(Shellcheck);
    for script in scripts() {
        let mut command = Command::new("shellcheck");
        if script.parent().is_some_and(|parent| parent.ends_with("packaging/rc.d")) {
            // rc.subr reads the variables that seem unused, and FreeBSD's sh knows local, as dash does.
            command.args(["--shell=dash", "--exclude=SC1091,SC2034"]);
        }
        assert_eq!(run(command.arg(&script)).well(), "", "{}", script.display());
    }
}
