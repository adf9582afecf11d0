//! Starting a script: fork, and what stands between fork and exec.
//!
//! Not std's `Command`, for one reason: that waits until the exec has happened, and after a thaw an exec may wait for a filesystem that is still
//! held. Here the exec's outcome is one more pipe to poll. Between fork and exec only system calls are made, on what was made ready before.
#![allow(unsafe_code, reason = "fork, exec, and the system calls between them")]

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;

use hv_vss_platform::{OsError, descriptors, reaper};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, pipe2};

use crate::reap::{Quiet, Script};
use crate::user::Identity;

/// Above the standard descriptors and the one for the exec's outcome, so that none of these overwrites another on its way to its place.
const OUT_OF_THE_WAY: RawFd = 10;
/// The exec's outcome in the child; it is closed by a successful exec.
const STATUS: RawFd = 3;
/// The exit status of a child that never became the script. Nobody sees it: the pipe has said more.
const NOT_THE_SCRIPT: i32 = 127;

/// What to start.
pub(crate) struct Program {
    pub(crate) path: CString,
    pub(crate) argument: CString,
    pub(crate) environment: Vec<CString>,
    pub(crate) identity: Option<Identity>,
}

/// What was started. All ends are non-blocking.
pub(crate) struct Started {
    pub(crate) script: Script,
    /// Ends without a word when the exec has happened; else see [`failure`].
    pub(crate) status: OwnedFd,
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
}

/// Why a script could not be started.
#[derive(Debug)]
pub(crate) struct Failed {
    /// A sentence or half of one.
    pub(crate) why: String,
    /// Something was short for a moment: descriptors, processes, memory.
    pub(crate) short: bool,
}

impl Failed {
    /// For good.
    pub(crate) fn unfit(why: String) -> Self {
        Self { why, short: false }
    }

    fn of(doing: &str, errno: Errno) -> Self {
        Self { why: OsError::new(doing, errno).to_string(), short: is_short(errno) }
    }
}

/// Whether this is the want of something that comes back by itself.
pub(crate) fn is_short(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::ETXTBSY)
}

/// What the child was doing when it failed, in the order of doing it.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Doing {
    Session,
    Directory,
    Descriptors,
    Identity,
    Bond,
    Exec,
}

const DOINGS: [&str; 6] = [
    "begin a session of its own",
    "change to the directory /",
    "set up its descriptors",
    "become its user",
    "be bound to the life of its plugin's process",
    "be executed",
];

/// Starts a script: `PATH ARGUMENT`, in a session of its own, in `/`, with umask 077, all signals at their defaults, no descriptors but 0 to 2. It
/// does not outlive this process: else its thaw, which the next one runs, could come before its freeze has ended.
///
/// # Errors
/// When the system has no pipe or process left.
pub(crate) fn spawn(program: &Program) -> Result<Started, Failed> {
    let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|errno| Failed::of("make a pipe for the script", errno));
    let (input_reader, input) = pipe()?;
    let (output, output_writer) = pipe()?;
    let (status, status_writer) = pipe()?;
    for end in [&input, &output, &status] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|errno| Failed::of("make the script's pipe non-blocking", errno))?;
    }
    let arguments = pointers([program.path.as_c_str(), program.argument.as_c_str()]);
    let environment = pointers(program.environment.iter().map(CString::as_c_str));
    let groups: Vec<libc::gid_t> =
        program.identity.iter().flat_map(|who| who.groups.iter().map(|gid| gid.as_raw())).collect();
    let ends = [input_reader.as_raw_fd(), output_writer.as_raw_fd(), status_writer.as_raw_fd()];

    let parent = getpid();
    // Until it is entered, its end is not to be reaped. The child clears its mask.
    let quiet = Quiet::begin();
    // SAFETY: the child makes only system calls until it execs or exits.
    match unsafe { fork() }.map_err(|errno| Failed::of("start a process for the script", errno))? {
        ForkResult::Parent { child } => match Script::enter(child, &quiet) {
            Some(script) => Ok(Started { script, status, input, output }),
            None => {
                let _ = kill(child, Signal::SIGKILL);
                Err(Failed { why: "too many scripts are ending at once".to_owned(), short: true })
            }
        },
        ForkResult::Child => {
            let failed = become_script(program, &arguments, &environment, &groups, ends, parent);
            let mut word = [failed.doing as u8, 0, 0, 0, 0];
            word[1..].copy_from_slice(&(failed.errno as i32).to_ne_bytes());
            // SAFETY: valid bytes; `tell` is the pipe's end, wherever it had got to.
            unsafe { libc::write(failed.tell, word.as_ptr().cast(), word.len()) };
            // SAFETY: nothing of the parent's is run or flushed here.
            unsafe { libc::_exit(NOT_THE_SCRIPT) }
        }
    }
}

