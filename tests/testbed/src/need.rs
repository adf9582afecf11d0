//! Everything a test may need beside a Rust toolchain and a C compiler: the only such list.

use std::env;
use std::fs::File;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Something that a test needs and a machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Effective user id 0.
    Root,
    /// A FUSE device that can be opened.
    Fuse,
    /// Loop devices.
    Loop,
    /// Tools for ext4.
    Ext4,
    /// mount(8) and umount(8).
    Mount,
    /// ps(1).
    Procps,
    /// FreeBSD's make.
    Bmake,
    /// A C++ compiler.
    Cxx,
    /// clang with the runtime of its sanitizers and of its fuzzer.
    Clang,
    /// A POSIX shell without extensions.
    Dash,
    /// Reads manual pages.
    Mandoc,
    /// Reads shell scripts.
    Shellcheck,
    /// What packs for pkg(8): zstd, GNU tar, readelf and Python.
    Packer,
    /// Lists system calls.
    Strace,
    /// A whole small system in one program.
    Busybox,
    /// Python 3.
    Python,
    /// A parser of OpenMetrics that is not ours.
    Prometheus,
    /// SQLite's library and header.
    Sqlite,
    /// PostgreSQL's server and client.
    Postgresql,
    /// MariaDB's server and client.
    Mariadb,
    /// Redis' server and client.
    Redis,
}

/// How a need is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The user who runs the tests.
    User,
    /// A device that has to be there and to open.
    Device(&'static str),
    /// Programs on the search path.
    Programs(&'static [&'static str]),
    /// For each entry one of these files.
    Files(&'static [&'static [&'static str]]),
}

/// Where programs of the system lie that an ordinary user's search path may lack.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/sbin"];

const SQLITE: &[&[&str]] = &[
    &["/usr/include/sqlite3.h", "/usr/local/include/sqlite3.h"],
    &[
        "/usr/lib/x86_64-linux-gnu/libsqlite3.so",
        "/usr/lib/aarch64-linux-gnu/libsqlite3.so",
        "/usr/local/lib/libsqlite3.so",
    ],
];
const PROMETHEUS: &[&[&str]] =
    &[&["/usr/bin/python3"], &["/usr/lib/python3/dist-packages/prometheus_client/openmetrics/parser.py"]];
const POSTGRESQL: &[&[&str]] = &[
    &["/usr/lib/postgresql/15/bin/postgres"],
    &["/usr/lib/postgresql/15/bin/initdb"],
    &["/usr/bin/psql"],
    &["/usr/share/postgresql/15/postgres.bki"],
];

impl Need {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Root,
        Self::Fuse,
        Self::Loop,
        Self::Ext4,
        Self::Mount,
        Self::Procps,
        Self::Bmake,
        Self::Cxx,
        Self::Clang,
        Self::Dash,
        Self::Mandoc,
        Self::Shellcheck,
        Self::Packer,
        Self::Strace,
        Self::Busybox,
        Self::Python,
        Self::Prometheus,
        Self::Sqlite,
        Self::Postgresql,
        Self::Mariadb,
        Self::Redis,
    ];

    /// Its name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Fuse => "/dev/fuse",
            Self::Loop => "/dev/loop-control",
            Self::Ext4 => "e2fsprogs",
            Self::Mount => "mount",
            Self::Procps => "procps",
            Self::Bmake => "bmake",
            Self::Cxx => "g++",
            Self::Clang => "clang",
            Self::Dash => "dash",
            Self::Mandoc => "mandoc",
            Self::Shellcheck => "shellcheck",
            Self::Packer => "packer",
            Self::Strace => "strace",
            Self::Busybox => "busybox",
            Self::Python => "python3",
            Self::Prometheus => "prometheus-client",
            Self::Sqlite => "sqlite3",
            Self::Postgresql => "postgresql",
            Self::Mariadb => "mariadb",
            Self::Redis => "redis",
        }
    }

    /// The need of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|need| need.name() == name)
    }

    /// How it is found.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Root => Kind::User,
            Self::Fuse => Kind::Device("/dev/fuse"),
            Self::Loop => Kind::Device("/dev/loop-control"),
            Self::Ext4 => Kind::Programs(&["mkfs.ext4", "fsck.ext4", "dumpe2fs"]),
            Self::Mount => Kind::Programs(&["mount", "umount"]),
            Self::Procps => Kind::Programs(&["ps"]),
            Self::Bmake => Kind::Programs(&["bmake"]),
            Self::Cxx => Kind::Programs(&["c++"]),
            Self::Clang => Kind::Programs(&["clang"]),
            Self::Dash => Kind::Programs(&["dash"]),
            Self::Mandoc => Kind::Programs(&["mandoc"]),
            Self::Shellcheck => Kind::Programs(&["shellcheck"]),
            Self::Packer => Kind::Programs(&["zstd", "readelf", "python3"]),
            Self::Strace => Kind::Programs(&["strace"]),
            Self::Busybox => Kind::Programs(&["busybox"]),
            Self::Python => Kind::Programs(&["python3"]),
            Self::Prometheus => Kind::Files(PROMETHEUS),
            Self::Sqlite => Kind::Files(SQLITE),
            Self::Postgresql => Kind::Files(POSTGRESQL),
            Self::Mariadb => Kind::Programs(&["mariadbd", "mariadb", "mariadb-binlog", "mariadb-install-db"]),
            Self::Redis => Kind::Programs(&["redis-server", "redis-cli"]),
        }
    }

    /// The Debian packages that bring it; none for what no package brings.
    #[must_use]
    pub const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Root | Self::Fuse | Self::Loop => &[],
            Self::Ext4 => &["e2fsprogs"],
            Self::Mount => &["mount"],
            Self::Procps => &["procps"],
            Self::Bmake => &["bmake"],
            Self::Cxx => &["g++"],
            Self::Clang => &["clang", "libclang-rt-dev", "llvm"],
            Self::Dash => &["dash"],
            Self::Mandoc => &["mandoc"],
            Self::Shellcheck => &["shellcheck"],
            Self::Packer => &["zstd", "binutils", "python3"],
            Self::Strace => &["strace"],
            Self::Busybox => &["busybox-static"],
            Self::Python => &["python3"],
            Self::Prometheus => &["python3-prometheus-client"],
            Self::Sqlite => &["libsqlite3-dev"],
            Self::Postgresql => &["postgresql"],
            Self::Mariadb => &["mariadb-server"],
            Self::Redis => &["redis-server"],
        }
    }

    /// Whether the README does not ask for it.
    #[must_use]
    pub const fn is_optional(self) -> bool {
        !matches!(self, Self::Root | Self::Fuse | Self::Loop | Self::Ext4 | Self::Mount)
    }

    /// What would make it be there.
    #[must_use]
    pub fn remedy(self) -> String {
        match self {
            Self::Root => "run the tests as root".to_owned(),
            Self::Fuse => "load the module fuse, or give the container /dev/fuse".to_owned(),
            Self::Loop => "load the module loop, or give the container /dev/loop-control".to_owned(),
            _ => format!("install the package {}", self.packages().join(", ")),
        }
    }

    /// Whether this machine has it.
    #[must_use]
    pub fn is_met(self) -> bool {
        match self.kind() {
            Kind::User => nix::unistd::geteuid().is_root(),
            Kind::Device(path) => opens(Path::new(path)),
            Kind::Programs(names) => names.iter().all(|name| program(name).is_some()),
            Kind::Files(all) => all.iter().all(|one| one.iter().any(|path| readable(Path::new(path)))),
        }
    }

    /// The files that it was found in.
    #[must_use]
    pub fn found_in(self) -> Vec<PathBuf> {
        match self.kind() {
            Kind::User => Vec::new(),
            Kind::Device(path) => vec![PathBuf::from(path)],
            Kind::Programs(names) => names.iter().flat_map(|name| programs(name)).collect(),
            Kind::Files(all) => all.iter().copied().flatten().map(PathBuf::from).filter(|path| path.exists()).collect(),
        }
    }
}

