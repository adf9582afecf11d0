//! Which system calls may be made while filesystems are suspended: a short list, each entry with its FreeBSD counterpart and why it can't wait for a
//! disk there. What is not on it fails the test, whatever it is.
//!
//! The list is about what the call is made on, not only about its name: a close of a socket is harmless, a close of a disk file blocks on FreeBSD
//! until the resume.

use std::path::PathBuf;

use super::{Call, Descriptor};

/// What is no disk file here although it looks like one.
pub struct Ground {
    /// The simulated device nodes.
    pub nodes: PathBuf,
    /// The simulated mount table: getfsstat(2) on FreeBSD.
    pub mount_table: PathBuf,
    /// Where files are mapped into memory, of all processes together: from, until, which.
    pub mapped: Vec<(u64, u64, String)>,
}

/// The time in which something is suspended, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// The first suspend begins.
    pub from: f64,
    /// The last resume has ended.
    pub until: f64,
}

/// strace's way to write the numbers of the ioctls.
const SUSPEND: &str = "_IOC(_IOC_WRITE, 0x55, 0x1, 0x8)";
const RESUME: &str = "_IOC(_IOC_NONE, 0x55, 0x2, 0)";
const HOLD: &str = "_IOC(_IOC_WRITE, 0x56, 0x3, 0x20)";
const RELEASE: &str = "_IOC(_IOC_NONE, 0x56, 0x5, 0)";
const NODES: [&str; 4] = ["hv_fsvss_dev", "hv_appvss_dev", "ufssuspend", "vfsfreeze"];
/// The nodes whose close lets go.
const HOLDERS: [&str; 2] = ["/ufssuspend", "/vfsfreeze"];

/// On what a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Only {
    /// Whatever it is made on.
    Anything,
    /// Sockets, pipes and the kernel's own objects, and what the ground names.
    NoDiskFile,
    /// Device nodes.
    Nodes,
    /// Reading what the ground names, or opening a node; nothing is ever created.
    Looking,
    /// Memory that no file is behind.
    PlainMemory,
    /// Wait calls that return at once.
    WithoutWaiting,
}

struct Entry {
    calls: &'static [&'static str],
    /// FreeBSD's name for it.
    freebsd: &'static str,
    why: &'static str,
    only: Only,
}

const LIST: &[Entry] = &[
    Entry {
        calls: &["epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl", "poll", "ppoll", "restart_syscall"],
        freebsd: "kevent(2), poll(2)",
        why: "waits for sockets, the node's thread, signals and timers, each of which comes without a disk",
        only: Only::Anything,
    },
    Entry {
        calls: &["futex"],
        freebsd: "_umtx_op(2)",
        why: "waits for another thread of this process, and each of those is on this list as well",
        only: Only::Anything,
    },
    Entry {
        calls: &[
            "read",
            "readv",
            "recvfrom",
            "recvmsg",
            "write",
            "writev",
            "sendto",
            "sendmsg",
            "getdents64",
            "lseek",
            "fcntl",
        ],
        freebsd: "the same; getdirentries(2) and the files of /proc are sysctl(3) there",
        why: "our sockets and pipes are emptied by our own processes or by nobody: they don't block",
        only: Only::NoDiskFile,
    },
    Entry {
        calls: &["accept4", "getsockopt", "shutdown", "getpeername", "socket", "socketpair"],
        freebsd: "the same",
        why: "a connection to a bound socket needs no disk (seen on a frozen root)",
        only: Only::Anything,
    },
    Entry {
        calls: &["ioctl"],
        freebsd: "the same, on the driver's node, /dev/ufssuspend and /dev/vfsfreeze",
        why: "this is what the window is for; a suspend or resume waits for its own filesystem, in a process of its own",
        only: Only::Nodes,
    },
    Entry {
        calls: &["open", "openat"],
        freebsd: "open(2) of /dev/ufssuspend; sysctl(3) for /proc, getfsstat(2) for the mount table",
        why: "a device node opens without a disk, and the rest is no file there",
        only: Only::Looking,
    },
    Entry {
        calls: &[
            "stat",
            "fstat",
            "lstat",
            "newfstatat",
            "statx",
            "statfs",
            "fstatfs",
            "readlink",
            "readlinkat",
            "access",
        ],
        freebsd: "stat(2), or no call at all (sysctl kern.proc.filedesc)",
        why: "looking works on a suspended filesystem (seen)",
        only: Only::Anything,
    },
    Entry {
        calls: &["close"],
        freebsd: "the same",
        why: "sockets, pipes and device nodes close at once; a disk file would block until the resume",
        only: Only::NoDiskFile,
    },
    Entry {
        calls: &["mmap", "munmap", "mremap", "mprotect", "madvise", "brk"],
        freebsd: "the same, for malloc",
        why: "new memory comes without a disk (seen); taking a file's mapping away would drop its last reference",
        only: Only::PlainMemory,
    },
    Entry {
        calls: &["wait4", "waitid"],
        freebsd: "wait6(2) with WNOHANG",
        why: "looks whether a child has ended, and goes on",
        only: Only::WithoutWaiting,
    },
    Entry {
        calls: &[
            "clock_nanosleep",
            "nanosleep",
            "clock_gettime",
            "sched_yield",
            "timerfd_settime",
            "alarm",
            "setitimer",
            "getrandom",
        ],
        freebsd: "the same; a timer is kevent(2)'s, and alarm(3) is setitimer(2)",
        why: "only time passes",
        only: Only::Anything,
    },
    Entry {
        calls: &["rt_sigprocmask", "rt_sigaction", "rt_sigreturn", "sigaltstack", "getpid", "gettid", "tgkill", "kill"],
        freebsd: "sigprocmask(2), sigaction(2), sigreturn(2), getpid(2), thr_self(2), thr_kill2(2), kill(2)",
        why: "a process's own affairs, and a signal is sent without waiting for its effect",
        only: Only::Anything,
    },
];

