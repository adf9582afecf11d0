//! `make install`, `deinstall` and `delete-old`, each under GNU make and under bmake, which is FreeBSD's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use hv_vss_core::config::Config;
use hv_vss_packaging::{Directory, Entry, Ran, run, source, tree};
use hv_vss_testbed::needs;

const MAKES: [&str; 2] = ["make", "bmake"];
const PROGRAMS: [&str; 5] = ["hv_vss_daemon", "hv_kvp_daemon", "vssctl", "hv_vss_worker", "hv_vss_flush"];
const PLUGINS: [&str; 4] = ["libufs.so", "libzfs_veto.so", "libexec_hook.so", "libkvp_report.so"];
const CONFIG: &str = "usr/local/etc/hv_vss/hv_vss.toml";
const HOOKS: &str = "usr/local/etc/hv_vss/hooks.d";

/// A machine to install on, and what was built.
struct Place {
    make: &'static str,
    root: Directory,
    products: Directory,
}

impl Place {
    /// With the directories that every FreeBSD has, and with something of somebody else in each.
    fn new(make: &'static str) -> Self {
        let (root, products) = (Directory::new(), Directory::new());
        for directory in [
            "sbin",
            "lib",
            "libexec",
            "include",
            "etc/rc.d",
            "etc/devd",
            "share/man/man3",
            "share/man/man5",
            "share/man/man8",
            "share/bash-completion/completions",
            "share/zsh/site-functions",
            "share/fish/vendor_completions.d",
        ] {
            root.write(&format!("usr/local/{directory}/others"), "not ours\n");
        }
        root.write("var/db/others", "not ours\n");
        write_products(&products);
        Self { make, root, products }
    }

    fn make(&self, target: &str, variables: &[&str]) -> Ran {
        let mut command = Command::new(self.make);
        // What `make test` was called with is none of these.
        command.current_dir(source("")).env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("MFLAGS");
        command.arg(target);
        command.arg(format!("DESTDIR={}", self.root.path().display()));
        command.arg(format!("PRODUCTS={}", self.products.path().display()));
        run(command.args(variables))
    }

    fn tree(&self) -> BTreeMap<String, Entry> {
        tree(self.root.path())
    }

    #[track_caller]
    fn has(&self, path: &str) -> bool {
        self.root.path().join(path).exists()
    }
}

/// What a build leaves. Only vssctl has to run: it prints its completions.
fn write_products(products: &Directory) {
    for product in PROGRAMS.iter().chain(&PLUGINS) {
        let file = products.write(product, &format!("#!/bin/sh\n# this is {product}\necho \"$*\"\n"));
        fs::set_permissions(file, Permissions::from_mode(0o755)).unwrap();
    }
}

/// The part of the source tree that installs, in a place that every user can read.
fn what_installs() -> Directory {
    let copy = Directory::new();
    for part in ["Makefile", "packaging", "hooks.d", "man", "plugins/api/include"] {
        let into = copy.path().join(part).parent().unwrap().to_owned();
        fs::create_dir_all(&into).unwrap();
        run(Command::new("cp").arg("-R").arg(source(part)).arg(into)).well();
    }
    copy
}

/// Does it on a machine of its own with either make.
fn with_either_make(story: impl Fn(&Place)) {
    needs!(Bmake);
    for make in MAKES {
        story(&Place::new(make));
    }
}

