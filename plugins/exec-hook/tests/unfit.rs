//! What could not be executed is refused before a backup begins, with its cause: the first line, the interpreter, the user's rights, the mount.

mod stage;

use std::fs;
use std::os::unix::fs::{chown, symlink};

use serde_json::json;
use stage::{Stage, done, mode, refusal};

const NOBODY: u32 = 65534;

/// A hook whose whole text this is.
fn whole(stage: &Stage, name: &str, text: &[u8]) {
    fs::write(stage.hook(name, ""), text).expect("a file");
}

/// Check and freeze both refuse with these words, and nothing is run.
#[track_caller]
fn refuses(stage: &mut Stage, words: &str) {
    for reason in [refusal(stage.check()), refusal(stage.freeze())] {
        assert!(reason.contains(words), "\"{words}\" is not in: {reason}");
    }
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&[]);
}

#[test]
fn a_first_line_that_no_kernel_takes_is_refused_by_its_cause() {
    for (text, words) in [
        (&b""[..], "10-x is refused: it is empty"),
        (b"echo hello\n", "its first line does not begin with #!"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "it begins with a byte order mark"),
        (b"#!/bin/sh\r\necho hello\r\n", "its first line ends with a carriage return"),
        (b"#!/usr/local/bin/bash5\n", "its interpreter /usr/local/bin/bash5 is not there: install it"),
        (
            b"#!/usr/bin/env no_such_program\n",
            "looks for \"no_such_program\", which is in no directory of a hook's PATH",
        ),
        (b"#!/usr/bin/env -S no_such_program -x\n", "looks for \"no_such_program\""),
        (b"#!bin/sh\n", "which is no whole path"),
    ] {
        let Some(mut stage) = Stage::new() else { return };
        whole(&stage, "10-x", text);
        stage.open();
        refuses(&mut stage, words);
    }
}

#[test]
fn scripts_with_env_and_compiled_programs_pass() {
    let Some(mut stage) = Stage::new() else { return };
    whole(&stage, "10-env", b"#!/usr/bin/env sh\nexit 0\n");
    whole(&stage, "20-split", b"#!/usr/bin/env -S sh -e\nexit 0\n");
    fs::copy(fs::canonicalize("/bin/true").unwrap(), stage.hook("30-true", "")).unwrap();
    mode(&stage.hooks().join("30-true"), 0o755);
    stage.open();
    assert_eq!(stage.check(), done());
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
}

#[test]
fn an_interpreter_that_root_may_not_trust_is_refused() {
    let Some(mut stage) = Stage::new() else { return };
    let shell = stage.path("shell");
    fs::copy(fs::canonicalize("/bin/sh").unwrap(), &shell).unwrap();
    whole(&stage, "10-x", format!("#!{}\nexit 0\n", shell.display()).as_bytes());
    stage.open();
    assert_eq!(stage.check(), done(), "one of root's is");
    chown(&shell, Some(NOBODY), None).unwrap();
    refuses(&mut stage, "its interpreter: ");
    refuses(&mut stage, "belongs to uid 65534, not to root");
    chown(&shell, Some(0), None).unwrap();
    mode(&shell, 0o757);
    refuses(&mut stage, "may be written to by others");
    mode(&shell, 0o644);
    refuses(&mut stage, "is not executable");
}

#[test]
fn a_hook_may_have_an_interpreter_of_the_user_as_whom_it_runs() {
    let Some(mut stage) = Stage::new() else { return };
    let shell = stage.path("shell");
    fs::copy(fs::canonicalize("/bin/sh").unwrap(), &shell).unwrap();
    chown(&shell, Some(NOBODY), None).unwrap();
    whole(&stage, "10-x", format!("#!{}\nexit 0\n", shell.display()).as_bytes());
    stage.open_with(&[("hook", json!({ "10-x": { "user": "nobody" } }))]);
    assert_eq!(stage.freeze(), done());
}

#[test]
fn a_hook_is_judged_as_the_user_as_whom_it_runs() {
    let Some(mut stage) = Stage::new() else { return };
    let file = stage.hook("10-x", "");
    fs::write(&file, "#!/bin/sh\nexit 0\n").unwrap();
    stage.open_with(&[("hook", json!({ "10-x": { "user": "nobody" } }))]);
    assert_eq!(stage.check(), done());
    mode(&file, 0o700);
    refuses(&mut stage, "the user nobody as whom it runs has no access to ");
    refuses(&mut stage, "10-x: chmod o+rx ");
    // Executable and not readable: its interpreter could not open it.
    mode(&file, 0o711);
    refuses(&mut stage, "10-x: chmod o+rx ");
    mode(&file, 0o755);
    mode(&stage.hooks(), 0o700);
    refuses(&mut stage, "hooks.d: chmod o+x ");
    mode(&stage.hooks(), 0o755);
    assert_eq!(stage.freeze(), done());
}

