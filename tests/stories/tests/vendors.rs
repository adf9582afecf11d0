//! Plugins of vendors, hostile ones above all: what they do to a backup, and what they can't do to anything else.
//!
//! In each story the plugin `mischief` misbehaves once. The host hears what is true, the log says in a sentence which plugin it was and what it did,
//! nothing stays frozen, and the next cycle works. (That each kind of misbehaviour ends with its process is tried on the worker alone:
//! plugins/worker/tests/hostile.rs.)

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Signal, Stage, both_drivers, our_driver};
use hv_vss_testbed::example;

/// The plugin of the host's own tests, compiled into the stage's plugin directory as `mischief.so`.
#[track_caller]
fn compiled(stage: &Stage, options: &[&str]) -> PathBuf {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let file = stage.home().join("plugins/mischief.so");
    let status = Command::new("cc")
        .args(["-std=gnu11", "-g", "-shared", "-fPIC", "-pthread"])
        .args(options)
        .arg("-I")
        .arg(plugins.join("api/include"))
        .arg("-o")
        .arg(&file)
        .arg(plugins.join("worker/tests/plugins/plugin.c"))
        .status()
        .expect("a C compiler, as cc");
    assert!(status.success(), "the test plugin does not compile with {options:?}");
    file
}

/// The plugin in C of docs/plugin-guide.md, made by the guide's own command from nothing but the header, and installed.
#[track_caller]
fn with_the_guides_plugin(stage: Stage, socket: &Path) -> Stage {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = std::fs::read_to_string(project.join("docs/plugin-guide.md")).expect("the guide");
    let block = |fence: &str, part: &str| {
        let blocks = guide.split(fence).skip(1).filter_map(|rest| rest.split("```").next());
        blocks.into_iter().find(|block| block.contains(part)).expect("a block of the guide").to_owned()
    };
    let empty = stage.scratch("vendor");
    std::fs::create_dir(&empty).expect("an empty directory");
    let header = project.join("plugins/api/include/hv_vss_plugin.h");
    std::fs::copy(header, empty.join("hv_vss_plugin.h")).expect("the header");
    std::fs::write(empty.join("queued.c"), block("```c\n", "/* queued.c:")).expect("the source");
    let made = Command::new("sh").arg("-ec").arg(block("```sh\n", "cc ")).current_dir(&empty).status();
    assert!(made.expect("a shell").success(), "the guide's plugin does not compile");
    let library = std::fs::read(empty.join("queued.so")).expect("the plugin");
    let table = block("```toml\n", "[plugin.queued]").replace("/var/run/queued.sock", &socket.display().to_string());
    stage.file_in_plugins("queued.so", &library).configured(&table)
}

/// The guide's application: answers on a socket, and tells each line that it hears.
fn queued_listens_on(socket: &Path) -> Receiver<String> {
    let listener = UnixListener::bind(socket).expect("a socket");
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(connection.try_clone().expect("a second handle")).lines();
            for line in lines.map_while(Result::ok) {
                let answered = connection.write_all(if line == "pause" { b"paused\n" } else { b"resumed\n" });
                if answered.is_err() || told.send(line).is_err() {
                    return;
                }
            }
        }
    });
    heard
}

/// The SDK's example for ext4, installed as `fifreeze.so`; the disks of the stage are shown to the daemon as what they really are.
#[track_caller]
fn with_fifreeze(stage: Stage) -> Stage {
    let library = std::fs::read(example("fifreeze")).expect("the example");
    stage
        .file_in_plugins("fifreeze.so", &library)
        .table(|mounts| mounts.iter_mut().for_each(|mount| mount.fstype = "ext4".into()))
}

/// A stage with one disk, one hook, and the plugin that misbehaves once in this call.
#[track_caller]
fn with_mischief(stage: Stage, what: &str, call: &str) -> Stage {
    compiled(&stage, &[]);
    let once = stage.scratch("once").display().to_string();
    let settings = format!("[plugin.mischief]\nmemory = \"128M\"\nin = \"{call}\"\ndo = \"{what}\"\nonce = \"{once}\"");
    stage.disk("data").hook("50-app", "").configured(&settings)
}

