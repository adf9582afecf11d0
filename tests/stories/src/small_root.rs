//! A whole small system on one disk, entered by pivot_root(2): programs, libraries, plugins, hooks with their shell, configuration, log, state, pid file
//! and control socket, all of it on the very filesystem that the daemon in it freezes. Outside of that disk it has only what no system keeps on one:
//! /dev, /proc and the simulated nodes.
//!
//! Its mount namespace is one more, below the test's: nothing in it can reach a filesystem of this machine.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use hv_vss_sim::ground::write_mount_table;
use hv_vss_testbed::{built, program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::guest::Guest;
use crate::patience::{PACE, PATIENCE, wait_for};
use crate::process;
use crate::stage::Stage;

/// The disk's name on the stage.
const DISK: &str = "root";
/// A shell and a syslogd in one program. Its place in the system.
const BUSYBOX: &str = "/bin/busybox";

/// Mounts what belongs to no disk, makes the disk the root, and becomes the program after it.
const ENTER: &str = r#"
cd "$1"
mount -t tmpfs -o mode=0755 dev dev
: > dev/null
mount --bind /dev/null dev/null
mkdir dev/vss
mount --bind "$2" dev/vss
mount --rbind /proc proc
pivot_root . old
cd /
shift 2
exec /bin/busybox sh -ec 'umount -l /old; exec "$@"' sh "$@"
"#;

/// The system, with its syslogd and its daemon running. Dropping it ends all of that, thawed, on a panic too.
pub struct SmallRoot {
    syslogd: Child,
    daemon: Child,
    shells: Vec<Child>,
    /// Taken at the end, before the processes are waited for: one that is blocked on the frozen disk ends only when that is thawed.
    guest: Option<Guest>,
}

/// A shell that runs in the system since before anything was frozen.
pub struct Shell {
    stdin: ChildStdin,
}

impl SmallRoot {
    /// Sets it up on this stage, with a hook that keeps a log of its own, and starts its syslogd and its daemon.
    ///
    /// # Panics
    /// When anything of that fails.
    #[must_use]
    #[track_caller]
    pub fn start(stage: Stage, max_frozen: Duration) -> Self {
        let stage = stage.disk(DISK);
        lay_out(&stage, max_frozen);
        let root = stage.disk_named(DISK).on.clone();
        let guest = stage.without_a_daemon();
        let mut enter = Command::new("unshare");
        enter.args(["--mount", "--propagation", "private", "/bin/sh", "-ec", ENTER, "sh"]);
        enter.arg(&root).arg(guest.stage().dev()).args([BUSYBOX, "syslogd", "-n", "-O", "/var/log/messages"]);
        let syslogd = process::start(enter.stdin(Stdio::null()), Signal::SIGKILL);
        wait_for("its syslogd", || log_socket(&syslogd).is_ok());
        let mut daemon = within(&syslogd);
        daemon.args(["/usr/local/sbin/hv_vss_daemon", "-n", "--log", "syslog"]).stdin(Stdio::null());
        let daemon = process::start(&mut daemon, Signal::SIGKILL);
        let system = Self { syslogd, daemon, shells: Vec::new(), guest: Some(guest) };
        system.logs(&["ready:"]);
        system.lies_on_its_root();
        system
    }

    /// Claims that the daemon and its workers run from the disk, library by library: otherwise nothing here would prove anything.
    #[track_caller]
    fn lies_on_its_root(&self) {
        let device = |path: &Path| {
            fs::metadata(path).map(|about| about.dev()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let disk = device(&self.disk(DISK));
        let hosts: Vec<i32> = process::children(self.daemon_pid()).into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(hosts.len(), 3, "a host for each plugin");
        for pid in hosts.into_iter().chain([self.daemon_pid()]) {
            let about = PathBuf::from(format!("/proc/{pid}"));
            assert_eq!([device(&about.join("exe")), device(&about.join("root/"))], [disk; 2], "process {pid}");
            // Each is a link to what is mapped there.
            let mapped =
                fs::read_dir(about.join("map_files")).unwrap_or_else(|error| panic!("{}: {error}", about.display()));
            let mapped: Vec<PathBuf> = mapped.flatten().map(|entry| entry.path()).collect();
            assert!(mapped.len() > 4, "a program and its libraries: {mapped:?}");
            mapped.iter().for_each(|file| assert_eq!(device(file), disk, "{:?} of process {pid}", fs::read_link(file)));
        }
    }

    /// A file of the system, as seen from outside.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.disk(DISK).join(path)
    }

    /// The daemon's process id.
    #[must_use]
    pub fn daemon_pid(&self) -> i32 {
        i32::try_from(self.daemon.id()).unwrap_or(0)
    }

    /// Sends the daemon a signal, from outside.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    pub fn daemon_gets(&self, signal: Signal) {
        kill(Pid::from_raw(self.daemon_pid()), signal)
            .unwrap_or_else(|errno| panic!("can't signal the daemon: {errno}"));
    }

    /// What could pile up over many cycles: the daemon's open descriptors, and all processes below it, those not reaped included.
    #[must_use]
    pub fn belongings(&self) -> (usize, usize) {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.daemon_pid())).map_or(0, Iterator::count);
        let hosts = process::children(self.daemon_pid());
        let below: usize = hosts.iter().map(|(host, _)| process::children(*host).len()).sum();
        (descriptors, hosts.len() + below)
    }

    /// Waits for the daemon's end: its exit status, or none when a signal ended it.
    ///
    /// # Panics
    /// When it doesn't end.
    #[track_caller]
    pub fn daemon_ends(&mut self) -> Option<i32> {
        let mut status = None;
        wait_for("the daemon's end", || {
            status = self.daemon.try_wait().unwrap_or_else(|error| panic!("can't wait for the daemon: {error}"));
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// A shell of the system, opened now.
    ///
    /// # Panics
    /// When it can't be started.
    #[track_caller]
    pub fn shell(&mut self) -> Shell {
        let mut command = within(&self.syslogd);
        command.args([BUSYBOX, "sh"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let mut child = process::start(&mut command, Signal::SIGKILL);
        let stdin = child.stdin.take().expect("piped");
        let pid = i32::try_from(child.id()).unwrap_or(0);
        self.shells.push(child);
        wait_for("a shell", || fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("busybox")));
        Shell { stdin }
    }

    /// Fills syslogd's queue until it takes no more, as every other program of the system does in a while: it must have got stuck on its log, which
    /// lies on the frozen disk.
    ///
    /// # Panics
    /// When it goes on reading.
    #[track_caller]
    pub fn syslogd_is_stuck(&self) {
        let socket = log_socket(&self.syslogd).unwrap_or_else(|error| panic!("can't reach syslogd: {error}"));
        let full =
            |_| matches!(socket.send(b"<30>other: a line"), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        assert!((0..10_000).any(full), "syslogd goes on taking lines");
        let pid = i32::try_from(self.syslogd.id()).unwrap_or(0);
        wait_for("syslogd to be stuck", || process::state(pid) == Some('D'));
    }

    /// Claims that the system's log has, or comes to have, a line with all of these words.
    ///
    /// # Panics
    /// When it doesn't in time.
    #[track_caller]
    pub fn logs(&self, words: &[&str]) {
        let log = self.file("var/log/messages");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            if text.lines().any(|line| words.iter().all(|word| line.contains(word))) {
                return;
            }
            assert!(Instant::now() < deadline, "{words:?} never came into the log:\n{text}");
            std::thread::sleep(PACE);
        }
    }

    /// Claims that the system's hook has run so, or does so in a moment: each line "PHASE OUTCOME".
    ///
    /// # Panics
    /// When it doesn't in time.
    #[track_caller]
    pub fn hook_ran(&self, expected: &[&str]) {
        let log = self.file("var/log/hook");
        let lines = || fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
        let deadline = Instant::now() + PATIENCE;
        while lines() != expected && Instant::now() < deadline {
            std::thread::sleep(PACE);
        }
        assert_eq!(lines(), expected);
    }

    /// Asks the daemon on its control socket how it stands.
    ///
    /// # Panics
    /// When it doesn't answer.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> String {
        let ask = || -> io::Result<String> {
            let mut socket = UnixStream::connect(self.file("var/run/hv_vss.sock"))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            let question = br#"{"ask":"status"}"#;
            socket.write_all(&u32::try_from(question.len()).unwrap_or(0).to_le_bytes())?;
            socket.write_all(question)?;
            let mut length = [0; 4];
            socket.read_exact(&mut length)?;
            let mut answer = vec![0; u32::from_le_bytes(length) as usize];
            socket.read_exact(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        ask().unwrap_or_else(|error| panic!("the daemon does not say how it stands: {error}"))
    }
}

impl Shell {
    /// Types a line.
    ///
    /// # Panics
    /// When the shell is gone.
    #[track_caller]
    pub fn line(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("the shell listens");
    }
}

impl Deref for SmallRoot {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        self.guest.as_ref().expect("taken only at the end")
    }
}

impl DerefMut for SmallRoot {
    fn deref_mut(&mut self) -> &mut Guest {
        self.guest.as_mut().expect("taken only at the end")
    }
}

impl Drop for SmallRoot {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What is frozen can be read, too.
            println!("log:\n{}", fs::read_to_string(self.file("var/log/messages")).unwrap_or_default());
        }
        let mut all: Vec<&mut Child> = self.shells.iter_mut().chain([&mut self.daemon, &mut self.syslogd]).collect();
        // Fails only for one that has ended already.
        all.iter_mut().for_each(|child| drop(child.kill()));
        drop(self.guest.take());
        all.iter_mut().for_each(|child| drop(child.wait()));
    }
}

/// A command that runs in the system.
fn within(syslogd: &Child) -> Command {
    let mut command = Command::new("nsenter");
    command.arg("--mount").arg("-t").arg(syslogd.id().to_string()).arg("--");
    command
}

fn log_socket(syslogd: &Child) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(format!("/proc/{}/root/dev/log", syslogd.id()))?;
    Ok(socket)
}