#[test]
fn copies_beside_a_hook_do_not_run() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-db", "");
    for end in [".disabled", ".old", ".save", ".OFF", ".copy", "-old", ".rej", ".tmp"] {
        stage.hook(&format!("10-db{end}"), "");
    }
    stage.open();
    assert_eq!(stage.freeze(), done());
    stage.the_scripts_did(&["10-db freeze"]);
}

#[test]
fn two_hooks_that_differ_by_an_ending_are_refused_unless_allowed() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-db", "");
    stage.hook("10-db.sh", "");
    stage.open();
    refuses(&mut stage, "10-db is refused: 10-db.sh is there, too");
    refuses(&mut stage, "10-db.sh is refused: 10-db is there, too");
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-db", "");
    stage.hook("10-db.sh", "");
    stage.open_with(&[("allow_alike", json!(true))]);
    assert_eq!(stage.freeze(), done());
}

#[test]
fn a_hook_that_is_switched_off_does_not_run() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-db", "");
    mode(&stage.hook("20-web", ""), 0o666);
    let off = json!({ "20-web": { "enabled": false }, "30-gone": { "enabled": false } });
    stage.open_with(&[("hook", off)]);
    assert_eq!(stage.freeze(), done());
    stage.the_scripts_did(&["10-db freeze"]);
}

#[test]
fn a_hook_has_the_variables_of_its_table() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-db.sh", "note $PGHOST $PATH");
    let variables = json!({ "PGHOST": "/tmp", "PATH": "/bin:/usr/bin" });
    stage.open_with(&[("hook", json!({ "10-db.sh": { "environment": variables } }))]);
    assert_eq!(stage.freeze(), done());
    stage.the_scripts_did(&["10-db.sh freeze", "/tmp /bin:/usr/bin"]);
}

#[test]
fn what_is_no_hook_is_refused_with_a_remedy_that_helps() {
    let Some(mut stage) = Stage::new() else { return };
    fs::create_dir(stage.hooks().join("lib")).unwrap();
    mode(&stage.hook("00-functions.sh", ""), 0o644);
    symlink("gone", stage.hooks().join("20-link")).unwrap();
    nix::unistd::mkfifo(&stage.hooks().join("30-fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    stage.open();
    for words in [
        "lib is a directory: nothing but hooks may be here; move it elsewhere, or let its name begin with a dot",
        "00-functions.sh is not executable: chmod +x ",
        "if hooks read it, move it elsewhere or let its name begin with a dot",
        "20-link is a link to gone, which is not there: remove the link, or put the file there",
        "30-fifo is no regular file: nothing but hooks may be here",
    ] {
        let reason = refusal(stage.check());
        let logged = stage.logged(hv_vss_wire::Level::Error).join("\n");
        assert!(reason.contains(words) || logged.contains(words), "\"{words}\" is not in: {reason}\n{logged}");
    }
    // The remedies.
    for name in ["lib", "00-functions.sh"] {
        fs::rename(stage.hooks().join(name), stage.hooks().join(format!(".{name}"))).unwrap();
    }
    fs::remove_file(stage.hooks().join("20-link")).unwrap();
    fs::remove_file(stage.hooks().join("30-fifo")).unwrap();
    assert_eq!(stage.check(), done());
}

#[cfg(target_os = "linux")] // mount namespaces
#[test]
fn a_directory_that_is_mounted_noexec_is_refused_by_name() {
    use nix::mount::{MsFlags, mount};
    let Some(mut stage) = Stage::new() else { return };
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let directory = stage.path("noexec.d");
    fs::create_dir(&directory).unwrap();
    mount(Some("tmpfs"), &directory, Some("tmpfs"), MsFlags::MS_NOEXEC, Some("mode=755")).unwrap();
    fs::write(directory.join("10-x"), "#!/bin/sh\n").unwrap();
    mode(&directory.join("10-x"), 0o755);
    // The plugin's process was started before; it is judged here.
    let files = exec_hook::survey(&directory).unwrap();
    let exec_hook::Verdict::Refused(why) = &files[0].verdict else { panic!("{files:?}") };
    assert!(why.contains("lies on a filesystem that is mounted noexec"), "{why}");
    nix::mount::umount(&directory).unwrap();
    stage.open();
}