impl Window {
    /// From the first suspend's beginning to the last resume's end; none when nothing was suspended.
    #[must_use]
    pub fn of(calls: &[Call]) -> Option<Self> {
        let is_one = |call: &Call, these: [&str; 2]| these.iter().any(|number| call.arguments.contains(number));
        let suspends = calls.iter().filter(|call| call.name == "ioctl" && is_one(call, [SUSPEND, HOLD]));
        let resumes = calls.iter().filter(|call| {
            let on_the_device =
                matches!(call.descriptor(), Some((_, Descriptor::Path(path))) if HOLDERS.iter().any(|node| path.ends_with(node)));
            call.name == "ioctl" && is_one(call, [RESUME, RELEASE]) || call.name == "close" && on_the_device
        });
        let from = suspends.map(|call| call.began).min_by(f64::total_cmp)?;
        let until =
            resumes.map(|call| call.ended.unwrap_or(f64::INFINITY)).filter(|at| *at > from).max_by(f64::total_cmp)?;
        Some(Self { from, until })
    }

    /// Whether the call is made, or still under way, in this time.
    #[must_use]
    pub fn holds(&self, call: &Call) -> bool {
        call.began <= self.until && call.ended.unwrap_or(f64::INFINITY) >= self.from
    }
}

/// Why this call may be made in the window.
///
/// # Errors
/// A sentence, when it may not.
pub fn judge(call: &Call, ground: &Ground) -> Result<&'static str, String> {
    let Some(entry) = LIST.iter().find(|entry| entry.calls.contains(&call.name.as_str())) else {
        return Err(format!("thread {} called {}({}), which is not on the list", call.tid, call.name, call.arguments));
    };
    let fits = match entry.only {
        Only::Anything => true,
        // A call without arguments was under way when the tracing began; what is waited for there has been waited for in peace already.
        Only::NoDiskFile => call.arguments.is_empty() || ground.is_no_disk_file(call),
        Only::Nodes => matches!(call.descriptor(), Some((_, Descriptor::Path(path))) if ground.is_node(&path)),
        Only::Looking => ground.may_be_opened(call),
        Only::PlainMemory => ground.is_plain_memory(call),
        Only::WithoutWaiting => call.arguments.contains("WNOHANG"),
    };
    if fits {
        return Ok(entry.why);
    }
    Err(format!(
        "thread {} called {}({}); here it may be made on {:?} alone (FreeBSD: {}): {}",
        call.tid, call.name, call.arguments, entry.only, entry.freebsd, entry.why
    ))
}

impl Ground {
    fn is_node(&self, path: &str) -> bool {
        NODES.iter().any(|node| self.nodes.join(node).as_os_str() == path)
    }

    /// No file of FreeBSD's: it stands for a system call there.
    fn stands_for_a_call(&self, path: &str) -> bool {
        path == "/proc" || path.starts_with("/proc/") || self.mount_table.as_os_str() == path
    }

    fn is_no_disk_file(&self, call: &Call) -> bool {
        match call.descriptor() {
            Some((_, Descriptor::Channel | Descriptor::Kernel(_))) => true,
            Some((_, Descriptor::Path(path))) => {
                self.is_node(&path) || self.stands_for_a_call(&path) || path == "/dev/null"
            }
            None => false,
        }
    }

    fn may_be_opened(&self, call: &Call) -> bool {
        let makes = ["O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"].iter().any(|flag| call.arguments.contains(flag));
        let writes = ["O_WRONLY", "O_RDWR"].iter().any(|flag| call.arguments.contains(flag));
        let path = call.path().unwrap_or_default();
        !makes && (self.is_node(path) || self.stands_for_a_call(path) && !writes)
    }

