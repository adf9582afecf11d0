//! A small root of its own for a tool that freezes whatever it finds: a directory of the benchmark's tmpfs, with the tool, copies of its libraries,
//! /proc, and the disks that are to be frozen. No /sys, and nothing of this machine's own disks.
//!
//! [`Jail::start`] starts this very program once more, as `hv-vss-bench jail`; that process takes a mount namespace, makes the directory its root,
//! lets go of everything else, proves from its mount table that nothing else is left, and only then becomes the tool.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_platform::priority;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use serde::{Deserialize, Serialize};

use crate::child::Running;
use crate::proof::{self, Device};

/// Where the disks are in there.
const DISKS: &str = "/disks";
/// The old root, for a moment.
const OLD: &str = "old";

/// One disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Disk {
    pub(crate) name: String,
    pub(crate) on: PathBuf,
}

/// A small root.
pub(crate) struct Jail {
    root: PathBuf,
    disks: Vec<Disk>,
    /// Directories that are bound into it, beside the disks.
    bound: Vec<(PathBuf, PathBuf)>,
}

/// What the process that becomes the tool is told.
#[derive(Serialize, Deserialize)]
struct Orders {
    root: PathBuf,
    disks: Vec<Disk>,
    devices: BTreeSet<Device>,
    bound: Vec<(PathBuf, PathBuf)>,
    command: Vec<String>,
}

impl Jail {
    /// A root in this directory, which must be on the benchmark's tmpfs, with these programs at their own paths.
    pub(crate) fn build(root: &Path, disks: &[Disk], programs: &[(&Path, &str)]) -> Self {
        for directory in ["proc", OLD, "dev", "run", "tmp", "var/run", "var/log", "var/lib", "etc", "bin"] {
            make_directory(&root.join(directory));
        }
        for (name, number) in [("null", 3), ("zero", 5), ("urandom", 9)] {
            node(&root.join("dev").join(name), SFlag::S_IFCHR, makedev(1, number));
        }
        for disk in disks {
            make_directory(&root.join(&DISKS[1..]).join(&disk.name));
            // hv_vss_daemon looks at the device's node.
            let minor = minor(device(&disk.on));
            node(&root.join(format!("dev/loop{minor}")), SFlag::S_IFBLK, makedev(7, minor));
        }
        for (program, to) in programs {
            copy(program, &root.join(to.trim_start_matches('/')));
            for library in libraries_of(program) {
                copy(&library, &root.join(library.strip_prefix("/").unwrap_or(&library)));
            }
        }
        Self { root: root.to_owned(), disks: disks.to_vec(), bound: Vec::new() }
    }

    /// A directory of the benchmark's appears in there, too.
    pub(crate) fn bind(&mut self, from: &Path, to: &str) {
        make_directory(&self.root.join(to));
        self.bound.push((from.to_owned(), to.into()));
    }

    /// A file in there.
    pub(crate) fn file(&self, path: &str, text: &[u8], mode: u32) {
        let path = self.path(path);
        path.parent().into_iter().for_each(make_directory);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .unwrap_or_else(|error| panic!("can't make {}: {error}", path.display()));
    }

    /// A path in there, as seen from outside.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// The disks' paths in there, in the order they were given.
    pub(crate) fn disks(&self) -> impl Iterator<Item = String> {
        self.disks.iter().map(|disk| format!("{DISKS}/{}", disk.name))
    }