#[test]
fn each_file_has_its_place_its_mode_and_root_as_its_owner() {
    with_either_make(|place| {
        place.make("install", &[]).well();
        let tree = place.tree();
        let expected = [
            ("usr/local/sbin/hv_vss_daemon", 0o555),
            ("usr/local/sbin/hv_kvp_daemon", 0o555),
            ("usr/local/sbin/vssctl", 0o555),
            ("usr/local/libexec/hv_vss/hv_vss_worker", 0o555),
            ("usr/local/libexec/hv_vss/hv_vss_flush", 0o555),
            ("usr/local/lib/hv_vss/plugins", 0o755),
            ("usr/local/lib/hv_vss/plugins/ufs.so", 0o444),
            ("usr/local/lib/hv_vss/plugins/zfs_veto.so", 0o444),
            ("usr/local/lib/hv_vss/plugins/exec_hook.so", 0o444),
            ("usr/local/lib/hv_vss/plugins/optional", 0o755),
            ("usr/local/lib/hv_vss/plugins/optional/kvp_report.so", 0o444),
            ("usr/local/etc/rc.d/hv_kvp", 0o555),
            ("usr/local/etc/rc.d/hv_vss", 0o555),
            ("usr/local/etc/devd/hv_kvp.conf", 0o444),
            ("usr/local/etc/devd/hv_vss.conf", 0o444),
            ("usr/local/etc/hv_vss/hv_vss.toml", 0o644),
            ("usr/local/etc/hv_vss/hv_vss.toml.sample", 0o644),
            ("usr/local/etc/hv_vss/hooks.d", 0o755),
            ("usr/local/include/hv_vss_plugin.h", 0o444),
            ("usr/local/share/bash-completion/completions/vssctl", 0o444),
            ("usr/local/share/zsh/site-functions/_vssctl", 0o444),
            ("usr/local/share/fish/vendor_completions.d/vssctl.fish", 0o444),
            ("usr/local/share/man/man8/hv_vss_daemon.8", 0o444),
            ("usr/local/share/man/man8/vssctl.8", 0o444),
            ("usr/local/share/man/man5/hv_vss.toml.5", 0o444),
            ("usr/local/share/man/man5/hv_vss_hooks.5", 0o444),
            ("usr/local/share/man/man5/hv_vss_kvp.5", 0o444),
            ("usr/local/share/man/man3/hv_vss_plugin.3", 0o444),
            ("var/db/hv_vss", 0o700),
        ];
        for (path, mode) in expected {
            let entry = tree.get(path).unwrap_or_else(|| panic!("{path} is missing"));
            assert_eq!(entry.mode, mode, "{path}: {:o}", entry.mode);
        }
        let user = fs::metadata("/proc/self").map(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata)).unwrap();
        for (path, entry) in &tree {
            assert_eq!(entry.owner.0, user, "{path}: root's, or whoever stages it");
            assert_eq!(entry.mode & 0o022, 0, "{path} can be written by others");
            let text = String::from_utf8_lossy(entry.content.as_deref().unwrap_or_default());
            assert!(!text.contains("%%"), "{path} has something left to be filled in");
        }
        assert_eq!(
            place.root.read("usr/local/lib/hv_vss/plugins/ufs.so"),
            "#!/bin/sh\n# this is libufs.so\necho \"$*\"\n"
        );
    });
}

#[test]
fn a_copy_of_a_hook_sample_can_be_run_as_it_is() {
    with_either_make(|place| {
        place.make("install", &[]).well();
        let tree = place.tree();
        let samples: Vec<_> =
            tree.iter().filter(|(path, _)| path.starts_with(HOOKS) && path.ends_with(".sample")).collect();
        assert!(!samples.is_empty());
        for (path, entry) in samples {
            assert_eq!(entry.mode, 0o755, "{path}");
        }
    });
}

#[test]
fn both_makes_install_the_same() {
    needs!(Bmake);
    let [one, other] = MAKES.map(Place::new);
    one.make("install", &[]).well();
    other.make("install", &[]).well();
    assert_eq!(one.tree(), other.tree());
}

#[test]
fn deinstall_takes_away_exactly_what_install_put_there() {
    with_either_make(|place| {
        let before = place.tree();
        place.make("install", &[]).well();
        assert_ne!(place.tree(), before);
        // Twice is as good as once.
        place.make("install", &[]).well();
        assert_eq!(place.make("deinstall", &[]).well(), "");
        assert_eq!(place.tree(), before);
        assert_eq!(place.make("deinstall", &[]).well(), "", "and what is not there needs no word");
    });
}

