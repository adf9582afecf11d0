//! A guest while a story is told: the simulated machine, the daemon, the writers, and what can be claimed of them.

mod claims;
mod daemon;
mod kvp;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use hv_vss_platform::mounts::Mount;
use hv_vss_sim::{Fault, Host, Moment, Sent, Switches, ic};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::{self, Process};
use crate::stage::Stage;
use crate::writers::Writers;
pub use daemon::Daemon;

/// A guest while a story is told. Dropping it lets go of all that is frozen and ends all that was started, on a panic too.
pub struct Guest {
    daemon: Option<Daemon>,
    kvp: Option<Daemon>,
    /// What else was started: ended first.
    others: Vec<Child>,
    sim: Child,
    host: Host,
    writers: Writers,
    stage: Stage,
}

/// What a host asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Could a backup be made now?
    Check,
    /// Come to rest.
    Freeze,
    /// Go on.
    Thaw,
}

impl Operation {
    fn code(self) -> u8 {
        match self {
            Self::Check => ic::HOT_BACKUP,
            Self::Freeze => ic::FREEZE,
            Self::Thaw => ic::THAW,
        }
    }
}

impl Guest {
    #[track_caller]
    pub(crate) fn on(stage: Stage, mut sim: Child) -> Self {
        let mut said = String::new();
        let stdout = sim.stdout.take().expect("piped");
        let read = BufReader::new(stdout).read_line(&mut said);
        let host = Host::of(&stage.control());
        let writers = if stage.has_writers() {
            Writers::start(
                stage.ground.disks().iter().map(|disk| (disk.name.as_str(), disk.on.as_path())),
                stage.pace_of_writers,
            )
        } else {
            Writers::default()
        };
        let guest = Self { daemon: None, kvp: None, others: Vec::new(), sim, host, writers, stage };
        assert!(read.is_ok() && said == "ready\n", "the simulated machine did not come up; it said \"{said}\"");
        guest
    }

    /// The host of this machine, for what has no method here.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The stage, for its paths.
    #[must_use]
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The writers, one on each disk.
    #[must_use]
    pub fn writers(&self) -> &Writers {
        &self.writers
    }

