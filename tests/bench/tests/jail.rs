//! The jail that tools run in which freeze whatever they find: it must not open with anything of this machine's in it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hv_vss_testbed::needs;

/// A directory on a tmpfs that is laid out as a jail's root.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let root = Path::new("/dev/shm").join(format!("hv-vss-jail-{name}-{}", std::process::id()));
        for directory in ["proc", "old", "disks", "foreign"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        Self(root)
    }

    /// What the process says that was to become `/bin/tool` in there.
    fn says(&self, bound: &str) -> String {
        let root = self.0.display();
        let orders =
            format!(r#"{{"root":"{root}","disks":[],"devices":[],"bound":[{bound}],"command":["/bin/tool"]}}"#);
        let output = Command::new(env!("CARGO_BIN_EXE_hv-vss-bench")).args(["jail", &orders]).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_jail_with_a_directory_of_this_machines_own_disk_in_it_is_refused_before_the_tool_starts() {
    needs!(Root, Fuse, Loop);
    let said = Root::new("foreign").says(r#"["/usr/share","foreign"]"#);
    assert!(said.contains("refused: /foreign (") && said.contains("could be frozen"), "{said}");
}

#[test]
fn a_jail_with_nothing_to_freeze_in_it_goes_on_to_the_tool() {
    needs!(Root, Fuse, Loop);
    let said = Root::new("empty").says("");
    assert!(said.contains("can't become /bin/tool: No such file or directory"), "{said}");
}
