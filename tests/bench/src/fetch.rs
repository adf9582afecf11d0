//! The peers, unpacked from Debian's packages into target/bench/peers: never installed, never started by anyone but the benchmark.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::jail::libraries_of;

/// The packages they are in, and those that qemu-ga's libraries are in.
const PACKAGES: [&str; 7] =
    ["qemu-guest-agent", "hyperv-daemons", "libglib2.0-0", "libnuma1", "liburing2", "libpcre2-8-0", "libudev1"];

/// The peers on this machine.
pub(crate) struct Peers {
    root: PathBuf,
}

impl Peers {
    /// Those that lie below `target`, unpacked there first if need be.
    ///
    /// # Panics
    /// When apt-get or dpkg fail.
    pub(crate) fn below(target: &Path) -> Self {
        let directory = target.join("bench/peers");
        let this = Self { root: directory.join("root") };
        if !this.qemu().exists() || !this.linux().exists() {
            println!("unpacking the peers into {}", directory.display());
            unpack(&directory);
        }
        for program in [this.qemu(), this.linux()] {
            assert!(!libraries_of(&program).is_empty(), "{} can't be run here: it lacks libraries", program.display());
        }
        this
    }

    pub(crate) fn qemu(&self) -> PathBuf {
        self.root.join("usr/sbin/qemu-ga")
    }

    /// The runner of hooks that comes with it.
    pub(crate) fn qemu_hook_runner(&self) -> PathBuf {
        self.root.join("etc/qemu/fsfreeze-hook")
    }

    pub(crate) fn linux(&self) -> PathBuf {
        self.root.join("usr/sbin/hv_vss_daemon")
    }

    /// Their versions, as the names of the packages say.
    pub(crate) fn versions(&self) -> Vec<String> {
        let above = self.root.parent().unwrap_or(&self.root);
        let names = fs::read_dir(above).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let names = names.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".deb"));
        let mut versions: Vec<String> = names
            .filter(|name| PACKAGES[..2].iter().any(|package| name.starts_with(package)))
            .map(|name| name.splitn(3, '_').take(2).collect::<Vec<_>>().join(" ").replace("%3a", ":"))
            .collect();
        versions.sort();
        versions
    }
}

fn unpack(directory: &Path) {
    fs::create_dir_all(directory).unwrap_or_else(|error| panic!("can't make {}: {error}", directory.display()));
    run(Command::new("apt-get").args(["-qq", "download"]).args(PACKAGES).current_dir(directory));
    let packages = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    for package in packages.filter(|path| path.extension().is_some_and(|ending| ending == "deb")) {
        run(Command::new("dpkg").arg("-x").arg(package).arg(directory.join("root")));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("can't run {command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}");
}
