//! A directory that plays a FreeBSD machine: our files as `make install` lays them out, and stand-ins for FreeBSD's own.
//!
//! The rc.d script's absolute paths are moved below that directory, in a copy; nothing else of it is changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Directory, Ran, eventually, run, source};

/// The machine. At its end every process of it is ended.
#[derive(Debug)]
pub struct FreeBsd {
    root: Directory,
}

const NODE: &str = "dev/hv_fsvss_dev";
const DAEMON_PID: &str = "var/run/hv_vss_daemon.pid";
const SUPERVISOR_PID: &str = "var/run/hv_vss_supervisor.pid";

impl FreeBsd {
    /// A Hyper-V guest with hv_vss installed, and this in its rc.conf.
    #[must_use]
    pub fn with(rc_conf: &str) -> Self {
        let machine = Self { root: Directory::new() };
        for directory in ["dev", "var/run", "usr/local/etc/rc.d", "usr/local/sbin", "usr/local/etc/hv_vss"] {
            fs::create_dir_all(machine.path(directory)).expect("directories");
        }
        machine.root.write("etc/rc.conf", rc_conf);
        for (stand_in, place) in [
            ("rc.subr", "etc/rc.subr"),
            ("service", "usr/sbin/service"),
            ("daemon", "usr/sbin/daemon"),
            ("pgrep", "bin/pgrep"),
            ("pgrep", "bin/pkill"),
            ("hv_vss_daemon", "usr/sbin/hv_vss_daemon"),
            ("hv_vss_daemon", "usr/local/sbin/hv_vss_daemon"),
            ("vssctl", "usr/local/sbin/vssctl"),
        ] {
            machine.put(&source("tests/packaging/stand-ins").join(stand_in), place, |text| {
                text.replace("@ROOT@", machine.root.path().to_str().expect("a path in UTF-8"))
            });
        }
        let root = machine.root.path().display().to_string();
        machine.put(&source("packaging/rc.d/hv_vss"), "usr/local/etc/rc.d/hv_vss", |text| {
            let text = text.replace("%%PREFIX%%", "/usr/local");
            let moved = ["/etc/rc.subr", "/dev/hv", "/usr/local/", "/usr/sbin/", "/var/run/"];
            moved.iter().fold(text, |text, path| text.replace(path, &format!("{root}{path}")))
        });
        machine.appears();
        machine
    }

    fn put(&self, from: &Path, place: &str, change: impl Fn(&str) -> String) {
        let text = fs::read_to_string(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        let file = self.root.write(place, &change(&text));
        fs::set_permissions(file, Permissions::from_mode(0o755)).expect("a mode");
    }

    /// Where a path of the machine is.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The kernel makes the device node.
    pub fn appears(&self) {
        self.root.write(NODE, "");
    }

    /// The device node goes.
    pub fn goes(&self) {
        fs::remove_file(self.path(NODE)).expect("the node was there");
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) {
        self.root.write(path, text);
    }

    /// The script waits so many seconds for a stop, and no longer.
    pub fn limits_stops_to(&self, seconds: u32) {
        let script = self.path("usr/local/etc/rc.d/hv_vss");
        let text =
            fs::read_to_string(&script).expect("the script").replace("stop_limit=60", &format!("stop_limit={seconds}"));
        fs::write(&script, text).expect("the script");
    }

    /// `service hv_vss COMMAND`, by an administrator.
    #[must_use]
    pub fn service(&self, command: &str) -> Ran {
        run(Command::new(self.path("usr/sbin/service")).args(["hv_vss", command]))
    }

    /// rc(8) runs the script while the machine boots.
    #[must_use]
    pub fn boots(&self) -> Ran {
        let script = self.path("usr/local/etc/rc.d/hv_vss");
        run(self.in_its_path(Command::new(script).arg("faststart").env("autoboot", "yes")))
    }

    /// Runs what a devd rule has as its action, as devd does: by sh.
    #[must_use]
    pub fn acts(&self, action: &str) -> Ran {
        run(self.in_its_path(Command::new("/bin/sh").args(["-c", action])))
    }

    fn in_its_path<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let root = self.root.path().display();
        command.env("PATH", format!("{root}/sbin:{root}/bin:{root}/usr/sbin:{root}/usr/bin:/usr/bin:/bin"))
    }

    /// What the daemons have said of themselves.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until a daemon has said this.
    #[track_caller]
    pub fn hears(&self, text: &str) {
        eventually(&format!("the log says: {text}"), || self.log().contains(text));
    }

    /// Waits until our daemon runs, and gives its process id.
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "most callers only wait")]
    pub fn runs(&self) -> i32 {
        eventually("the daemon runs", || self.pid(DAEMON_PID).is_some() && self.pid(SUPERVISOR_PID).is_some());
        self.pid(DAEMON_PID).expect("it runs")
    }

    /// The supervisor's process id.
    #[must_use]
    pub fn supervisor(&self) -> Option<i32> {
        self.pid(SUPERVISOR_PID)
    }

    fn pid(&self, file: &str) -> Option<i32> {
        let pid = fs::read_to_string(self.path(file)).ok()?.trim().parse().ok()?;
        kill(Pid::from_raw(pid), None).is_ok().then_some(pid)
    }

    /// Every process of the machine whose program has this name.
    #[must_use]
    pub fn processes(&self, program: &str) -> Vec<i32> {
        let all =
            fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        all.filter(|pid| self.is_ours(*pid, program)).collect()
    }

    fn is_ours(&self, pid: i32, program: &str) -> bool {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = self.root.path().to_str().expect("a path in UTF-8");
        // A script's first word is its interpreter.
        String::from_utf8_lossy(&command)
            .split('\0')
            .take(2)
            .any(|word| word.starts_with(ours) && word.ends_with(&format!("/{program}")))
    }

    /// Sends a signal to a process of the machine.
    #[track_caller]
    pub fn signal(&self, pid: i32, signal: Signal) {
        kill(Pid::from_raw(pid), signal).expect("the process is there");
    }
}

impl Drop for FreeBsd {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path("slow"));
        // The supervisor first, or it would start the daemon again.
        for program in ["daemon", "hv_vss_daemon"] {
            for pid in self.processes(program) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
        eventually("the machine's processes end", || {
            self.processes("daemon").is_empty() && self.processes("hv_vss_daemon").is_empty()
        });
    }
}
