//! What kind of process a worker is: which signals reach it, where it is, what it inherits.
#![allow(unsafe_code, reason = "signal handlers, and the socket that is inherited by number")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_wire::WORKER_SOCKET_FD;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::stat::{Mode, umask};
use nix::unistd::alarm;

/// Signals that end other programs and are no way to end this one. A Ctrl-C in the terminal of a daemon in the foreground, the shutdown of
/// the machine, a careless kill: they reach all processes at once, and it is the daemon that must hear them and let go in order. A worker ends
/// by `close`, by its socket, or by SIGKILL.
const NOT_FOR_US: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

/// Makes this process what the header tells plugins about it.
///
/// # Errors
/// A sentence.
pub fn prepare() -> Result<(), String> {
    std::env::set_current_dir("/").map_err(|error| format!("can't change to the directory /: {error}"))?;
    umask(Mode::from_bits_truncate(0o077));
    // A handler that does nothing instead of SIG_IGN: exec sets it back to the default, so that a plugin's children are killed by what
    // kills others.
    let nothing = SigAction::new(SigHandler::Handler(on_signal), SaFlags::SA_RESTART, SigSet::empty());
    for signal in NOT_FOR_US {
        // SAFETY: the handler does nothing at all.
        unsafe { sigaction(signal, &nothing) }.map_err(|errno| format!("can't catch {signal}: {}", errno.desc()))?;
    }
    // Whatever was inherited: the backstop must work.
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default is no handler of ours.
    unsafe { sigaction(Signal::SIGALRM, &default) }
        .map_err(|errno| format!("can't reset SIGALRM: {}", errno.desc()))?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(|errno| format!("can't clear the signal mask: {}", errno.desc()))?;
    // std has set SIGPIPE to be ignored, and gives children the default.
    Ok(())
}

/// Ends this process by SIGALRM when a call of the plugin lasts until well beyond its deadline.
///
/// The orchestrator kills a worker at the deadline. But an orchestrator that has died kills nobody, a plugin that hangs does not notice that it has
/// died, and what such a process holds would stay held for ever: the next orchestrator waits for its end.
pub struct Backstop(());

/// How long after the deadline the backstop strikes, in seconds: the orchestrator, if there is one, comes first.
const AFTER_THE_DEADLINE_S: u64 = 4;

impl Backstop {
    /// Set until it is dropped. Children do not inherit it.
    #[must_use]
    pub fn behind(deadline: Monotonic) -> Self {
        let left = clock::now().until(deadline).as_secs().saturating_add(AFTER_THE_DEADLINE_S);
        alarm::set(u32::try_from(left).unwrap_or(u32::MAX));
        Self(())
    }
}

impl Drop for Backstop {
    fn drop(&mut self) {
        alarm::cancel();
    }
}

extern "C" fn on_signal(_: nix::libc::c_int) {}

/// Takes over the socket to the orchestrator, and closes everything above it that was inherited by mistake. To be called once, early.
///
/// # Errors
/// A sentence, when there is no socket: then nobody started this program the way it is meant to be.
pub fn take_socket() -> Result<OwnedFd, String> {
    let refuse = || {
        format!(
            "descriptor {WORKER_SOCKET_FD} is not a socket: this program is started by hv_vss_daemon (to look at a plugin yourself: hv_vss_worker inspect FILE)"
        )
    };
    // SAFETY: nothing in this process has opened descriptor 3 or one above; the caller calls this once.
    let socket = unsafe { OwnedFd::from_raw_fd(WORKER_SOCKET_FD) };
    if getsockopt(&socket, sockopt::SockType).is_err() {
        // Not ours to close.
        std::mem::forget(socket);
        return Err(refuse());
    }
    // A child that inherits the socket would keep the orchestrator from seeing our end.
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
        .map_err(|errno| format!("can't mark the socket close-on-exec: {}", errno.desc()))?;
    // SAFETY: as above.
    unsafe { hv_vss_platform::descriptors::close_from(socket.as_raw_fd() + 1) };
    Ok(socket)
}
