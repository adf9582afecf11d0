//! The package for pkg(8) that packaging/make-package packs.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use hv_vss_packaging::{Directory, Ran, run, source};
use hv_vss_testbed::needs;

/// A directory with products, and one for the package.
struct Workshop {
    products: Directory,
    out: Directory,
}

impl Workshop {
    /// The products are scripts, but for the daemon: its ELF header names the machine, so it is a
    /// small program of this one.
    fn new() -> Self {
        let (products, out) = (Directory::new(), Directory::new());
        let manifest = fs::read_to_string(source("packaging/manifest")).unwrap();
        for line in manifest.lines().filter(|line| line.starts_with("program ") || line.starts_with("plugin ")) {
            let name = line.split_whitespace().nth(1).unwrap();
            let file = products.write(name, &format!("#!/bin/sh\n# this is {name}\necho \"$*\"\n"));
            fs::set_permissions(file, Permissions::from_mode(0o755)).unwrap();
        }
        let workshop = Self { products, out };
        fs::copy("/bin/true", workshop.daemon()).unwrap();
        workshop
    }

    fn daemon(&self) -> PathBuf {
        self.products.path().join("hv_vss_daemon")
    }

    fn package(&self) -> PathBuf {
        self.out.path().join(format!("hv_vss-{}.pkg", env!("CARGO_PKG_VERSION")))
    }

    fn pack(&self) -> Ran {
        let mut command = Command::new(source("packaging/make-package"));
        command.env("SOURCE_DATE_EPOCH", "1700000000").env("PRODUCTS", self.products.path());
        run(command.env_remove("VSSCTL").arg(self.out.path()))
    }

    fn check(&self) -> Ran {
        run(Command::new(source("packaging/make-package")).arg("--check").arg(self.package()))
    }

    fn members(&self) -> Vec<String> {
        let list = format!("zstd -dc {} | tar --absolute-names -tf -", self.package().display());
        run(Command::new("sh").args(["-c", &list])).well().lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_package_begins_with_its_manifests_and_passes_its_check() {
    needs!(Packer);
    let workshop = Workshop::new();
    workshop.pack().well();
    let members = workshop.members();
    assert_eq!(members[..2], ["+COMPACT_MANIFEST", "+MANIFEST"]);
    assert!(members.contains(&"/usr/local/sbin/hv_vss_daemon".to_owned()), "{members:?}");
    assert_eq!(members.last().unwrap(), "/var/db/hv_vss/");
    // The port's @sample makes this file where it is missing; the package does not bring it.
    assert!(!members.contains(&"/usr/local/etc/hv_vss/hv_vss.toml".to_owned()));
    workshop.check().well();
}

#[test]
fn the_same_files_give_the_same_bytes() {
    needs!(Packer);
    let workshop = Workshop::new();
    workshop.pack().well();
    let first = fs::read(workshop.package()).unwrap();
    workshop.pack().well();
    assert_eq!(first, fs::read(workshop.package()).unwrap());
}

#[test]
fn a_package_without_one_of_the_port_s_files_fails_its_check() {
    needs!(Packer);
    let workshop = Workshop::new();
    workshop.pack().well();
    let package = workshop.package();
    let tamper = format!(
        "zstd -dc {0} > {0}.tar && tar --absolute-names --delete -f {0}.tar /usr/local/sbin/vssctl && zstd -qf {0}.tar -o {0}",
        package.display()
    );
    run(Command::new("sh").args(["-c", &tamper])).well();
    let said = workshop.check().badly();
    assert!(said.contains("/usr/local/sbin/vssctl is in the packing list only"), "{said}");
}

#[test]
fn a_daemon_for_another_machine_is_refused() {
    needs!(Packer);
    let workshop = Workshop::new();
    let mut program = fs::read(workshop.daemon()).unwrap();
    // e_machine: 243 is RISC-V.
    program[18..20].copy_from_slice(&243_u16.to_le_bytes());
    fs::write(workshop.daemon(), program).unwrap();
    let said = workshop.pack().badly();
    assert!(said.contains("machine 243") && !workshop.package().exists(), "{said}");
}
