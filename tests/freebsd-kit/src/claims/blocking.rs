//! What blocks while a filesystem is suspended, and what goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use super::{Report, holder_of, is_frozen, is_writable};
use crate::actor::{Actor, BLOCKED};
use crate::ground::{Disk, Ground, text};

pub(crate) fn blocking(ground: &Ground, report: &mut Report) {
    let disk = &ground.outer;
    report.claim("open, read and stat of a file on a suspended filesystem work, close waits for the resume", || {
        let path = disk.file("to-be-read");
        fs::write(&path, [7; 4096]).map_err(|error| error.to_string())?;
        let mut holder = holder_of(disk)?;
        let mut reader = Actor::start("look", &[&text(&path)])?;
        for step in ["opened", "read", "asked"] {
            reader.says(step)?;
        }
        reader.says_nothing()?;
        holder.tell("resume");
        reader.says("closed")?;
        reader.has_ended()
    });
    report.claim(
        "a program whose libraries lie on a suspended filesystem hangs when it has opened them, until the resume",
        || {
            let here = own_program_on(disk)?;
            // Which of the two it needs depends on the kernel's release; each of them is in every dynamic program of Rust.
            for library in ["libc.so.7", "libthr.so.3"] {
                fs::copy(format!("/lib/{library}"), disk.file(library))
                    .map_err(|error| format!("/lib/{library}: {error}"))?;
            }
            let mut holder = holder_of(disk)?;
            let mut started =
                Actor::spawn(Command::new(&here).args(["act", "nothing"]).env("LD_LIBRARY_PATH", &disk.on))?;
            if started.ends(BLOCKED) {
                return Err("it ended".into());
            }
            holder.tell("resume");
            started.has_ended()
        },
    );
    report.observe("a program that itself lies on a suspended filesystem, but whose libraries don't", || {
        let here = own_program_on(disk)?;
        let mut holder = holder_of(disk)?;
        let mut started = Actor::spawn(Command::new(&here).args(["act", "nothing"]))?;
        let seen = if started.ends(BLOCKED) { "starts and ends" } else { "starts and can't end" };
        holder.tell("resume");
        started.has_ended()?;
        Ok(seen.to_owned())
    });
    report.claim("SIGKILL to a process that is blocked so has no effect before the resume", || {
        let mut holder = holder_of(disk)?;
        let mut writer = is_frozen(disk)?;
        writer.kill();
        if writer.ends(BLOCKED) {
            return Err("it died".into());
        }
        holder.tell("resume");
        writer.has_ended()
    });
    report.claim("pipes, sockets, connect to a socket that was bound there, /dev/null, 64 MiB of memory, a child and sync work meanwhile", || {
        let path = disk.file("socket");
        let _listener = UnixListener::bind(&path).map_err(|error| error.to_string())?;
        let mut holder = holder_of(disk)?;
        let mut living = Actor::start("live", &[&text(&path)])?;
        let all = ["pipe", "socketpair", "connect", "null", "memory", "child", "sync"].iter().try_for_each(|step| living.says(step));
        holder.tell("resume");
        all?;
        living.has_ended()
    });
    report.claim("a shell that was open before reads a pid with exec 9<FILE; read p <&9, and signals it", || {
        let path = disk.file("pid");
        let mut victim = Actor::start("keep", &[])?;
        fs::write(&path, format!("{}\n", victim.pid())).map_err(|error| error.to_string())?;
        let mut shell = Actor::spawn(&mut Command::new("/bin/sh"))?;
        shell.tell("echo ready");
        shell.says("ready")?;
        let mut holder = holder_of(disk)?;
        shell.tell(&format!("exec 9<{}; read p <&9; kill -KILL $p; echo sent", path.display()));
        let sent = shell.says("sent").and_then(|()| victim.has_ended());
        holder.tell("resume");
        sent
    });
    report.claim("the same shell with read p <FILE hangs until the resume, since it closes the file", || {
        let path = disk.file("pid");
        let mut shell = Actor::spawn(&mut Command::new("/bin/sh"))?;
        shell.tell("echo ready");
        shell.says("ready")?;
        let mut holder = holder_of(disk)?;
        shell.tell(&format!("read p <{}; echo read", path.display()));
        shell.says_nothing()?;
        holder.tell("resume");
        shell.says("read")
    });
    report.claim("after all this the filesystem is writable", || is_writable(disk));
}

/// A copy of this program on that filesystem.
fn own_program_on(disk: &Disk) -> Result<PathBuf, String> {
    let program = disk.file("program");
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    fs::copy(own, &program).map_err(|error| error.to_string())?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
    Ok(program)
}