/// Puts all that belongs to the system in its place: where a FreeBSD system has it, so that the configuration says nothing of paths.
fn lay_out(stage: &Stage, max_frozen: Duration) {
    let root = &stage.disk_named(DISK).on;
    let made = |result: io::Result<()>, what: &Path| {
        result.unwrap_or_else(|error| panic!("can't make {}: {error}", what.display()))
    };
    let prefix = root.join("usr/local");
    let directories = [
        "bin",
        "dev",
        "proc",
        "old",
        "tmp",
        "var/db/hv_vss",
        "var/log",
        "var/run",
        "usr/local/etc/hv_vss/hooks.d",
        "etc",
    ];
    for directory in directories {
        made(fs::create_dir_all(root.join(directory)), &root.join(directory));
    }
    let mut libraries = BTreeSet::new();
    let mut install = |from: &Path, to: PathBuf| {
        libraries.extend(libraries_of(from));
        to.parent().into_iter().for_each(|above| made(fs::create_dir_all(above), above));
        copy(from, &to);
    };
    install(&built("hv_vss_daemon"), prefix.join("sbin/hv_vss_daemon"));
    install(&built("hv_vss_worker"), prefix.join("libexec/hv_vss/hv_vss_worker"));
    install(&built("hv_vss_flush"), prefix.join("libexec/hv_vss/hv_vss_flush"));
    for (library, plugin) in
        [("libufs.so", "ufs.so"), ("libzfs_veto.so", "zfs_veto.so"), ("libexec_hook.so", "exec_hook.so")]
    {
        install(&built(library), prefix.join("lib/hv_vss/plugins").join(plugin));
    }
    install(&program("busybox").expect("a test that needs it is skipped without"), root.join("bin/busybox"));
    for library in libraries.clone() {
        let to = root.join(library.strip_prefix("/").unwrap_or(&library));
        to.parent().into_iter().for_each(|above| made(fs::create_dir_all(above), above));
        copy(&library, &to);
    }
    made(symlink("busybox", root.join("bin/sh")), &root.join("bin/sh"));

    let hook = prefix.join("etc/hv_vss/hooks.d/50-app");
    made(fs::write(&hook, "#!/bin/sh\necho \"$1 $HV_VSS_OUTCOME\" >> /var/log/hook\n"), &hook);
    made(fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)), &hook);
    let configuration = prefix.join("etc/hv_vss/hv_vss.toml");
    made(fs::write(&configuration, configuration_text(max_frozen)), &configuration);
    let mut mount = stage.table_line(DISK);
    "/".clone_into(&mut mount.on);
    write_mount_table(&root.join("etc/mounts"), &[mount]);
}

/// By a process of its own: a program that this one had open for writing would be inherited by whatever another thread starts in that moment, and
/// could not be executed yet (ETXTBSY).
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg(from).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()), "can't copy {} to {}", from.display(), to.display());
}

fn configuration_text(max_frozen: Duration) -> String {
    format!(
        "[device]\nnode = \"/dev/vss/hv_fsvss_dev\"\nmount_table = \"/etc/mounts\"\n\
         [time]\nlimit = \"{}ms\"\nreserve = \"400ms\"\nmax_frozen = \"{}ms\"\nthaw_answer_after = \"600ms\"\nlast_flush = \"300ms\"\n\
         [plugin.ufs]\ndevice = \"/dev/vss/ufssuspend\"\n",
        crate::LIMIT.as_millis(),
        max_frozen.as_millis()
    )
}

/// The libraries that a program or library is linked with: ldd(1)'s absolute paths. A static one has none.
fn libraries_of(file: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(file).output().unwrap_or_else(|error| panic!("can't run ldd: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':')).map(PathBuf::from).collect()
}
