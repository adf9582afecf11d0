//! The stage of a story: what the guest has before its daemon starts. Disks, mount table, plugins, hooks, configuration.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hv_vss_platform::mounts::{FsId, Mount};
use hv_vss_sim::Kind;
use hv_vss_sim::ground::{Disk, Ground, write_mount_table};
use hv_vss_testbed::built;
use nix::sys::signal::Signal;

use crate::guest::Guest;
use crate::process;
use crate::writers::PACE;

/// The driver's time limit in stories, unless they say otherwise. Far above what a freeze takes, far below anybody's patience.
pub const LIMIT: Duration = Duration::from_secs(3);

/// What the guest has before its daemon starts.
pub struct Stage {
    pub(crate) ground: Ground,
    pub(crate) driver: Kind,
    vfsfreeze: bool,
    pub(crate) table: Vec<Mount>,
    limit: Duration,
    times: Vec<(&'static str, &'static str)>,
    scale: Scale,
    more_configuration: String,
    exec_hook_settings: String,
    ufs_settings: String,
    with_writers: bool,
    pub(crate) pace_of_writers: Duration,
    flush: Option<PathBuf>,
    home: PathBuf,
}

/// Which times the daemon keeps where the story says nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// Scaled down, for nobody waits long for a test.
    Story,
    /// What a user has without a word in the configuration.
    Real,
}

/// A line of the mount table that stands for itself, with no real filesystem behind it.
#[must_use]
pub fn line(fstype: &str, on: &str) -> Mount {
    let mut id = [0xee_u8; 8];
    for (place, byte) in on.bytes().enumerate() {
        id[1 + place % 7] = id[1 + place % 7].wrapping_mul(31).wrapping_add(byte);
    }
    Mount {
        fsid: FsId(id),
        fstype: fstype.to_owned(),
        on: on.to_owned(),
        from: fstype.to_owned(),
        read_only: false,
        backing: None,
        swap: None,
    }
}

impl Stage {
    /// An empty stage in a mount namespace of its own; none where the test is skipped.
    #[must_use]
    pub fn take(driver: Kind) -> Option<Self> {
        let ground = Ground::take()?;
        let home = ground.directory().to_owned();
        let stage = Self {
            ground,
            driver,
            vfsfreeze: driver == Kind::Ours,
            table: Vec::new(),
            limit: LIMIT,
            times: Vec::new(),
            scale: Scale::Story,
            more_configuration: String::new(),
            exec_hook_settings: String::new(),
            ufs_settings: String::new(),
            with_writers: true,
            pace_of_writers: PACE,
            flush: None,
            home,
        };
        stage.lay_out();
        Some(stage)
    }

    fn lay_out(&self) {
        for name in ["plugins", "hooks.d", "state", "run"] {
            let path = self.home.join(name);
            fs::create_dir_all(&path).unwrap_or_else(|error| panic!("can't make {}: {error}", path.display()));
        }
        for (library, plugin) in
            [("libufs.so", "ufs.so"), ("libzfs_veto.so", "zfs_veto.so"), ("libexec_hook.so", "exec_hook.so")]
        {
            self.install(&built(library), &self.home.join("plugins").join(plugin));
        }
        // The tree they were built in may be an ordinary user's, and then the daemon would not start them from there.
        for program in ["hv_vss_worker", "hv_vss_flush"] {
            self.install(&built(program), &self.home.join(program));
        }
        let optional = self.home.join("plugins/optional");
        fs::create_dir_all(&optional).unwrap_or_else(|error| panic!("can't make {}: {error}", optional.display()));
        self.install(&built("libkvp_report.so"), &optional.join("kvp_report.so"));
    }

    pub(crate) fn install(&self, from: &Path, to: &Path) {
        // By a process of its own: what this one has open for writing, another test's fork may have open a moment longer, and exec finds it busy.
        let done = Command::new("install").args(["-o", "0", "-g", "0", "-m", "0755"]).arg(from).arg(to).status();
        assert!(done.is_ok_and(|status| status.success()), "can't install {}", to.display());
    }