#[test]
fn delete_old_without_hyperv_takes_away_exactly_what_install_put_there() {
    with_either_make(|place| {
        let before = place.tree();
        place.make("install", &[]).well();
        place.make("delete-old", &["WITHOUT_HYPERV=yes"]).well();
        assert_eq!(place.tree(), before);
    });
}

#[test]
fn delete_old_with_hyperv_leaves_what_is_in_use() {
    with_either_make(|place| {
        place.make("install", &[]).well();
        let installed = place.tree();
        place.make("delete-old", &[]).well();
        assert_eq!(place.tree(), installed);
    });
}

#[test]
fn what_only_an_older_version_installed_goes_with_delete_old() {
    with_either_make(|place| {
        place.make("install", &[]).well();
        let installed = place.tree();
        place.root.write("usr/local/share/hv_vss_once", "an older version's\n");

        // The next version's source: the same, and the file has left its manifest.
        let next = what_installs();
        let list = next.path().join("packaging/obsolete");
        fs::write(&list, fs::read_to_string(&list).unwrap() + "share/hv_vss_once\n").unwrap();
        let mut command = Command::new(place.make);
        command.current_dir(next.path()).env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("MFLAGS");
        run(command.arg("delete-old").arg(format!("DESTDIR={}", place.root.path().display()))).well();
        assert_eq!(place.tree(), installed);
    });
}

#[test]
fn without_hyperv_nothing_is_installed_and_it_says_so() {
    with_either_make(|place| {
        let before = place.tree();
        let said = place.make("install", &["WITHOUT_HYPERV=yes"]).well();
        assert_eq!(said, "hv_vss: WITHOUT_HYPERV is set: nothing to build or install\n");
        assert_eq!(place.tree(), before);
    });
}

#[test]
fn what_has_no_hyperv_builds_nothing_either() {
    with_either_make(|place| {
        let cargo = place.products.write("cargo", "#!/bin/sh\necho \"cargo $1 $2\"\n");
        fs::set_permissions(&cargo, Permissions::from_mode(0o755)).unwrap();
        let cargo = format!("CARGO={}", cargo.display());
        assert_eq!(place.make("all", &[&cargo, "ARCH=amd64"]).well(), "cargo build --release\n");
        for (variable, why) in
            [("WITHOUT_HYPERV=yes", "WITHOUT_HYPERV is set"), ("ARCH=riscv64", "no Hyper-V on riscv64")]
        {
            let said = place.make("all", &[&cargo, variable]).well();
            assert!(said.contains(why) && !said.contains("cargo build"), "{said}");
        }
    });
}

#[test]
fn only_machines_with_hyperv_get_it_and_the_others_succeed_doing_nothing() {
    with_either_make(|place| {
        let before = place.tree();
        for arch in ["riscv64", "powerpc64le", "armv7"] {
            for target in ["install", "delete-old"] {
                let said = place.make(target, &[&format!("ARCH={arch}")]).well();
                assert!(said.contains(&format!("no Hyper-V on {arch}")), "{said}");
            }
        }
        assert_eq!(place.tree(), before);
        for arch in ["amd64", "i386", "arm64", "aarch64"] {
            assert_eq!(place.make("install", &[&format!("ARCH={arch}")]).well(), "");
            assert_ne!(place.tree(), before);
            place.make("deinstall", &[]).well();
        }
    });
}

#[test]
fn an_edited_configuration_is_never_touched() {
    with_either_make(|place| {
        place.root.write(CONFIG, "# mine\n");
        place.make("install", &[]).well();
        assert_eq!(place.root.read(CONFIG), "# mine\n");
        assert!(place.has("usr/local/etc/hv_vss/hv_vss.toml.sample"));
        place.make("install", &[]).well();
        let said = place.make("deinstall", &[]).well();
        assert!(said.contains("hv_vss.toml is kept, since it was edited"), "{said}");
        assert_eq!(place.root.read(CONFIG), "# mine\n");
        assert!(!place.has("usr/local/etc/hv_vss/hv_vss.toml.sample"));
    });
}