/// A whole cycle that works.
#[track_caller]
fn a_cycle_works(guest: &Guest) {
    guest.host_may(Check);
    guest.host_may(Freeze);
    guest.is_frozen();
    guest.host_may(Thaw);
    guest.runs();
}

/// The freeze fails because of the plugin, with these words beside its name in the log; nothing stays frozen, and the next cycle works.
#[track_caller]
fn fails_the_freeze(stage: Stage, what: &str, words: &[&str]) {
    let guest = with_mischief(stage, what, "freeze").start();
    guest.host_may(Check);
    guest.host_may_not(Freeze);
    guest.runs();
    guest.daemon().says(&[&["mischief"], words].concat());
    a_cycle_works(&guest);
}

both_drivers! {
    fn a_plugin_that_crashes_in_freeze_fails_that_backup_and_not_the_next(stage: Stage) {
        fails_the_freeze(stage, "crash", &[]);
    }

    fn a_plugin_that_never_answers_the_freeze_is_killed_in_time(stage: Stage) {
        let guest = with_mischief(stage.limit(Duration::from_millis(1500)), "loop", "freeze").start();
        guest.host_may(Check);
        let answered = guest.host_may_not(Freeze);
        assert!(answered.took < Duration::from_millis(1500), "after {:?}", answered.took);
        guest.runs();
        guest.daemon().says(&["mischief"]);
        a_cycle_works(&guest);
    }

    fn a_hold_that_outlives_its_killed_host_is_released_by_the_next_one(stage: Stage) {
        let guest = with_fifreeze(stage.disk("data").disk("more")).hook("50-app", "").start();
        a_cycle_works(&guest);
        guest.host_may(Freeze);
        guest.is_frozen();
        // ext4 does not thaw when its freezer dies: somebody has to be told to.
        guest.worker_gets("fifreeze.so", Signal::SIGKILL);
        guest.runs();
        guest.host_may_not(Thaw);
        a_cycle_works(&guest);
    }

    fn the_guides_plugin_pauses_its_application_for_the_time_of_the_freeze(stage: Stage) {
        let socket = stage.scratch("queued.sock");
        let heard = queued_listens_on(&socket);
        let guest = with_the_guides_plugin(stage.disk("data"), &socket).start();
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.is_frozen();
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["pause"]);
        guest.host_may(Thaw);
        guest.runs();
        assert_eq!(heard.recv_timeout(Duration::from_secs(5)).as_deref(), Ok("resume"));
    }

    fn a_plugin_that_behaves_is_a_step_like_any_other(stage: Stage) {
        let guest = with_mischief(stage, "refuse", "nothing").start();
        a_cycle_works(&guest);
        a_cycle_works(&guest);
    }
}

