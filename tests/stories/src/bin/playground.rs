//! `make playground`: the demo's guest, left to you with a shell: a host to play with `host`, the daemon to ask with `vssctl`, a hooks.d to put
//! scripts into. When the shell ends, everything is let go and taken away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use hv_vss_stories::{Kind, Stage};

fn main() -> ExitCode {
    if let Some(reason) = hv_vss_stories::missing() {
        println!("playground: it {reason}");
        return ExitCode::FAILURE;
    }
    let stage = Stage::take(Kind::Ours).expect("this machine can");
    let guest = stage
        .limit(Duration::from_secs(15))
        .time("max_frozen", "60s")
        .disk("data")
        .disk_within("data", "mail")
        .disk_on_an_image_in("data", "vm")
        .hook("10-database.sh", "sleep 0.1")
        .hook("20-cache", "sleep 0.05")
        .start();
    guest.writers().run();

    let (home, programs) = (guest.stage().home().to_owned(), guest.stage().daemon_program());
    let programs = programs.parent().expect("a directory");
    let commands = guest.stage().scratch("commands");
    fs::create_dir_all(&commands).expect("a scratch directory can be written");
    let vssctl =
        format!("{} --config {} \"$@\"", programs.join("vssctl").display(), home.join("hv_vss.toml").display());
    put(&commands.join("vssctl"), &vssctl);
    let host = format!(
        "{} host --control {} \"$@\"",
        programs.join("hv-vss-sim").display(),
        guest.stage().control().display()
    );
    put(&commands.join("host"), &host);

    println!(
        "A guest with three filesystems, somebody who writes on each of them all the time, two scripts and a daemon is running."
    );
    println!(
        "   host check | freeze | thaw | backup    play the Hyper-V host (a freeze is ended after max_frozen, if you forget)"
    );
    println!("   vssctl check | status | history | timeline | rehearse ...    ask the daemon; vssctl --help");
    println!("   {}    the scripts: add one of your own (executable, root's)", home.join("hooks.d").display());
    println!("   {}    the configuration; vssctl reload", home.join("hv_vss.toml").display());
    println!("   exit    ends it all");
    let path = format!("{}:{}", commands.display(), std::env::var("PATH").unwrap_or_default());
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let ended = Command::new(&shell).env("PATH", path).current_dir(&home).status();
    drop(guest);
    match ended {
        // What the last command in the shell came to is the shell's user's business.
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            println!("playground: can't start the shell {shell}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An executable script of one line.
fn put(path: &Path, line: &str) {
    fs::write(path, format!("#!/bin/sh\nexec {line}\n")).expect("a scratch directory can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}
