//! `hv-vss-sim-process`: a process of the guest that does what it is told, one line of standard input at a time, and answers each with a line.
//!
//! The tests use it as an application, as a daemon that errs, and as a holder to be killed. It has one thread and no descriptor but pipes and
//! what it was told to open, which is what ufssuspend demands of its caller.
//!
//! ```text
//! open PATH r|rw|w        fd 3                 | errno EBUSY
//! close FD                ok
//! suspend FD FSID         ok                   | errno EDEADLK
//! resume FD               ok
//! unknown FD              an ioctl no driver knows
//! read FD                 message OPT STATUS MSGID
//! write FD OPT STATUS ID  ok
//! poll FD MS              in, hup, in hup, nothing
//! thread                  ok, and from now on it has one thread more
//! count FD                ok, and from now on it counts in a shared mapping of this file
//! lost                    lost N: so many of its counts are gone from the mapping
//! lend FD                 pid PID, of a child that has this descriptor, too, and stays when we are gone
//! ```
#![allow(unsafe_code)] // The nodes' ioctls are what this program is for.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hv_vss_platform::mounts::FsId;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

#[repr(C)]
#[derive(Default)]
struct Message {
    opt: u32,
    status: u32,
    msgid: u64,
    reserved: [u64; 6],
}

mod ioctl {
    use super::Message;

    nix::ioctl_read!(vss_read, b'v', 2, Message);
    nix::ioctl_write_ptr!(vss_write, b'v', 3, Message);
    nix::ioctl_none!(vss_unknown, b'v', 1);
    nix::ioctl_write_ptr!(ufs_suspend, b'U', 1, [u8; 8]);
    nix::ioctl_none!(ufs_resume, b'U', 2);
}

#[derive(Default)]
struct Process {
    files: BTreeMap<RawFd, File>,
    lost: Arc<AtomicU64>,
}

enum Trouble {
    Errno(Errno),
    Order(String),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

fn main() {
    let mut process = Process::default();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let said = match process.obey(&line) {
            Ok(said) => said,
            Err(Trouble::Errno(errno)) => format!("errno {errno:?}"),
            Err(Trouble::Order(why)) => format!("not understood: {why}"),
        };
        println!("{said}");
        if std::io::stdout().flush().is_err() {
            return;
        }
    }
}

impl Process {
    fn obey(&mut self, line: &str) -> Result<String, Trouble> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["open", path, access] => self.open(path, access),
            ["close", fd] => {
                let fd = self.file(fd)?.as_raw_fd();
                drop(self.files.remove(&fd));
                Ok("ok".into())
            }
            ["suspend", fd, fsid] => {
                let fsid = FsId::try_from(fsid.to_owned()).map_err(Trouble::Order)?;
                // SAFETY: the descriptor is open, the argument is eight bytes that live through the call.
                unsafe { ioctl::ufs_suspend(self.file(fd)?.as_raw_fd(), &raw const fsid.0) }?;
                Ok("ok".into())
            }
            ["resume", fd] => {
                // SAFETY: the descriptor is open; there is no argument.
                unsafe { ioctl::ufs_resume(self.file(fd)?.as_raw_fd()) }?;
                Ok("ok".into())
            }
            ["unknown", fd] => {
                // SAFETY: the descriptor is open; there is no argument.
                unsafe { ioctl::vss_unknown(self.file(fd)?.as_raw_fd()) }?;
                Ok("ok".into())
            }
            ["read", fd] => {
                let mut message = Message::default();
                // SAFETY: the descriptor is open, the message is ours and of the size the ioctl encodes.
                unsafe { ioctl::vss_read(self.file(fd)?.as_raw_fd(), &raw mut message) }?;
                Ok(format!("message {} {} {}", message.opt, message.status, message.msgid))
            }
            ["write", fd, opt, status, msgid] => {
                let message =
                    Message { opt: number(opt)?, status: number(status)?, msgid: number(msgid)?, ..Message::default() };
                // SAFETY: as for reading.
                unsafe { ioctl::vss_write(self.file(fd)?.as_raw_fd(), &raw const message) }?;
                Ok("ok".into())
            }
            ["poll", fd, ms] => self.poll(fd, number(ms)?),
            ["thread"] => {
                std::thread::spawn(|| {
                    loop {
                        std::thread::park();
                    }
                });
                Ok("ok".into())
            }
            ["count", fd] => {
                count_in(self.file(fd)?, Arc::clone(&self.lost))?;
                Ok("ok".into())
            }
            ["lost"] => Ok(format!("lost {}", self.lost.load(Ordering::SeqCst))),
            ["lend", fd] => {
                let file = self.file(fd)?;
                fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))?;
                let child = Command::new("sleep").arg("100").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
                fcntl(file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
                let child = child.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
                Ok(format!("pid {}", child.id()))
            }
            _ => Err(Trouble::Order(line.into())),
        }
    }

    fn open(&mut self, path: &str, access: &str) -> Result<String, Trouble> {
        let mut options = OpenOptions::new();
        options.read(access.contains('r')).write(access.contains('w')).create(access == "w");
        let file = options.open(path).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        let fd = file.as_raw_fd();
        self.files.insert(fd, file);
        Ok(format!("fd {fd}"))
    }

    fn poll(&self, fd: &str, ms: u16) -> Result<String, Trouble> {
        let mut fds = [PollFd::new(self.file(fd)?.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(ms))?;
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        let names = [(PollFlags::POLLIN, "in"), (PollFlags::POLLHUP, "hup"), (PollFlags::POLLERR, "err")];
        let said: Vec<&str> = names.iter().filter(|(flag, _)| events.contains(*flag)).map(|(_, name)| *name).collect();
        Ok(if said.is_empty() { "nothing".into() } else { said.join(" ") })
    }

    fn file(&self, fd: &str) -> Result<&File, Trouble> {
        self.files.get(&number(fd)?).ok_or_else(|| Trouble::Order(format!("descriptor {fd} was not opened here")))
    }
}

/// Stores 1, 2, 3 ... to a shared mapping of the file, and looks before each whether the last one is still there.
fn count_in(file: &File, lost: Arc<AtomicU64>) -> Result<(), Trouble> {
    let length = NonZeroUsize::new(4096).expect("not zero");
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let place = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, file, 0) }?;
    // SAFETY: a page is aligned for it, and the mapping stays until this process ends.
    let counter: &'static AtomicU64 = unsafe { place.cast().as_ref() };
    std::thread::spawn(move || {
        let mut count = counter.load(Ordering::SeqCst);
        loop {
            let there = counter.load(Ordering::SeqCst);
            lost.fetch_add(count.saturating_sub(there), Ordering::SeqCst);
            count = there + 1;
            counter.store(count, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    Ok(())
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, Trouble> {
    word.parse().map_err(|_| Trouble::Order(format!("\"{word}\" is not the number it should be")))
}
