//! Starting a worker: a socketpair, descriptors 0 to 2 on /dev/null, nothing else inherited, a clean environment, `/` as directory.

#![allow(unsafe_code)] // Between fork and exec, the socket is put where the worker looks for it.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;

use hv_vss_platform::clock::Clock;
use hv_vss_platform::{descriptors, priority};
use hv_vss_wire::WORKER_SOCKET_FD;
use nix::libc;
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::mpsc;

use super::attend::{Attended, attend};
use super::{Handle, Launch, Process, Programs, Said, Waited};

/// A worker that could not be started.
#[derive(Debug)]
pub struct SpawnError {
    launch: Launch,
    cause: io::Error,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "can't start the worker {} for plugin {}: {}",
            self.launch.program.display(),
            self.launch.name,
            self.cause
        )
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Starts a worker. Whatever it has to tell goes to `told`, from this thread.
///
/// # Errors
/// When no socket or process is to be had, or the program can't be executed.
pub fn start(
    launch: &Launch,
    programs: &Programs,
    clock: &Clock,
    told: impl Fn(Said) + 'static,
) -> Result<Handle, SpawnError> {
    let started = match programs {
        Programs::Processes => start_process(launch),
        Programs::Played(played) => (played.worker)(launch).map(|(process, socket)| (Process::Played(process), socket)),
    };
    let failed = |cause| SpawnError { launch: launch.clone(), cause };
    let (process, socket) = started.map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let (pid, socket) = (process.id(), UnixStream::from_std(socket).map_err(failed)?);
    let (orders, taken) = mpsc::unbounded_channel();
    let attended = Attended::new(launch.name.clone(), process, socket, clock.clone());
    tokio::task::spawn_local(attend(attended, taken, told));
    Ok(Handle { orders, next_id: Rc::new(Cell::new(1)), pid })
}

fn start_process(launch: &Launch) -> io::Result<(Process, StdStream)> {
    // Judged each time, and used by the path that was judged.
    let program = hv_vss_trust::regular_file(&launch.program, Some(Path::new("/"))).map_err(io::Error::other)?;
    let (ours, theirs) = StdStream::pair()?;
    // Well above the number it gets in the child, and above those that the child's start-up needs for itself.
    let theirs = descriptors::move_up(theirs.into(), FIRST_OUT_OF_THE_WAY).map_err(io::Error::from)?;
    reserve_socket_number()?;
    let number = theirs.as_raw_fd();

    let mut command = Command::new(program);
    command
        .arg("serve")
        .arg(&launch.file)
        .args(&launch.options)
        .env_clear()
        .env("PATH", "/sbin:/bin:/usr/sbin:/usr/bin")
        .current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let prepare = move || {
        // The daemon goes before all others. Whether a plugin does its worker decides, and it is no reason not to start.
        let _ = priority::usual();
        put_socket_in_place(number)
    };
    // SAFETY: between fork and exec only async-signal-safe calls are made: setpriority, and dup2 through `put_socket_in_place`.
    unsafe { command.pre_exec(prepare) };
    let child = command.spawn()?;
    drop(theirs);
    Ok((Process::Real(Waited::new(child)), ours))
}

const FIRST_OUT_OF_THE_WAY: RawFd = 10;

/// Sees to it that the number which the worker expects its socket at is taken in this process: otherwise the pipe over which the child reports a
/// failed exec might get it, and be overwritten.
fn reserve_socket_number() -> io::Result<()> {
    let null: OwnedFd = std::fs::File::open("/dev/null")?.into();
    if null.as_raw_fd() == WORKER_SOCKET_FD {
        // Kept open for this process's life, close-on-exec like all of std's.
        std::mem::forget(null);
    }
    Ok(())
}

fn put_socket_in_place(socket: RawFd) -> io::Result<()> {
    // SAFETY: `socket` is open here, inherited over fork; the copy made by dup2 is not close-on-exec, which is its purpose.
    let done = unsafe { libc::dup2(socket, WORKER_SOCKET_FD) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