#[test]
fn a_configuration_that_nobody_edited_goes_with_its_sample() {
    with_either_make(|place| {
        for file in [CONFIG, "usr/local/etc/hv_vss/hv_vss.toml.sample"] {
            place.root.write(file, "# an older version's\n");
        }
        place.make("install", &[]).well();
        assert_ne!(place.root.read(CONFIG), "# an older version's\n");
        assert_eq!(place.root.read(CONFIG), place.root.read("usr/local/etc/hv_vss/hv_vss.toml.sample"));
    });
}

#[test]
fn an_administrators_hooks_plugins_and_history_stay() {
    with_either_make(|place| {
        place.make("install", &[]).well();
        let theirs = [
            format!("{HOOKS}/10-mine"),
            "usr/local/lib/hv_vss/plugins/vendor.so".to_owned(),
            "var/db/hv_vss/history".to_owned(),
        ];
        for file in &theirs {
            place.root.write(file, "theirs\n");
        }
        let said = place.make("deinstall", &[]).well();
        for file in &theirs {
            assert_eq!(place.root.read(file), "theirs\n");
            let directory = Path::new(file).parent().unwrap().to_str().unwrap();
            assert!(said.contains(&format!("{directory} is kept, since it is not empty")), "{said}");
        }
        let left = place.tree().into_iter().filter(|(path, entry)| path.contains("hv_vss") && entry.content.is_some());
        assert_eq!(left.count(), theirs.len());
    });
}

#[test]
fn with_another_prefix_everything_points_there() {
    with_either_make(|place| {
        place.make("install", &["PREFIX=/opt/vss"]).well();
        let config = Config::parse(Path::new("x"), &place.root.read("opt/vss/etc/hv_vss/hv_vss.toml")).unwrap();
        assert_eq!(config.paths.plugins, Path::new("/opt/vss/lib/hv_vss/plugins"));
        assert_eq!(config.paths.worker, Path::new("/opt/vss/libexec/hv_vss/hv_vss_worker"));
        assert_eq!(config.paths.flush, Path::new("/opt/vss/libexec/hv_vss/hv_vss_flush"));
        assert_eq!(config.plugin("exec_hook").settings["directory"], "/opt/vss/etc/hv_vss/hooks.d");
        assert_eq!(config.paths.control, Path::new("/var/run/hv_vss.sock"), "this is no matter of the prefix");

        let script = place.root.read("opt/vss/etc/rc.d/hv_vss");
        assert!(script.contains("daemon=\"/opt/vss/sbin/hv_vss_daemon\""), "{script}");
        assert!(script.contains(":=/opt/vss/etc/hv_vss/hv_vss.toml}"), "{script}");
        assert!(place.root.read("opt/vss/share/man/man8/hv_vss_daemon.8").contains("/opt/vss/etc/hv_vss/hv_vss.toml"));
        assert!(!place.has("usr/local/etc/hv_vss"));
        place.make("deinstall", &["PREFIX=/opt/vss"]).well();
        assert!(!place.has("opt/vss/sbin/hv_vss_daemon"));
    });
}

#[test]
fn with_the_usual_prefix_the_installed_configuration_sets_nothing() {
    with_either_make(|place| {
        place.make("install", &[]).well();
        let path = place.root.path().join(CONFIG);
        let config = Config::parse(&path, &fs::read_to_string(&path).unwrap()).unwrap();
        assert!(config.plugins.values().all(|plugin| plugin.settings.is_empty()));
        assert_eq!(config.paths, Config::parse(Path::new("x"), "").unwrap().paths);
    });
}

