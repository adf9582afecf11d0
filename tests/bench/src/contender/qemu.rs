//! qemu-ga, as Debian ships it, driven over a unix socket in place of a virtio port.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use hv_vss_platform::clock;

use super::{Contender, QEMU};
use crate::child::Running;
use crate::jail::Jail;
use crate::patience;

/// Where it is in the jail.
pub(crate) const PROGRAM: &str = "/usr/sbin/qemu-ga";
/// Where the hooks' runner is in the jail, and beside it their directory.
pub(crate) const HOOK_RUNNER: &str = "/etc/qemu/fsfreeze-hook";

const SOCKET: &str = "/run/qga.sock";

/// A running qemu-ga.
pub(crate) struct Qemu {
    process: Running,
    reader: BufReader<UnixStream>,
    disks: usize,
    /// From its exec to its first answer.
    pub(crate) ready_after: Duration,
}

/// Whether it runs hooks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hooks {
    Off,
    On,
}

impl Qemu {
    /// Starts it in a jail.
    pub(crate) fn start(jail: &Jail, hooks: Hooks) -> Self {
        let socket = jail.path(SOCKET);
        let _ = std::fs::remove_file(&socket);
        let hook = format!("--fsfreeze-hook={HOOK_RUNNER}");
        let mut command = vec![PROGRAM, "-m", "unix-listen", "-p", SOCKET, "-t", "/run", "-f", "/run/qga.pid"];
        if hooks == Hooks::On {
            command.push(&hook);
        }
        let (process, began) = jail.start(&command);
        let reader = BufReader::new(connect(&socket));
        let disks = jail.disks().count();
        let mut this = Self { process, reader, disks, ready_after: Duration::ZERO };
        this.ask("guest-ping");
        this.ready_after = began.until(clock::now());
        this
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }

    fn ask(&mut self, command: &str) -> (Duration, String) {
        let asked = Instant::now();
        let sent = writeln!(self.reader.get_mut(), "{{\"execute\":\"{command}\"}}");
        let mut answer = String::new();
        let read = self.reader.read_line(&mut answer);
        let took = asked.elapsed();
        let answer = answer.trim_end().to_owned();
        assert!(
            sent.is_ok() && read.is_ok() && answer.contains("\"return\""),
            "qemu-ga, told {command}, said \"{answer}\""
        );
        (took, answer)
    }

    fn counted(&mut self, command: &str) -> Duration {
        let (took, answer) = self.ask(command);
        let expected = format!("{{\"return\": {}}}", self.disks);
        assert_eq!(answer, expected, "qemu-ga, told {command}");
        took
    }
}

impl Contender for Qemu {
    fn name(&self) -> &'static str {
        QEMU
    }

    fn freeze(&mut self) -> Duration {
        self.counted("guest-fsfreeze-freeze")
    }

    fn thaw(&mut self) -> Duration {
        self.counted("guest-fsfreeze-thaw")
    }
}

fn connect(socket: &Path) -> UnixStream {
    let mut connected = None;
    patience::until("qemu-ga to listen", || {
        connected = UnixStream::connect(socket).ok();
        connected.is_some()
    });
    connected.expect("it listens")
}