    /// Starts a command in there, with its standard input and output on pipes; and when it was executed.
    ///
    /// # Panics
    /// When the jail does not hold what it should.
    pub(crate) fn start(&self, command: &[&str]) -> (Running, Monotonic) {
        let orders = Orders {
            root: self.root.clone(),
            disks: self.disks.clone(),
            devices: self.disks.iter().map(|disk| own_device(&disk.on, &self.root)).collect(),
            bound: self.bound.clone(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
        };
        let orders = serde_json::to_string(&orders).expect("orders are JSON");
        let mut child = Command::new(std::env::current_exe().expect("every process has a program"));
        child.args(["jail", &orders]).env_clear().env("PATH", "/bin:/usr/bin:/sbin:/usr/sbin").current_dir("/");
        let mut running = Running::start(child.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let mut executed = [0; 8];
        let told = running.stdout().read_exact(&mut executed);
        assert!(told.is_ok(), "{command:?} was not started (the reason is on the standard error output)");
        (running, Monotonic::from_ns(u64::from_ne_bytes(executed)))
    }
}

/// What `hv-vss-bench jail` does: comes back only with the reason why it did not become the tool.
pub(crate) fn enter(orders: &str) -> String {
    match try_to_enter(orders) {
        Ok(never) => match never {},
        Err(why) => why,
    }
}

enum Never {}

fn try_to_enter(orders: &str) -> Result<Never, String> {
    let orders: Orders =
        serde_json::from_str(orders).map_err(|error| format!("orders that are not understood: {error}"))?;
    let cannot = |what: &'static str| move |errno: nix::Error| format!("can't {what}: {errno}");
    let nothing: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).map_err(cannot("have a mount namespace"))?;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).map_err(cannot("make it private"))?;
    let bind = |from: &Path, to: &Path| {
        mount(Some(from), to, nothing, MsFlags::MS_BIND, nothing)
            .map_err(|errno| format!("can't bind {} to {}: {errno}", from.display(), to.display()))
    };
    bind(&orders.root, &orders.root)?;
    std::env::set_current_dir(&orders.root).map_err(|error| format!("can't go there: {error}"))?;
    for disk in &orders.disks {
        bind(&disk.on, &Path::new(&DISKS[1..]).join(&disk.name))?;
    }
    for (from, to) in &orders.bound {
        bind(from, to)?;
    }
    mount(Some("proc"), "proc", Some("proc"), MsFlags::empty(), nothing).map_err(cannot("mount /proc"))?;
    nix::unistd::pivot_root(".", OLD).map_err(cannot("change the root"))?;
    std::env::set_current_dir("/").map_err(|error| format!("can't go to the new root: {error}"))?;
    umount2("/old", MntFlags::MNT_DETACH).map_err(cannot("let go of the old root"))?;

    prove(&orders.devices)?;
    // The benchmark goes before all others; a tool has what it would have anywhere.
    priority::usual().map_err(|error| error.to_string())?;
    let (program, arguments) = orders.command.split_first().ok_or("there is no command")?;
    let now = clock::now().as_ns().to_ne_bytes();
    let mut output = std::io::stdout();
    output.write_all(&now).and_then(|()| output.flush()).map_err(|error| format!("nobody listens: {error}"))?;
    // It inherits no descriptor of ours: all of them are close-on-exec.
    let error = Command::new(program).args(arguments).exec();
    Err(format!("can't become {program}: {error}"))
}

/// From within: the root is a tmpfs, and nothing but the disks could be frozen.
pub(crate) fn prove(devices: &BTreeSet<Device>) -> Result<(), String> {
    let root = statfs("/").map_err(|errno| format!("can't look at the root: {errno}"))?;
    if root.filesystem_type() != TMPFS_MAGIC {
        return Err("refused: the root is no tmpfs".to_owned());
    }
    let table =
        fs::read_to_string("/proc/self/mountinfo").map_err(|error| format!("can't read the mount table: {error}"))?;
    proof::only_ours(&table, DISKS, devices).map_err(|why| format!("refused: {why}"))
}

fn device(on: &Path) -> u64 {
    fs::metadata(on).unwrap_or_else(|error| panic!("can't look at {}: {error}", on.display())).dev()
}

/// The device of one of our disks, after a look at what is behind it: a loop device whose file lies where our root lies.
fn own_device(on: &Path, root: &Path) -> Device {
    let device = device(on);
    let (major, minor) = (major(device), minor(device));
    let backing = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/loop/backing_file")).unwrap_or_default();
    let above = root.parent().unwrap_or(root);
    assert!(
        major == 7 && Path::new(backing.trim_end()).starts_with(above),
        "refused: {} is on device {major}:{minor}, which is not one of the benchmark's images (\"{}\")",
        on.display(),
        backing.trim_end()
    );
    format!("{major}:{minor}")
}

fn make_directory(path: &Path) {
    fs::create_dir_all(path).unwrap_or_else(|error| panic!("can't make {}: {error}", path.display()));
}

fn node(path: &Path, kind: SFlag, device: u64) {
    mknod(path, kind, Mode::from_bits_truncate(0o666), device)
        .unwrap_or_else(|errno| panic!("can't make {}: {errno}", path.display()));
}

/// By a process of its own: what this one has open for writing another thread's fork may have open a moment longer, and exec finds it busy.
fn copy(from: &Path, to: &Path) {
    to.parent().into_iter().for_each(make_directory);
    let done = Command::new("cp").arg("-L").arg(from).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()), "can't copy {} to {}", from.display(), to.display());
}

/// The libraries a program is linked with, as ldd(1) finds them.
pub(crate) fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap_or_else(|error| panic!("can't run ldd: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':')).map(PathBuf::from).collect()
}