/// The first program of this name that may be executed.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    programs(name).into_iter().next()
}

/// Every program of this name on the search path.
fn programs(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(SYSTEM.iter().map(PathBuf::from));
    let mut found: Vec<PathBuf> =
        directories.map(|directory| directory.join(name)).filter(|file| executable(file)).collect();
    found.dedup();
    found
}

fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// A regular file that is not empty.
fn readable(path: &Path) -> bool {
    path.metadata().is_ok_and(|about| about.is_file() && about.len() > 0)
}

/// Whether it is a device that this user can open: in a container it may be there and refuse.
fn opens(path: &Path) -> bool {
    path.metadata().is_ok_and(|about| about.file_type().is_char_device())
        && File::options().read(true).write(true).open(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_has_a_name_of_its_own() {
        for need in Need::ALL {
            assert_eq!(Need::named(need.name()), Some(need));
        }
    }

    #[test]
    fn every_need_is_in_the_list_of_packages_or_has_none() {
        let list = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.ci/packages");
        let list = std::fs::read_to_string(list).expect("the list of packages");
        let listed: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
        // What every Debian has.
        let always = ["dash"];
        for package in Need::ALL.into_iter().flat_map(|need| need.packages()) {
            assert!(listed.contains(package) || always.contains(package), "{package} is not in .ci/packages");
        }
    }

    #[test]
    fn a_missing_program_is_no_program_and_sh_is_one() {
        assert_eq!(program("hv_vss_no_such_program"), None);
        assert!(program("sh").is_some());
    }

    #[test]
    fn a_file_in_a_devices_place_is_no_device() {
        assert!(!opens(Path::new(env!("CARGO_MANIFEST_DIR"))));
        assert!(opens(Path::new("/dev/null")));
    }
}