    fn is_plain_memory(&self, call: &Call) -> bool {
        if call.name == "mmap" {
            return call.arguments.contains("MAP_ANONYMOUS");
        }
        let number = |at: usize| -> Option<u64> {
            let text = call.argument(at);
            text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
        };
        let changes = matches!(call.name.as_str(), "munmap" | "mremap");
        let (Some(from), Some(length)) = (number(0), number(1)) else { return !changes };
        !changes || !self.mapped.iter().any(|(begin, end, _)| from < *end && from + length > *begin)
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn ground() -> Ground {
        Ground {
            nodes: "/sim/dev".into(),
            mount_table: "/sim/mounts".into(),
            mapped: vec![(0x7000_0000, 0x7000_2000, "/lib/libc.so.6".into())],
        }
    }

    #[track_caller]
    fn judged(call: &str) -> bool {
        judge(&read(&format!("1 2.0 {call} = 0 <0.000010>"))[0], &ground()).is_ok()
    }

    #[test]
    fn a_close_is_judged_by_what_is_closed() {
        for harmless in [
            "close(4<socket:[9]>)",
            "close(4<anon_inode:[pidfd]>)",
            "close(4</sim/dev/ufssuspend>)",
            "close(4</proc/5/fd>)",
        ] {
            assert!(judged(harmless), "{harmless}");
        }
        for blocks in ["close(4</usr/local/etc/hv_vss/hv_vss.toml>)", "close(4</var/log/messages>)", "close(4)"] {
            assert!(!judged(blocks), "{blocks}");
        }
    }

    #[test]
    fn nothing_is_created_written_or_opened_for_it() {
        for harmless in [
            "openat(AT_FDCWD</>, \"/proc/self/task\", O_RDONLY|O_DIRECTORY)",
            "openat(AT_FDCWD</>, \"/sim/dev/ufssuspend\", O_RDWR|O_CLOEXEC)",
        ] {
            assert!(judged(harmless), "{harmless}");
        }
        for not in [
            "openat(AT_FDCWD</>, \"/etc/passwd\", O_RDONLY)",
            "openat(AT_FDCWD</>, \"/sim/mounts\", O_RDWR)",
            "openat(AT_FDCWD</>, \"/var/db/hv_vss/history\", O_WRONLY|O_CREAT, 0600)",
            "write(7</var/log/messages>, \"\"..., 12)",
            "rename(\"/a\", \"/b\")",
            "unlink(\"/a\")",
            "fsync(3</a>)",
        ] {
            assert!(!judged(not), "{not}");
        }
    }

    #[test]
    fn nothing_is_started_ended_or_waited_for() {
        assert!(judged("wait4(-1, NULL, WNOHANG, NULL)"));
        for not in [
            "wait4(77, NULL, 0, NULL)",
            "execve(\"/bin/true\", 0x1, 0x2)",
            "clone(child_stack=NULL, flags=SIGCHLD)",
            "vfork()",
            "exit_group(0)",
        ] {
            assert!(!judged(not), "{not}");
        }
        assert!(judge(&read("1 2.0 +++ exited with 0 +++")[0], &ground()).is_err());
    }

    #[test]
    fn memory_may_come_and_go_but_no_files_mapping() {
        assert!(judged("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"));
        assert!(judged("munmap(0x7f000000, 4096)"));
        assert!(!judged("munmap(0x70001000, 4096)"));
        assert!(!judged("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3</lib/libm.so>, 0)"));
    }

    #[test]
    fn an_ioctl_is_for_the_nodes() {
        assert!(judged("ioctl(5</sim/dev/hv_fsvss_dev>, _IOC(_IOC_READ, 0x76, 0x2, 0x40), 0x7f)"));
        assert!(!judged("ioctl(5</mnt>, FIFREEZE)"));
    }

    #[test]
    fn the_window_goes_from_the_first_suspend_to_the_last_resume() {
        let calls = read(
            "1 1.0 close(3</etc/x>) = 0 <0.1>\n1 2.0 ioctl(5</sim/dev/ufssuspend>, _IOC(_IOC_WRITE, 0x55, 0x1, 0x8), 0x7f) = 0 <0.5>\n\
             1 3.0 ioctl(5</sim/dev/ufssuspend>, _IOC(_IOC_NONE, 0x55, 0x2, 0), 0) = 0 <0.5>\n1 4.0 close(5</sim/dev/ufssuspend>) = 0 <0.25>\n",
        );
        let window = Window::of(&calls).unwrap();
        assert_eq!(window, Window { from: 2.0, until: 4.25 });
        assert!(!window.holds(&calls[0]) && window.holds(&calls[2]));
    }
}
