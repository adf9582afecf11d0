//! What the daemon makes, reads and starts beside plugins and hooks: its lock, its socket, its state, its configuration, its programs, the file for
//! a collector. An intruder has got hold of one of them, mostly by a mistake of root's, and gains nothing.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Intruder, Signal, Stage, our_driver, wait_for};

/// How long something that comes by itself may take.
const SOON: Duration = Duration::from_secs(10);

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, Permissions::from_mode(bits)).unwrap();
}

fn home(guest: &Guest) -> PathBuf {
    guest.stage().home().to_owned()
}

#[track_caller]
fn comes(what: &str, is_there: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_there() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Its exit code, and all that it said.
fn vssctl(guest: &Guest, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(guest.stage().daemon_program().with_file_name("vssctl"));
    let output = command.arg("--socket").arg(home(guest).join("run/hv_vss.sock")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), text)
}

our_driver! {
    fn nobody_can_keep_the_daemon_from_starting_by_taking_its_lock(stage: Stage) {
        let mut guest = stage.disk("data").start();
        let pid_file = home(&guest).join("run/pid");
        let mut intruder = Intruder::on(guest.stage());
        guest.daemon_is_killed();
        assert!(pid_file.exists(), "a killed daemon leaves it");
        let takes = format!("flock {} sh -c 'touch {}/has-it; sleep 60'", pid_file.display(), intruder.home().display());
        intruder.can_not(std::slice::from_ref(&takes));
        guest.daemon_starts();
        guest.host_may(Check);
        guest.daemon_is_killed();
        // The counter-proof: were it readable by all, as pid files often are, the lock would be anybody's.
        mode(&pid_file, 0o644);
        intruder.keeps_at_it(&takes);
        let has_it = intruder.home().join("has-it");
        comes("the intruder takes the lock", || has_it.exists());
        guest.daemon_is_started([]);
        assert_ne!(guest.daemon_ends(), Some(0));
        guest.daemon().says(&["already running"]);
    }

    fn a_collectors_own_directory_is_written_to_and_its_links_are_not_followed(stage: Stage) {
        let stage = stage.disk("data");
        let mut intruder = Intruder::on(&stage);
        let precious = stage.home().join("precious");
        fs::write(&precious, "precious").unwrap();
        mode(&precious, 0o600);
        let file = intruder.home().join("hv_vss.prom");
        // While it works the collector's user lays links in the daemon's way, to the file and to the one beside it.
        let (precious_name, way) = (precious.display(), file.display());
        intruder.keeps_at_it(&format!(
            "perl -e 'for (;;) {{ for my $name (\"{way}\", \"{way}.new\") {{ symlink(\"{precious_name}\", $name); unlink($name); }} }}'"
        ));
        let guest = stage.configured(&format!("[metrics]\ntextfile = \"{way}\"")).start();
        for _ in 0..40 {
            guest.host_may(Check);
        }
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(fs::metadata(&precious).unwrap().mode() & 0o777, 0o600);
        drop(intruder);
        guest.host_may(Check);
        comes("the collector gets what it is there for", || {
            fs::read_to_string(&file).is_ok_and(|text| text.contains("hv_vss_checks_total"))
        });
    }

    fn a_collectors_directory_below_somebody_elses_is_not_written_to(stage: Stage) {
        let stage = stage.disk("data");
        let intruder = Intruder::on(&stage);
        let deeper = intruder.home().join("deeper");
        fs::create_dir(&deeper).unwrap();
        let file = deeper.join("hv_vss.prom");
        let guest = stage.configured(&format!("[metrics]\ntextfile = \"{}\"", file.display())).start();
        guest.host_may(Check);
        guest.daemon().says(&["can't write", "hv_vss.prom", "intruder", "belongs to uid 65534"]);
        assert!(!file.exists());
    }

    fn what_somebody_else_writes_down_as_owed_is_not_believed(stage: Stage) {
        let mut guest = stage.disk("data").hook("50-app", "").start();
        let state = home(&guest).join("state");
        let intruder = Intruder::on(guest.stage());
        guest.host_may(Freeze);
        let record = fs::read_to_string(state.join("owed-exec_hook.json")).unwrap();
        guest.host_may(Thaw);
        let host = guest.worker_of("exec_hook.so");
        guest.daemon().signal(Signal::SIGTERM);
        assert_eq!(guest.daemon_ends(), Some(0));
        guest.process_is_gone(host);
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw ok"]);
        let planted = state.join("owed-exec_hook.json");
        // A record of theirs in a directory of root's, then one of root's in a directory of theirs.
        fs::write(&planted, &record).unwrap();
        intruder.is_given(&planted);
        guest.daemon_starts();
        guest.daemon().says(&["owed-exec_hook.json", "belongs to uid 65534"]);
        guest.host_may(Check);
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw ok"]);
        guest.daemon().signal(Signal::SIGTERM);
        assert_eq!(guest.daemon_ends(), Some(0));
        chown(&planted, Some(0), Some(0)).unwrap();
        mode(&state, 0o777);
        guest.daemon_starts();
        guest.daemon().says(&["state", "written to by", "chmod go-w", "in memory only"]);
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw ok", "50-app freeze ok", "50-app thaw ok"]);
        assert_eq!(fs::read_to_string(&planted).unwrap(), record, "nothing is written there");
        assert!(!state.join("history.jsonl.new").exists());
        guest.daemon().signal(Signal::SIGTERM);
        assert_eq!(guest.daemon_ends(), Some(0));
        // The counter-proof: from root it is a debt.
        mode(&state, 0o755);
        guest.daemon_starts();
        guest.scripts_ran_with([
            "50-app freeze ok", "50-app thaw ok", "50-app freeze ok", "50-app thaw ok", "50-app thaw recovered",
        ]);
    }

    fn a_configuration_that_somebody_else_can_write_is_used_neither_at_the_start_nor_later(stage: Stage) {
        let mut guest = stage.disk("data").start();
        let path = home(&guest).join("hv_vss.toml");
        let intruder = Intruder::on(guest.stage());
        mode(&path, 0o666);
        let (done, said) = intruder.tries(&format!("echo '[plugin.ufs]' >> {}; echo 'enabled = false' >> {0}", path.display()));
        assert!(done, "{said}");
        let (code, text) = vssctl(&guest, &["reload"]);
        assert_ne!(code, Some(0));
        assert!(text.contains("is not used") && text.contains("chmod go-w"), "{text}");
        guest.daemon().signal(Signal::SIGHUP);
        guest.daemon().says(&["the configuration is not used", "chmod go-w"]);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.daemon().signal(Signal::SIGTERM);
        assert_eq!(guest.daemon_ends(), Some(0));
        guest.daemon_is_started([]);
        assert_ne!(guest.daemon_ends(), Some(0));
        guest.daemon().says(&["the configuration is not used", "chmod go-w"]);
    }

    fn a_program_that_somebody_else_can_replace_is_not_started(stage: Stage) {
        let stage = stage.disk("data").hook("50-app", "");
        let intruder = Intruder::on(&stage);
        let payload = intruder.prepares("program");
        let guest = stage.without_a_daemon();
        let path = home(&guest).join("hv_vss.toml");
        let text = fs::read_to_string(&path).unwrap();
        let mut guest = guest;
        for (key, words) in [("flush", ["can't start", "so the freeze itself has to write"]), ("worker", ["can't start the worker", "for plugin ufs"])] {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap();
            fs::write(&path, text.replace(line, &format!("{key} = \"{}\"", payload.display()))).unwrap();
            guest.daemon_starts();
            guest.answer_within(guest.host_sends(Freeze), SOON).expect("an answer");
            guest.daemon().says(&[words[0], words[1], "belongs to uid 65534"]);
            guest.answer_within(guest.host_sends(Thaw), SOON).expect("an answer");
            intruder.got_nothing_run();
            guest.daemon().signal(Signal::SIGTERM);
            assert_eq!(guest.daemon_ends(), Some(0));
        }
        // The counter-proof: root's own copy is run.
        chown(&payload, Some(0), Some(0)).unwrap();
        fs::rename(&payload, home(&guest).join("program")).unwrap();
        let line = text.lines().find(|line| line.starts_with("flush")).unwrap();
        fs::write(&path, text.replace(line, &format!("flush = \"{}/program\"", home(&guest).display()))).unwrap();
        guest.daemon_starts();
        guest.host_may(Check);
        let proof = guest.stage().scratch("vault").join("proof");
        comes("the flush program is run", || proof.exists());
    }

    fn a_socket_that_all_may_connect_to_still_serves_root_alone(stage: Stage) {
        let guest = stage.disk("data").start();
        let socket = home(&guest).join("run/hv_vss.sock");
        let intruder = Intruder::on(guest.stage());
        mode(&socket, 0o777);
        guest.host_may(Freeze);
        for question in [r#"{"ask":"status"}"#, r#"{"ask":"thaw"}"#, r#"{"ask":"history","last":9}"#] {
            let (done, said) = intruder.tries(&format!(
                "perl -MSocket -e '$SIG{{PIPE}} = \"IGNORE\"; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un(\"{}\")) or die \"connect: $!\"; \
                 syswrite(S, pack(\"V\", length($ARGV[0])) . $ARGV[0]); $had = sysread(S, $answer, 4096); print \"heard \" . ($had || 0)' '{question}'",
                socket.display()
            ));
            assert!(done && said.contains("heard 0"), "{question}: {said}");
        }
        guest.is_frozen();
        let (code, text) = vssctl(&guest, &["status"]);
        assert!(text.contains("frozen"), "{code:?} {text}");
        guest.host_may(Thaw);
    }

    fn an_impostor_at_the_daemons_socket_is_found_out_and_a_daemon_listens_at_no_such_place(stage: Stage) {
        let mut guest = stage.disk("data").without_a_daemon();
        let run = home(&guest).join("run");
        let socket = run.join("hv_vss.sock");
        let mut intruder = Intruder::on(guest.stage());
        mode(&run, 0o1777);
        intruder.keeps_at_it(&format!(
            "perl -MSocket -e 'unlink(\"{0}\"); socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un(\"{0}\")) or die; listen(S, 9); accept(C, S); sleep 60;'",
            socket.display()
        ));
        comes("the impostor listens", || socket.exists());
        comes("and is found out", || vssctl(&guest, &["status"]).1.contains("belongs to user 65534 and not to root"));
        // The pid file would lie there, too.
        guest.daemon_is_started([]);
        assert_ne!(guest.daemon_ends(), Some(0));
        guest.daemon().says(&["the pid file is not used", "written to by", "chmod go-w"]);
        // The pid file elsewhere: it serves the host, and says that it listens to no operator.
        let path = home(&guest).join("hv_vss.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("run/pid", "pid")).unwrap();
        guest.daemon_starts();
        guest.daemon().says(&["can't listen at", "chmod go-w"]);
        guest.host_may(Check);
    }

    fn words_of_somebody_elses_reach_neither_the_log_nor_a_terminal_as_orders(stage: Stage) {
        // A name of a mount point is one that an unprivileged user can choose, where they may mount.
        let named = "/home/u/\u{1b}[2J\u{202e}\nERROR forged";
        let guest = stage.disk("data").mounted(hv_vss_stories::line("zfs", named)).hook("50-app", "").start();
        guest.host_may_not(Check);
        guest.daemon().says(&["zfs", "forged"]);
        let (_, status) = vssctl(&guest, &["status"]);
        let (_, check) = vssctl(&guest, &["check"]);
        let log = guest.daemon().log().join("\n");
        for (who, text) in [("the log", &log), ("vssctl status", &status), ("vssctl check", &check)] {
            assert!(text.contains("forged"), "{who} names it: {text}");
            assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{who}: {text:?}");
            assert!(!text.lines().any(|line| line.trim_start().starts_with("ERROR forged")), "{who}: {text}");
        }
        let (mut raw, history) = (String::new(), home(&guest).join("state/history.jsonl"));
        wait_for("the history", || history.exists());
        fs::File::open(history).unwrap().read_to_string(&mut raw).unwrap();
        assert!(!raw.contains('\u{1b}'), "the history is JSON");
    }
}