our_driver! {
    fn a_plugin_that_refuses_the_freeze_is_quoted(stage: Stage) {
        fails_the_freeze(stage, "refuse", &["the queue is not empty"]);
    }

    fn a_plugin_that_exits_in_freeze_fails_that_backup_and_not_the_next(stage: Stage) {
        fails_the_freeze(stage, "exit", &[]);
    }

    fn a_plugin_that_returns_garbage_fails_that_backup_and_not_the_next(stage: Stage) {
        fails_the_freeze(stage, "garbage-code", &["freeze returned 12345, which is no result"]);
    }

    fn a_plugin_that_writes_past_its_reason_buffer_fails_that_backup_and_not_the_next(stage: Stage) {
        fails_the_freeze(stage, "overrun", &["wrote past the end of its reason buffer"]);
    }

    fn a_plugin_that_closes_all_its_descriptors_fails_that_backup_and_not_the_next(stage: Stage) {
        fails_the_freeze(stage, "close-descriptors", &[]);
    }

    fn a_plugin_that_allocates_without_end_meets_its_own_limit_and_not_the_machines(stage: Stage) {
        fails_the_freeze(stage, "allocate", &[]);
    }

    fn a_plugin_that_crashes_in_check_fails_that_check_and_not_the_next(stage: Stage) {
        let guest = with_mischief(stage, "crash", "check").start();
        guest.host_may_not(Check);
        guest.daemon().says(&["mischief"]);
        a_cycle_works(&guest);
    }

    fn a_plugin_that_crashes_in_thaw_is_restarted_and_the_next_cycle_works(stage: Stage) {
        let guest = with_mischief(stage, "crash", "thaw").start();
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.is_frozen();
        // The filesystems are released and all had stayed held: that an application stumbles afterwards does not spoil the backup.
        guest.host_may(Thaw);
        guest.runs();
        guest.daemon().says(&["mischief"]);
        a_cycle_works(&guest);
    }

    fn a_thaw_that_hangs_each_time_is_owed_until_it_is_written_off(stage: Stage) {
        compiled(&stage, &[]);
        let settings = "[plugin.mischief]\nmemory = \"128M\"\nin = \"thaw\"\ndo = \"loop\"";
        let guest = stage.disk("data").time("thaw_limit", "500ms").configured(settings).start();
        guest.host_may(Freeze);
        guest.host_sends(Thaw);
        guest.runs();
        guest.daemon().says(&["plugin mischief still owes its thaw of cycle", "vssctl forgive mischief"]);
        guest.host_may_not(Check);
        let deadline = std::time::Instant::now() + Duration::from_secs(8);
        while !guest.vssctl(&["forgive", "mischief"]).status.success() {
            assert!(std::time::Instant::now() < deadline, "it can be written off between two tries");
            std::thread::sleep(Duration::from_millis(20));
        }
        guest.comes_to_allow_backups();
    }

    fn a_plugin_that_never_answers_the_thaw_does_not_keep_the_filesystems_frozen(stage: Stage) {
        let guest = with_mischief(stage.time("thaw_limit", "500ms"), "loop", "thaw").start();
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
        guest.daemon().says(&["mischief"]);
        a_cycle_works(&guest);
    }

    fn harmless_oddities_fail_nothing(stage: Stage) {
        // Prints, floods the log, has threads, forks, changes directory and umask, blocks all signals, keeps a pointer.
        compiled(&stage, &[]);
        let mut stage = stage.disk("data");
        for what in ["print", "flood", "thread", "fork", "chdir-umask", "block-signals", "keep-pointers"] {
            let plugins = stage.home().join("plugins");
            let name = what.replace('-', "_");
            std::fs::copy(plugins.join("mischief.so"), plugins.join(format!("{name}.so"))).expect("a copy");
            stage = stage.configured(&format!("[plugin.{name}]\nin = \"freeze\"\ndo = \"{what}\""));
        }
        let guest = stage.start();
        a_cycle_works(&guest);
        a_cycle_works(&guest);
    }

    fn a_plugin_that_refuses_to_open_fails_every_check_with_its_own_words(stage: Stage) {
        compiled(&stage, &[]);
        let guest = stage.disk("data").configured("[plugin.mischief]\ncolour = \"red\"").start();
        guest.host_may_not(Check);
        guest.daemon().says(&["mischief", "unknown setting colour = \"red\""]);
        guest.runs();
    }

    fn a_plugin_that_is_not_required_is_left_out_when_it_can_not_be_used(stage: Stage) {
        compiled(&stage, &["-DCONSTRUCTOR=abort()"]);
        let text = b"#!/bin/sh\nexit 0\n";
        let settings = "[plugin.mischief]\nrequired = false\n[plugin.text]\nrequired = false";
        let guest = stage.disk("data").file_in_plugins("text.so", text).configured(settings).start();
        a_cycle_works(&guest);
        guest.daemon().says(&["mischief"]);
        guest.daemon().says(&["text", "it does not begin as an ELF file does"]);
    }

    fn a_plugin_that_can_not_be_loaded_fails_every_check_with_the_reason(stage: Stage) {
        let file = compiled(&stage, &[]);
        let whole = std::fs::read(&file).expect("the plugin");
        compiled(&stage, &["-DNO_THAW"]);
        let guest = stage
            .disk("data")
            .file_in_plugins("text.so", b"not a plugin\n")
            .file_in_plugins("truncated.so", &whole[..whole.len() / 2])
            .start();
        guest.host_may_not(Check);
        let daemon = guest.daemon();
        daemon.says(&["mischief.so", "its table lacks the required member thaw"]);
        daemon.says(&["text.so", "it does not begin as an ELF file does"]);
        daemon.says(&["truncated.so", "it is cut off"]);
        guest.runs();
    }
}
