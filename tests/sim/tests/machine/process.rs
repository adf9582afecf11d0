//! A process of the guest under the test's command, and a look at a filesystem from outside.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// Relative paths are in the directory of the nodes.
    pub(crate) fn start(dev: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hv-vss-sim-process"))
            .current_dir(dev)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the process starts");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, orders, answers }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tell(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("it listens");
    }

    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    }

    pub(crate) fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        self.hear()
    }

    #[track_caller]
    pub(crate) fn says(&mut self, order: &str, answer: &str) {
        assert_eq!(self.ask(order), answer, "to \"{order}\"");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it was there");
        self.child.wait().expect("and is gone");
    }

    #[track_caller]
    pub(crate) fn was_killed(&mut self) {
        let status = self.child.wait().expect("it ends");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `opt` and `msgid` of a request that was READ.
#[track_caller]
pub(crate) fn request(said: &str) -> (u32, u64) {
    let words: Vec<&str> = said.split(' ').collect();
    match words[..] {
        ["message", opt, "0", msgid] => (opt.parse().expect("opt"), msgid.parse().expect("msgid")),
        _ => panic!("a request was expected, not \"{said}\""),
    }
}

/// Whether a write there waits.
pub(crate) fn is_frozen(on: &Path) -> bool {
    let (done, wait) = mpsc::channel();
    let path = on.join("probe");
    // The thread ends when the filesystem is thawed, at the latest by the ground's drop.
    std::thread::spawn(move || done.send(fs::write(path, "x")));
    wait.recv_timeout(Duration::from_millis(50)).is_err()
}