/// Why an exec did not happen, from what the status pipe said.
pub(crate) fn failure(word: &[u8]) -> Failed {
    let doing = word.first().and_then(|doing| DOINGS.get(usize::from(*doing))).unwrap_or(&"be started");
    let errno = word.get(1..5).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_ne_bytes);
    let known = Errno::from_raw(errno);
    let hint = match known {
        Errno::ENOENT => " (is the interpreter in its first line there?)",
        Errno::ENOEXEC => " (does its first line begin with #!?)",
        _ => "",
    };
    let why = format!("could not {doing}: {}{hint}", std::io::Error::from_raw_os_error(errno));
    Failed { why, short: is_short(known) }
}

fn pointers<'a>(strings: impl IntoIterator<Item = &'a CStr>) -> Vec<*const c_char> {
    strings.into_iter().map(CStr::as_ptr).chain([ptr::null()]).collect()
}

/// Why the child did not become the script.
struct Fault {
    doing: Doing,
    errno: Errno,
    /// Where to say so.
    tell: RawFd,
}

/// In the child. Comes back only when something failed.
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "a row of system calls, all safe for the same reason")]
fn become_script(
    program: &Program,
    arguments: &[*const c_char],
    environment: &[*const c_char],
    groups: &[libc::gid_t],
    ends: [RawFd; 3],
    parent: Pid,
) -> Fault {
    let mut tell = ends[2];
    let mut steps = || {
        // SAFETY: system calls on plain numbers and on strings and lists that were made ready before the fork; the descriptors closed belong to
        // nobody in this process, which is about to become another program.
        unsafe {
            done(Doing::Session, libc::setsid())?;
            libc::umask(0o077);
            done(Doing::Directory, libc::chdir(c"/".as_ptr()))?;
            let mut aside = [0; 3];
            for (copy, end) in aside.iter_mut().zip(ends) {
                *copy = done(Doing::Descriptors, libc::fcntl(end, libc::F_DUPFD, OUT_OF_THE_WAY))?;
            }
            tell = aside[2];
            for (from, to) in [(aside[0], 0), (aside[1], 1), (aside[1], 2), (aside[2], STATUS)] {
                done(Doing::Descriptors, libc::dup2(from, to))?;
            }
            tell = STATUS;
            done(Doing::Descriptors, libc::fcntl(STATUS, libc::F_SETFD, libc::FD_CLOEXEC))?;
            descriptors::close_from(STATUS + 1);
            default_signals();
            set_limits();
            if let Some(who) = &program.identity {
                done(Doing::Identity, libc::setgroups(groups.len() as _, groups.as_ptr()))?;
                done(Doing::Identity, libc::setgid(who.gid.as_raw()))?;
                done(Doing::Identity, libc::setuid(who.uid.as_raw()))?;
                // What can become root again has not ceased to be root.
                if who.uid.as_raw() != 0 && libc::setuid(0) == 0 {
                    return Err((Doing::Identity, Errno::EPERM));
                }
            }
            reaper::die_with_parent().map_err(|errno| (Doing::Bond, errno))?;
            if getppid() != parent {
                return Err((Doing::Bond, Errno::ESRCH));
            }
            done(Doing::Exec, libc::execve(program.path.as_ptr(), arguments.as_ptr(), environment.as_ptr()))
        }
    };
    let (doing, errno) = steps().err().unwrap_or((Doing::Exec, Errno::UnknownErrno));
    Fault { doing, errno, tell }
}

fn done(doing: Doing, result: libc::c_int) -> Result<libc::c_int, (Doing, Errno)> {
    if result < 0 { Err((doing, Errno::last())) } else { Ok(result) }
}

/// The highest signal number that is tried; there are fewer on some systems, and then nothing happens.
const HIGHEST_SIGNAL: libc::c_int = 128;

/// No signal is blocked or ignored in a script because it was in us.
fn default_signals() {
    for signal in 1..=HIGHEST_SIGNAL {
        // SAFETY: changes this process only, which is about to become another program.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: all zero bytes are a valid set to be emptied.
    let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a set of our own.
    unsafe { libc::sigemptyset(&raw mut none) };
    // SAFETY: as above.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) };
}

/// Descriptors a script may have. The hard limit can be a thousand million, and there are programs that close each of them one by one.
const DESCRIPTORS: libc::rlim_t = 4096;

/// The worker keeps itself short of memory and descriptors by soft limits; what it runs may have more. A core dump is never written: the
/// disk it would go to may be about to freeze.
fn set_limits() {
    for (resource, most) in
        [(libc::RLIMIT_AS, libc::RLIM_INFINITY), (libc::RLIMIT_NOFILE, DESCRIPTORS), (libc::RLIMIT_CORE, 0)]
    {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a struct of our own.
        if unsafe { libc::getrlimit(resource, &raw mut limit) } == 0 {
            limit.rlim_cur = limit.rlim_max.min(most);
            // SAFETY: as above. Where it fails, the script has what we have.
            unsafe { libc::setrlimit(resource, &raw const limit) };
        }
    }
}
