//! `hv-vss-faults-app NODE DIRECTORY MAX_HOLD_MS`: an application on hv_appvss_dev that keeps a record of what it is asked, and waits at gates as the scripts of
//! the fault matrix do. SIGUSR1 makes it say garbage to the driver, SIGUSR2 makes it close the node and go on without.
#![allow(unsafe_code)] // An answer that nobody asked for is written past the library, and the node closed under it.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use hv_vss_app::{App, Event};
use hv_vss_platform::clock;
use nix::libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

#[repr(C)]
#[derive(Clone, Copy)]
struct Message {
    opt: u32,
    status: u32,
    msgid: u64,
    reserved: [u64; 6],
}

/// The node's descriptor, for the signal handlers.
static NODE: AtomicI32 = AtomicI32::new(-1);

mod ioctl {
    nix::ioctl_write_ptr!(vss_write, b'v', 3, super::Message);
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(node), Some(directory), Some(max_hold)) = (arguments.next(), arguments.next(), arguments.next()) else {
        eprintln!("usage: hv-vss-faults-app NODE DIRECTORY MAX_HOLD_MS");
        return ExitCode::from(64);
    };
    let max_hold = max_hold.to_str().and_then(|ms| ms.parse().ok()).map_or(Duration::ZERO, Duration::from_millis);
    match serve(Path::new(&node), PathBuf::from(directory), max_hold) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("hv-vss-faults-app: {why}");
            ExitCode::FAILURE
        }
    }
}

fn serve(node: &Path, directory: PathBuf, max_hold: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let mut app = App::open_at(node)?.max_hold(max_hold);
    let descriptor = descriptor_of(node)?;
    NODE.store(descriptor, Ordering::Relaxed);
    // SA_RESTART: a gate is waited at all the same. poll(2) is interrupted in any case, so that a node that was closed is noticed at once.
    for (signal, handler) in [(Signal::SIGUSR1, on_usr1 as extern "C" fn(c_int)), (Signal::SIGUSR2, on_usr2)] {
        let action = SigAction::new(SigHandler::Handler(handler), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handlers make system calls only.
        unsafe { sigaction(signal, &action) }?;
    }
    let place = Place { directory, descriptor };
    place.say("open", "began")?;
    loop {
        match app.wait()? {
            Event::Check(check) => {
                place.at("check")?;
                // That the driver had given up already is not for an application to worry about.
                let _ = check.accept();
                place.say("check", "ended")?;
            }
            Event::Freeze(freeze) => {
                place.at("freeze")?;
                let released = freeze.release();
                place.say("freeze", if released.is_ok() { "ended" } else { "late" })?;
            }
            Event::Thaw(_) => {
                place.say("thaw", "began")?;
                place.say("thaw", "ended")?;
            }
            Event::Gone(_) => loop {
                // The matrix has closed the node under it; it lives on.
                std::thread::park();
            },
        }
    }
}

struct Place {
    directory: PathBuf,
    descriptor: RawFd,
}

impl Place {
    fn say(&self, call: &str, what: &str) -> std::io::Result<()> {
        let now = clock::now().as_ns() / 10_000_000;
        let line = format!("app {call} {what} {} {}.{:02} -\n", std::process::id(), now / 100, now % 100);
        OpenOptions::new().append(true).create(true).open(self.directory.join("record"))?.write_all(line.as_bytes())
    }

    /// A call has begun: waits at its gate, if there is one, and does as it is ordered.
    fn at(&self, call: &str) -> std::io::Result<()> {
        self.say(call, "began")?;
        let gate = self.directory.join("gates").join(format!("app-{call}"));
        let Ok(gate) = std::fs::File::open(gate) else { return Ok(()) };
        let mut order = String::new();
        BufReader::with_capacity(1, gate).read_line(&mut order)?;
        match order.trim_end() {
            "exit" => std::process::exit(0),
            "hang" => loop {
                std::thread::park();
            },
            "slow" => std::thread::sleep(Duration::from_millis(300)),
            "garbage" => say_garbage(self.descriptor),
            "closed-socket" => close(self.descriptor),
            _ => {}
        }
        Ok(())
    }
}

/// An answer to what nobody has asked.
fn say_garbage(node: RawFd) {
    let message = Message { opt: 77, status: 99, msgid: 0x6a72_6261_6765, reserved: [u64::MAX; 6] };
    // SAFETY: the descriptor is the node's, or closed; the message lives through the call.
    let _ = unsafe { ioctl::vss_write(node, &raw const message) };
}

/// Something else takes its number, so that the library's own close does not meet another file.
fn close(node: RawFd) {
    // SAFETY: the path is a C string; no memory is passed but that.
    let null = unsafe { nix::libc::open(c"/dev/null".as_ptr(), nix::libc::O_RDONLY | nix::libc::O_CLOEXEC) };
    // SAFETY: both are descriptors of this process, or -1, which is refused.
    let _ = unsafe { nix::libc::dup2(null, node) };
}

extern "C" fn on_usr1(_: c_int) {
    say_garbage(NODE.load(Ordering::Relaxed));
}

extern "C" fn on_usr2(_: c_int) {
    close(NODE.load(Ordering::Relaxed));
}

fn descriptor_of(node: &Path) -> std::io::Result<RawFd> {
    for entry in std::fs::read_dir("/proc/self/fd")?.flatten() {
        let Ok(number) = entry.file_name().to_string_lossy().parse() else { continue };
        if std::fs::read_link(entry.path()).is_ok_and(|target| target == node) {
            return Ok(number);
        }
    }
    Err(std::io::Error::other("the node is not among my descriptors"))
}