    /// The daemon.
    ///
    /// # Panics
    /// When none runs.
    #[must_use]
    #[track_caller]
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("a daemon was started")
    }

    /// Starts the daemon and waits until it is ready.
    ///
    /// # Panics
    /// When it ends or doesn't get ready.
    #[track_caller]
    pub fn daemon_starts(&mut self) {
        self.daemon_is_started([]);
        self.daemon().gets_ready();
    }

    /// Starts the daemon with these arguments more, and does not wait.
    pub fn daemon_is_started<'a>(&mut self, arguments: impl IntoIterator<Item = &'a str>) {
        self.daemon = Some(Daemon::start(&self.stage, arguments));
    }

    /// Starts the daemon from a shell that has a file open for writing on this disk.
    pub fn daemon_inherits(&mut self, disk: &str) {
        let file = self.disk(disk).join("of-the-shell");
        self.daemon_is_started_by(&format!("exec 9>>'{}' && exec \"$@\"", file.display()));
    }

    /// Starts the daemon from a shell that runs this script, which is to end in `exec "$@"`, and does not wait.
    pub fn daemon_is_started_by(&mut self, script: &str) {
        self.daemon = Some(Daemon::start_by(&self.stage, script));
    }

    /// Waits until the daemon is ready.
    ///
    /// # Panics
    /// When it doesn't get so.
    #[track_caller]
    pub fn daemon_gets_ready(&self) {
        self.daemon().gets_ready();
    }

    /// The daemon is killed, as by the kernel when memory runs out.
    pub fn daemon_is_killed(&mut self) {
        self.daemon().signal(Signal::SIGKILL);
        self.daemon.as_mut().into_iter().for_each(Daemon::is_gone);
    }

    /// Is the daemon's process there?
    #[must_use]
    pub fn daemon_is_there(&self) -> bool {
        let pid = self.daemon.as_ref().map(Daemon::pid);
        pid.is_some_and(|pid| process::state(pid).is_some_and(|state| state != 'Z'))
    }

    /// Waits until the daemon is ready, or has ended: with what it ended, then.
    ///
    /// # Panics
    /// When neither comes.
    #[track_caller]
    pub fn daemon_gets_ready_or_ends(&mut self) -> Option<Option<i32>> {
        self.daemon.as_mut().expect("a daemon was started").gets_ready_or_ends()
    }

    /// Waits for the daemon's end: its exit status.
    ///
    /// # Panics
    /// When it doesn't end.
    #[track_caller]
    pub fn daemon_ends(&mut self) -> Option<i32> {
        self.daemon.as_mut().expect("a daemon was started").ends()
    }

    /// The host process that serves this plugin, such as "ufs.so".
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn worker_of(&self, plugin: &str) -> i32 {
        let found = self.find_worker(plugin);
        found.unwrap_or_else(|| panic!("no host serves {plugin}: {:?}", process::children(self.daemon().pid())))
    }

    /// The same; none when there is none just now.
    #[must_use]
    pub fn find_worker(&self, plugin: &str) -> Option<i32> {
        let hosts = process::children(self.daemon().pid());
        let alive = |pid: i32| process::state(pid).is_some_and(|state| state != 'Z');
        hosts.iter().find(|(pid, command)| command.contains(plugin) && alive(*pid)).map(|(pid, _)| *pid)
    }

    /// Sends a signal to the host process of a plugin.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn worker_gets(&self, plugin: &str, signal: Signal) -> i32 {
        let pid = self.worker_of(plugin);
        kill(Pid::from_raw(pid), signal).unwrap_or_else(|errno| panic!("can't signal {pid}: {errno}"));
        pid
    }

    /// A process that can open nodes, such as an application.
    #[must_use]
    pub fn process(&self) -> Process {
        Process::start(&self.stage.dev())
    }

    /// Changes the mount table under the running daemon.
    pub fn table_changes(&mut self, change: impl FnOnce(&mut Vec<Mount>)) {
        change(&mut self.stage.table);
        self.stage.write_table();
    }

    /// Sets switches of the simulated machine.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    pub fn machine(&self, switches: Switches) {
        self.host.set(switches).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Makes suspending or resuming this disk go wrong.
    ///
    /// # Panics
    /// When the simulated machine is gone.
    #[track_caller]
    pub fn goes_wrong(&self, disk: &str, moment: Moment, fault: Fault) {
        let fsid = self.stage.disk_named(disk).fsid;
        self.host.fault(fsid, moment, Some(fault)).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Begins the umount(8) of a disk, which waits while it is suspended.
    ///
    /// # Panics
    /// When the simulated machine is gone.
    #[track_caller]
    pub fn umount_begins(&self, disk: &str) {
        let fsid = self.stage.disk_named(disk).fsid;
        self.host.unmount(fsid).unwrap_or_else(|error| panic!("{error}"));
    }

    /// A program of this name that counts in a shared mapping of a file on this disk, as SQLite's readers do in theirs.
    ///
    /// # Panics
    /// When it can't be started.
    #[track_caller]
    pub fn program_that_maps(&self, name: &str, disk: &str) -> Process {
        let disk = self.stage.disk_named(disk);
        let path = disk.on.join("counter");
        std::fs::write(&path, [0; 4096]).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let copy = self.stage.scratch(name);
        self.stage.install(&hv_vss_testbed::built("hv-vss-sim-process"), &copy);
        let mut program = Process::of(&copy, &self.stage.dev());
        program.says(&format!("open {} rw", path.display()), "fd 3");
        program.says("count 3", "ok");
        self.host.drop_stores(disk.fsid, &path).unwrap_or_else(|error| panic!("{error}"));
        program
    }

    /// And right again.
    ///
    /// # Panics
    /// When the simulated machine is gone.
    #[track_caller]
    pub fn goes_right(&self, disk: &str, moment: Moment) {
        let fsid = self.stage.disk_named(disk).fsid;
        self.host.fault(fsid, moment, None).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Sends a request without waiting for its answer.
    ///
    /// # Panics
    /// When the simulated machine is gone.
    #[track_caller]
    pub fn host_sends(&self, operation: Operation) -> Sent {
        self.host.send(operation.code()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A disk's directory.
    ///
    /// # Panics
    /// When there is no such disk.
    #[must_use]
    #[track_caller]
    pub fn disk(&self, name: &str) -> PathBuf {
        self.stage.disk_named(name).on.clone()
    }

    /// A disk's image file.
    ///
    /// # Panics
    /// When there is no such disk.
    #[must_use]
    #[track_caller]
    pub fn image(&self, name: &str) -> PathBuf {
        self.stage.disk_named(name).image.clone()
    }

    /// Everything that is known of it, for whoever has to find out what went wrong.
    #[must_use]
    pub fn story(&self) -> Vec<String> {
        let mut story: Vec<String> =
            self.daemon.iter().chain(&self.kvp).flat_map(Daemon::log).map(|line| format!("daemon: {line}")).collect();
        story.push(format!("scripts: {:?}", self.script_lines()));
        match self.host.log() {
            Ok(entries) => story
                .extend(entries.iter().map(|entry| format!("wire: {:>9} µs {:?}", entry.at_ns / 1000, entry.event))),
            Err(error) => story.push(format!("wire: {error}")),
        }
        story
    }

    fn tell_what_happened(&self) {
        self.story().iter().for_each(|line| println!("{line}"));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_what_happened();
        }
        // Its hosts let go when it is gone; whatever is still frozen then, the simulator thaws at its own end.
        let pid = i32::try_from(self.sim.id()).unwrap_or(0);
        self.daemon.iter().chain(&self.kvp).for_each(Daemon::kill);
        // Fails only when it has ended already.
        self.others.iter_mut().for_each(|child| drop(child.kill()));
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while matches!(self.sim.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Before anything is waited for: what hangs, hangs on one of these.
        self.stage.ground.thaw_all();
        drop((self.daemon.take(), self.kvp.take()));
        self.others.iter_mut().for_each(|child| drop(child.wait()));
        process::end_all_in_this_namespace();
        let _ = self.sim.wait();
        self.stage.ground.thaw_all();
        self.writers.stop();
    }
}