    /// A disk named so, mounted on a directory of that name, shown to the daemon as a UFS.
    #[must_use]
    pub fn disk(self, name: &str) -> Self {
        let image = self.ground.directory().join("images").join(name);
        let on = self.ground.directory().join(name);
        self.disk_at(name, &image, &on)
    }

    /// A disk mounted on a directory of the disk `parent`.
    #[must_use]
    pub fn disk_within(self, parent: &str, name: &str) -> Self {
        let image = self.ground.directory().join("images").join(name);
        let on = self.disk_named(parent).on.join(name);
        self.disk_at(name, &image, &on)
    }

    /// A disk whose image file lies on the disk `holder`.
    #[must_use]
    pub fn disk_on_an_image_in(self, holder: &str, name: &str) -> Self {
        let image = self.disk_named(holder).on.join(name).with_extension("img");
        let on = self.ground.directory().join(name);
        self.disk_at(name, &image, &on)
    }

    /// A disk on this very image file, wherever that lies.
    #[must_use]
    pub fn disk_on_the_image(self, name: &str, image: &Path) -> Self {
        let on = self.ground.directory().join(name);
        self.disk_at(name, image, &on)
    }

    fn disk_at(mut self, name: &str, image: &Path, on: &Path) -> Self {
        let disk = self.ground.disk(name, image, on);
        self.table.push(disk.as_ufs());
        self
    }

    pub(crate) fn disk_named(&self, name: &str) -> &Disk {
        let disks = self.ground.disks().iter();
        disks.into_iter().find(|disk| disk.name == name).unwrap_or_else(|| panic!("no disk is named {name}"))
    }

    /// Which driver the machine has.
    #[must_use]
    pub fn driver(&self) -> Kind {
        self.driver
    }

    /// The other way of freezing than the driver stands for: UFSSUSPEND beside ours, vfsfreeze beside the one in base.
    #[must_use]
    pub fn frozen_the_other_way(mut self) -> Self {
        self.vfsfreeze = !self.vfsfreeze;
        self
    }

    /// Filesystems are suspended by UFSSUSPEND, whatever the driver.
    #[must_use]
    pub fn with_ufssuspend(mut self) -> Self {
        self.vfsfreeze = false;
        self
    }

    /// Whether filesystems are held by vfsfreeze; else by UFSSUSPEND.
    #[must_use]
    pub fn has_vfsfreeze(&self) -> bool {
        self.vfsfreeze
    }

    /// A disk's line in the mount table.
    ///
    /// # Panics
    /// When there is no such disk.
    #[must_use]
    pub fn table_line(&self, disk: &str) -> Mount {
        self.disk_named(disk).as_ufs()
    }

    /// One more line in the mount table.
    #[must_use]
    pub fn mounted(mut self, mount: Mount) -> Self {
        self.table.push(mount);
        self
    }

    /// The lines of the mount table are changed so.
    #[must_use]
    pub fn table(mut self, change: impl FnOnce(&mut Vec<Mount>)) -> Self {
        change(&mut self.table);
        self
    }

    /// A hook script: it writes its name, its argument and the outcome to the scripts' log, then does `body`.
    #[must_use]
    pub fn hook(self, name: &str, body: &str) -> Self {
        let log = self.script_log();
        let script = format!(
            "#!/bin/sh\nphase=\"${{1:-$HV_VSS_PHASE}}\"\necho \"{name} $phase $HV_VSS_OUTCOME\" >> {}\n{body}\n",
            log.display()
        );
        self.file_in_hooks_d(name, &script, 0o755)
    }

