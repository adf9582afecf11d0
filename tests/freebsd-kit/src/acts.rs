//! What this program does when it calls itself: one thing each, in a process of its own with one thread, saying what happened line by line.

use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use hv_vss_platform::mounts::FsId;
use hv_vss_platform::{OsError, ufssuspend};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

const DEVICE: &str = "/dev/ufssuspend";

/// Performs one act; unknown ones end with 64.
pub(crate) fn perform(act: &str, arguments: &[&str]) -> ExitCode {
    let done = match (act, arguments) {
        ("hold", [id, rest @ ..]) => hold(id, rest),
        ("create", [path]) => File::create(path).map(|_| say("created")),
        ("look", [path]) => look(path),
        ("keep", []) => keep(),
        ("nothing", []) => Ok(()),
        ("live", [socket]) => live(socket),
        _ => return ExitCode::from(64),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    // Nobody listens any more: the claim is decided already.
    let _ = writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush());
}

fn result(done: Result<(), OsError>, word: &str) {
    match done {
        Ok(()) => say(word),
        Err(error) => {
            say(&format!("refused {}", error.errno().map_or_else(|| "?".to_owned(), |errno| format!("{errno:?}"))))
        }
    }
}

/// Suspends a filesystem, carelessly if told so, and then does what its stdin says until that ends.
fn hold(id: &str, carelessness: &[&str]) -> io::Result<()> {
    // In the order of their numbers: a file opened before the device is closed before it at exit.
    let below = match carelessness {
        ["file-below", path] => Some(File::open(path)?),
        ["writing", path] => Some(File::create(path)?),
        _ => None,
    };
    if carelessness == ["threads"] {
        thread::spawn(|| thread::sleep(Duration::from_secs(3600)));
    }
    let mut device = Some(ufssuspend::open(Path::new(DEVICE))?);
    suspend(device.as_ref(), id);
    for line in io::stdin().lock().lines() {
        match line?.split(' ').collect::<Vec<_>>().as_slice() {
            ["also", id] => suspend(device.as_ref(), id),
            ["resume"] => {
                if let Some(device) = &device {
                    result(ufssuspend::resume(device), "resumed");
                }
            }
            ["leave-copy"] => leave_copy(device.as_ref())?,
            ["close"] => {
                device = None;
                say("closed");
            }
            _ => say("what?"),
        }
    }
    drop(below);
    Ok(())
}

fn suspend(device: Option<&OwnedFd>, id: &str) {
    match (device, FsId::try_from(id.to_owned())) {
        (Some(device), Ok(id)) => result(ufssuspend::suspend(device, id), "held"),
        _ => say("what?"),
    }
}

/// Starts a child that inherits the device and lives until its stdin, which is ours, ends or it is killed.
fn leave_copy(device: Option<&OwnedFd>) -> io::Result<()> {
    let Some(device) = device else { return Ok(()) };
    fcntl(device.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
    let child = Command::new(std::env::current_exe()?)
        .args(["act", "keep"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    say(&child.id().to_string());
    // Its stdin stays open as long as this process lives, and a claim kills it by its number.
    std::mem::forget(child);
    Ok(())
}

/// Lives for a while.
fn keep() -> io::Result<()> {
    thread::sleep(Duration::from_secs(3600));
    Ok(())
}

/// Opens a file for reading, reads it, asks for its size, closes it.
fn look(path: &str) -> io::Result<()> {
    let file = File::open(path)?;
    say("opened");
    io::copy(&mut &file, &mut io::sink())?;
    say("read");
    fs::metadata(path)?;
    say("asked");
    drop(file);
    say("closed");
    Ok(())
}

/// What a process must be able to do while everything is suspended.
fn live(socket: &str) -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    writer.write_all(b"x")?;
    io::Read::read_exact(&mut reader, &mut [0])?;
    say("pipe");
    let (ours, theirs) = UnixDatagram::pair()?;
    ours.send(b"x")?;
    theirs.recv(&mut [0])?;
    say("socketpair");
    UnixStream::connect(socket)?;
    say("connect");
    File::options().write(true).open("/dev/null")?.write_all(b"x")?;
    say("null");
    let mut memory = vec![0_u8; 64 << 20];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    say(if memory.iter().step_by(4096).all(|byte| *byte == 1) { "memory" } else { "no memory" });
    Command::new(std::env::current_exe()?).args(["act", "nothing"]).status()?;
    say("child");
    nix::unistd::sync();
    say("sync");
    Ok(())
}