#[test]
fn completions_are_what_vssctl_prints() {
    with_either_make(|place| {
        place.make("install", &[]).well();
        for (shell, file) in [
            ("bash", "bash-completion/completions/vssctl"),
            ("zsh", "zsh/site-functions/_vssctl"),
            ("fish", "fish/vendor_completions.d/vssctl.fish"),
        ] {
            assert_eq!(place.root.read(&format!("usr/local/share/{file}")), format!("completions {shell}\n"));
        }
    });
}

#[test]
fn products_for_another_system_need_a_vssctl_that_runs_here() {
    with_either_make(|place| {
        let native = Directory::new();
        write_products(&native);
        fs::write(place.products.path().join("vssctl"), "no program\n").unwrap();
        fs::set_permissions(place.products.path().join("vssctl"), Permissions::from_mode(0o644)).unwrap();
        let before = place.tree();
        let said = place.make("install", &[]).badly();
        assert_eq!(place.tree(), before);
        assert!(said.contains("name with VSSCTL=FILE one that does"), "{said}");
        place.make("install", &[&format!("VSSCTL={}", native.path().join("vssctl").display())]).well();
    });
}

#[test]
fn what_was_not_built_is_named_before_anything_is_installed() {
    with_either_make(|place| {
        let before = place.tree();
        fs::remove_file(place.products.path().join("vssctl")).unwrap();
        let said = place.make("install", &[]).badly();
        assert!(said.contains("vssctl is not built: run make first"), "{said}");
        assert_eq!(place.tree(), before);
    });
}

#[test]
fn a_prefix_that_is_no_whole_path_is_refused() {
    with_either_make(|place| {
        let said = place.make("install", &["PREFIX=local"]).badly();
        assert!(said.contains("PREFIX=local is not a whole path"), "{said}");
    });
}

#[test]
fn whoever_stages_a_package_need_not_be_root() {
    // Only root can become another user to try it; another user has tried it in all the tests above.
    needs!(Root);
    let (root, nobody) = (Directory::new(), 65534);
    let products = Directory::new();
    write_products(&products);
    std::os::unix::fs::chown(root.path(), Some(nobody), Some(nobody)).unwrap();
    // A copy, since the tree may lie in root's home.
    let tree_for_all = what_installs();
    let mut command = Command::new(tree_for_all.path().join("packaging/install"));
    command.arg("install").env("DESTDIR", root.path()).env("PRODUCTS", products.path()).uid(nobody).gid(nobody);
    run(&mut command).well();
    assert!(tree(root.path()).values().all(|entry| entry.owner == (nobody, nobody)));
}

#[test]
fn the_ports_packing_list_is_what_a_stage_holds() {
    with_either_make(|place| {
        assert_eq!(place.make("check-plist", &[]).well(), "");

        let stage = Directory::new();
        let destination = format!("DESTDIR={}", stage.path().display());
        place.make("install", &[&destination]).well();
        // The port removes the copy, and the ports framework compresses manuals.
        fs::remove_file(stage.path().join(CONFIG)).unwrap();
        let staged: Vec<_> = tree(stage.path())
            .into_iter()
            .filter(|(_, entry)| entry.content.is_some())
            .map(|(path, _)| path.strip_prefix("usr/local/").expect("below the prefix").to_owned())
            .map(|path| if path.starts_with("share/man/") { path + ".gz" } else { path })
            .collect();

        let list = fs::read_to_string(source("packaging/freebsd-port/pkg-plist")).unwrap();
        let mut files: Vec<_> = list.lines().filter(|line| !line.starts_with("@dir")).collect();
        files.iter_mut().for_each(|line| *line = line.trim_start_matches("@sample "));
        files.sort_unstable();
        assert_eq!(files, staged);
        assert!(list.contains("@dir(root,wheel,0700) /var/db/hv_vss\n"));
    });
}