    /// A sample from hooks.d, put to use as an administrator would: copied under another name, settings at its top changed.
    ///
    /// # Panics
    /// When there is no such sample, or no such setting in it.
    #[must_use]
    #[track_caller]
    pub fn sample(self, sample: &str, settings: &[(&str, &str)]) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hooks.d").join(sample);
        let text = fs::read_to_string(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (key, value) in settings {
            let line = lines.iter_mut().find(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')));
            *line.unwrap_or_else(|| panic!("{sample} has no setting {key}")) = format!("{key}=\"{value}\"");
        }
        let name = sample.strip_suffix(".sample").expect("a sample's name ends so");
        self.file_in_hooks_d(name, &(lines.join("\n") + "\n"), 0o755)
    }

    /// Any file in hooks.d.
    #[must_use]
    pub fn file_in_hooks_d(self, name: &str, text: &str, mode: u32) -> Self {
        let path = self.home.join("hooks.d").join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .unwrap_or_else(|error| panic!("can't make the hook {}: {error}", path.display()));
        self
    }

    /// Any file in the plugin directory.
    #[must_use]
    pub fn file_in_plugins(self, name: &str, bytes: &[u8]) -> Self {
        let path = self.home.join("plugins").join(name);
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("can't make {}: {error}", path.display()));
        self
    }

    /// A key of `[time]`.
    #[must_use]
    pub fn time(mut self, key: &'static str, span: &'static str) -> Self {
        self.times.retain(|(name, _)| *name != key);
        self.times.push((key, span));
        self
    }

    /// The daemon keeps the times that a user has, not those scaled down for stories.
    #[must_use]
    pub fn with_real_times(mut self) -> Self {
        self.scale = Scale::Real;
        self
    }

    /// The driver's time limit, which the daemon is told, too.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// More text for the configuration file.
    #[must_use]
    pub fn configured(mut self, text: &str) -> Self {
        self.more_configuration.push_str(text);
        self.more_configuration.push('\n');
        self
    }

    /// More lines for `[plugin.ufs]`.
    #[must_use]
    pub fn ufs(mut self, lines: &str) -> Self {
        self.ufs_settings.push_str(lines);
        self.ufs_settings.push('\n');
        self
    }

    /// More lines for `[plugin.exec_hook]`.
    #[must_use]
    pub fn exec_hook(mut self, lines: &str) -> Self {
        self.exec_hook_settings.push_str(lines);
        self.exec_hook_settings.push('\n');
        self
    }

    /// The daemon and everything it needs lies on this disk: programs, plugins, hooks, configuration, state, pid file and socket.
    #[must_use]
    pub fn installed_on(mut self, disk: &str) -> Self {
        let old = self.home.clone();
        self.home = self.disk_named(disk).on.join("system");
        fs::create_dir_all(&self.home).unwrap_or_else(|error| panic!("can't make {}: {error}", self.home.display()));
        self.lay_out();
        self.install(&built("hv_vss_daemon"), &self.home.join("hv_vss_daemon"));
        for hook in fs::read_dir(old.join("hooks.d")).into_iter().flatten().flatten() {
            let to = self.home.join("hooks.d").join(hook.file_name());
            let done = Command::new("cp").arg("-p").arg(hook.path()).arg(&to).status();
            assert!(done.is_ok_and(|status| status.success()), "can't copy {}", to.display());
        }
        self
    }

    /// Another program than ours flushes.
    #[must_use]
    pub fn flushes_by(mut self, program: &Path) -> Self {
        self.flush = Some(program.to_owned());
        self
    }

    /// Writers that write less often: where many guests stand side by side. What claims that they stand still looks for a fixed time, made for the
    /// usual pace.
    #[must_use]
    pub fn slow_writers(mut self, pace: Duration) -> Self {
        self.pace_of_writers = pace;
        self
    }

    /// No writers: for stories in which nothing is to be frozen anyway.
    #[must_use]
    pub fn without_writers(mut self) -> Self {
        self.with_writers = false;
        self
    }

    /// Where the scripts write their log. Never frozen.
    #[must_use]
    pub fn script_log(&self) -> PathBuf {
        self.ground.directory().join("scripts.log")
    }

    /// A file or directory of the test's own, never frozen.
    #[must_use]
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.ground.directory().join(name)
    }

    /// The daemon's program.
    #[must_use]
    pub fn daemon_program(&self) -> PathBuf {
        self.program("hv_vss_daemon")
    }

    /// Where the daemon's things lie.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The node for applications.
    #[must_use]
    pub fn application_node(&self) -> PathBuf {
        self.dev().join("hv_appvss_dev")
    }

    /// Where the nodes are.
    #[must_use]
    pub fn dev(&self) -> PathBuf {
        self.ground.directory().join("dev")
    }

    /// Where the simulated host listens for `hv-vss-sim host`.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.ground.directory().join("sim.sock")
    }

    pub(crate) fn mounts(&self) -> PathBuf {
        self.ground.directory().join("mounts")
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.home.join("hv_vss.toml")
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        let installed = self.home.join(name);
        if installed.exists() { installed } else { built(name) }
    }

    pub(crate) fn has_writers(&self) -> bool {
        self.with_writers
    }

    /// Writes the mount table as it now is.
    pub(crate) fn write_table(&self) {
        write_mount_table(&self.mounts(), &self.table);
    }

    pub(crate) fn write_configuration(&self) {
        let path = self.configuration();
        fs::write(&path, self.configuration_text())
            .unwrap_or_else(|error| panic!("can't write {}: {error}", path.display()));
    }

    fn configuration_text(&self) -> String {
        let mut text = String::new();
        let home = self.home.display();
        let mut times =
            vec![("reserve", "400ms"), ("max_frozen", "4s"), ("thaw_answer_after", "600ms"), ("last_flush", "300ms")];
        times.retain(|(key, _)| self.scale == Scale::Story && !self.times.iter().any(|(changed, _)| changed == key));
        let mut put = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a String takes all");
        put(format_args!("[device]\nnode = \"{}\"", self.dev().join("hv_fsvss_dev").display()));
        put(format_args!("mount_table = \"{}\"", self.mounts().display()));
        put(format_args!("[time]\nlimit = \"{}ms\"", self.limit.as_millis()));
        for (key, span) in times.iter().chain(&self.times) {
            put(format_args!("{key} = \"{span}\""));
        }
        put(format_args!("[paths]\nplugins = \"{home}/plugins\"\nstate = \"{home}/state\""));
        put(format_args!("pid_file = \"{home}/run/pid\"\ncontrol = \"{home}/run/hv_vss.sock\""));
        put(format_args!("worker = \"{}\"", self.program("hv_vss_worker").display()));
        put(format_args!(
            "flush = \"{}\"",
            self.flush.clone().unwrap_or_else(|| self.program("hv_vss_flush")).display()
        ));
        put(format_args!("[plugin.ufs]\ndevice = \"{}\"", self.dev().join("ufssuspend").display()));
        put(format_args!("vfsfreeze = \"{}\"", self.dev().join("vfsfreeze").display()));
        put(format_args!("{}", self.ufs_settings));
        put(format_args!("[plugin.exec_hook]\ndirectory = \"{home}/hooks.d\""));
        put(format_args!("{}{}", self.exec_hook_settings, self.more_configuration));
        text
    }

    /// The simulated machine comes up; the daemon is not started yet.
    #[must_use]
    pub fn without_a_daemon(self) -> Guest {
        fs::create_dir_all(self.dev()).unwrap_or_else(|error| panic!("can't make {}: {error}", self.dev().display()));
        self.write_table();
        self.write_configuration();
        let mut command = Command::new(built("hv-vss-sim"));
        command.arg("serve").arg("--dev").arg(self.dev()).arg("--control").arg(self.control());
        command.arg("--mounts").arg(self.mounts()).arg("--limit").arg(format!("{}ms", self.limit.as_millis()));
        command.args(["--driver", if self.driver == Kind::Base { "base" } else { "ours" }]).stdout(Stdio::piped());
        if self.vfsfreeze {
            command.arg("--vfsfreeze");
        }
        let sim = process::start(&mut command, Signal::SIGTERM);
        Guest::on(self, sim)
    }

    /// Everything comes up: the machine, the daemon, and a writer on every disk.
    ///
    /// # Panics
    /// When the daemon does not get ready.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Guest {
        let mut guest = self.without_a_daemon();
        guest.daemon_starts();
        guest
    }
}
