//! While something is frozen no process of ours makes a system call that could wait for a disk on FreeBSD: every one of them is listed by a tracer and
//! judged. (That none waits on Linux, tests/frozen_root.rs shows; Linux is the more forgiving of the two.)

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::tracer::{Call, Ground, Tracer, Window, judge};
use hv_vss_stories::{Guest, Mount, Signal, Stage, both_drivers, line};
use hv_vss_testbed::needs;

/// The daemon and its workers.
fn ours(guest: &Guest) -> Vec<i32> {
    let hosts = guest.children_of_the_daemon().into_iter().filter(|(_, command)| command.contains("hv_vss_worker"));
    std::iter::once(guest.daemon().pid()).chain(hosts.map(|(pid, _)| pid)).collect()
}

/// A system whose every part lies on what is frozen, with two more filesystems and hooks.
#[track_caller]
fn system(stage: Stage) -> Guest {
    let stage = stage.disk("root").disk("data").disk("more");
    stage.hook("10-a", "").hook("60-note.post-thaw", "").installed_on("root").time("max_frozen", "20s").start()
}

fn ground(guest: &Guest, pids: &[i32]) -> Ground {
    let mapped = pids.iter().flat_map(|pid| {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("its mappings");
        maps.lines().filter_map(file_mapping).collect::<Vec<_>>()
    });
    Ground {
        nodes: guest.stage().scratch("dev"),
        mount_table: guest.stage().scratch("mounts"),
        mapped: mapped.collect(),
    }
}

/// "from-until rwxp offset device inode /path"; an anonymous one has no path.
fn file_mapping(line: &str) -> Option<(u64, u64, String)> {
    let mut words = line.split_whitespace();
    let (from, until) = words.next()?.split_once('-')?;
    let path = words.nth(4).filter(|path| path.starts_with('/'))?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    Some((hex(from)?, hex(until)?, path.to_owned()))
}

/// What happened in the window, by call, and what should not have.
struct Judged {
    seen: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

/// Traces all our processes while `story` is told, and judges what they did while something was suspended.
#[track_caller]
fn traced(guest: &mut Guest, story: impl FnOnce(&mut Guest)) -> Judged {
    let pids = ours(guest);
    let ground = ground(guest, &pids);
    let tracer = Tracer::attach(&pids, guest.stage().scratch("trace"));
    story(guest);
    let calls = tracer.calls();
    let window = Window::of(&calls).expect("something was suspended, and resumed");
    assert!(window.until.is_finite() && window.until - window.from > 0.1, "{window:?}");
    // A flush that takes longer than its slice may go on: nobody waits for it, and it holds nothing.
    let flushes: BTreeSet<i32> = calls
        .iter()
        .filter(|call| call.name == "execve" && call.arguments.contains("hv_vss_flush"))
        .map(|call| call.tid)
        .collect();
    let mut judged = Judged { seen: BTreeMap::new(), wrong: Vec::new() };
    let within = |call: &&Call| window.holds(call) && !flushes.contains(&call.tid);
    for call in calls.iter().filter(within) {
        *judged.seen.entry(call.name.clone()).or_default() += 1;
        judged.wrong.extend(judge(call, &ground).err());
    }
    println!("{:.3} s: {:?}", window.until - window.from, judged.seen);
    judged
}

#[track_caller]
fn nothing_could_wait(judged: &Judged) {
    assert_eq!(judged.wrong, [""; 0], "while something was suspended");
    // Three were suspended and resumed: that is what the window is made of.
    assert!(judged.seen["ioctl"] >= 6, "{:?}", judged.seen);
}

/// What `vssctl status` does.
#[track_caller]
fn operator_asks_for_status(guest: &Guest) {
    let mut socket = UnixStream::connect(guest.stage().home().join("run/hv_vss.sock")).expect("a connection");
    let question = br#"{"ask":"status"}"#;
    socket.write_all(&u32::try_from(question.len()).expect("it is short").to_le_bytes()).expect("it listens");
    socket.write_all(question).expect("it listens");
    let mut length = [0; 4];
    socket.read_exact(&mut length).expect("it answers");
    let mut answer = vec![0; u32::from_le_bytes(length) as usize];
    socket.read_exact(&mut answer).expect("it answers");
    let answer = String::from_utf8(answer).expect("JSON");
    assert!(answer.contains(r#""state":"frozen""#), "{answer}");
}

both_drivers! {
    fn while_frozen_no_call_could_wait_for_a_disk(stage: Stage) {
        needs!(Strace);
        let mut guest = system(stage);
        guest.host_may(Check);
        let judged = traced(&mut guest, |guest| {
            guest.host_may(Freeze);
            guest.is_frozen();
            guest.host_may_not(Check);
            guest.host_may_not(Freeze);
            operator_asks_for_status(guest);
            guest.host_may(Thaw);
            guest.runs();
        });
        nothing_could_wait(&judged);
    }

    /// It writes to the very disk that is frozen: just before, since a CHECK has ended, and just after.
    fn while_frozen_an_observer_that_writes_to_that_disk_makes_no_call_at_all_that_could_wait(stage: Stage) {
        needs!(Strace);
        let stage = stage.disk("root").disk("data").disk("more").hook("10-a", "");
        let pool = stage.scratch("root").join("pool");
        let table = format!("[plugin.kvp_report]\nenabled = true\ndirectory = \"{}\"", pool.display());
        let mut guest = stage.installed_on("root").configured(&table).start();
        assert!(guest.worker_of("kvp_report.so") > 0);
        let judged = traced(&mut guest, |guest| {
            guest.host_may(Check);
            guest.host_may(Freeze);
            guest.is_frozen();
            guest.host_may(Thaw);
            guest.runs();
        });
        nothing_could_wait(&judged);
        assert!(pool.join(".kvp_pool_1").exists());
    }

    fn on_an_operators_signal_no_call_could_wait_for_a_disk(stage: Stage) {
        needs!(Strace);
        let mut guest = system(stage);
        let judged = traced(&mut guest, |guest| {
            guest.host_may(Freeze);
            guest.is_frozen();
            guest.daemon().signal(Signal::SIGUSR1);
            guest.runs();
            guest.host_may_not(Thaw);
        });
        nothing_could_wait(&judged);
    }

    fn on_a_termination_no_call_could_wait_for_a_disk_before_everything_runs(stage: Stage) {
        needs!(Strace);
        let mut guest = system(stage);
        let judged = traced(&mut guest, |guest| {
            guest.host_may(Freeze);
            guest.is_frozen();
            guest.daemon().signal(Signal::SIGTERM);
            assert_eq!(guest.daemon_ends(), Some(0));
            guest.runs();
        });
        nothing_could_wait(&judged);
    }

    fn when_the_host_never_thaws_no_call_could_wait_for_a_disk(stage: Stage) {
        needs!(Strace);
        let stage = stage.disk("root").disk("data").disk("more").hook("10-a", "");
        let mut guest = stage.installed_on("root").time("max_frozen", "1s").start();
        let judged = traced(&mut guest, |guest| {
            guest.host_may(Freeze);
            guest.is_frozen();
            guest.runs();
        });
        nothing_could_wait(&judged);
    }

    /// The last of three refuses: two are suspended already, and are let go again.
    fn when_a_freeze_fails_half_way_no_call_could_wait_for_a_disk(stage: Stage) {
        needs!(Strace);
        let mut guest = system(stage);
        guest.goes_wrong("root", hv_vss_stories::Moment::Suspend, hv_vss_stories::Fault::DelayMs(150));
        guest.table_changes(|table| table.insert(0, Mount { fsid: hv_vss_stories::FsId([9; 8]), ..line("ufs", "/nowhere") }));
        let judged = traced(&mut guest, |guest| {
            guest.host_may_not(Freeze);
            guest.runs();
        });
        nothing_could_wait(&judged);
    }

    /// The list can say no: a plugin that writes a file in the midst of it is caught, with the name of what it wrote to.
    fn a_plugin_that_writes_to_a_file_while_others_are_frozen_is_caught(stage: Stage) {
        needs!(Strace);
        let file = stage.scratch("diary");
        let library = compiled(&stage, &file);
        // First in the table, so that it is asked to freeze last.
        let stage = stage.disk("data").table(|table| table.insert(0, line("diaryfs", "/diary")));
        let mut guest = stage.file_in_plugins("diary.so", &library).start();
        let judged = traced(&mut guest, |guest| {
            guest.host_may(Freeze);
            guest.is_frozen();
            guest.host_may(Thaw);
        });
        let caught = |call: &str| judged.wrong.iter().any(|why| why.contains(&format!("called {call}(")) && why.contains("diary"));
        assert!(caught("openat") && caught("write") && caught("close"), "{:?}", judged.wrong);
        assert_eq!(fs::read_to_string(file).unwrap(), "frozen\n");
    }

    fn while_frozen_no_descriptor_of_a_disk_file_lies_below_a_socket_or_a_node(stage: Stage) {
        let guest = system(stage);
        for round in 0..2 {
            guest.host_may(Freeze);
            guest.is_frozen();
            let files = judge_descriptors(guest.daemon().pid());
            assert!(files.iter().any(|name| name.ends_with("/run/pid")), "the lock on the pid file is kept: {files:?}");
            for plugin in ["ufs.so", "zfs_veto.so", "exec_hook.so"] {
                assert_eq!(judge_descriptors(guest.worker_of(plugin)), [""; 0], "{plugin}");
            }
            guest.host_may(Thaw);
            guest.runs();
            if round == 0 {
                // And those of plugins that were started later.
                for plugin in ["ufs.so", "zfs_veto.so", "exec_hook.so"] {
                    let old = guest.worker_gets(plugin, Signal::SIGKILL);
                    guest.process_is_gone(old);
                }
                guest.comes_to_allow_backups();
            }
        }
    }
}

/// Claims that all descriptors of disk files lie above all others; gives those files.
#[track_caller]
fn judge_descriptors(pid: i32) -> Vec<String> {
    let (mut files, mut highest_other) = (Vec::new(), (0, String::new()));
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").flatten() {
        let number: i32 = entry.file_name().to_string_lossy().parse().expect("a number");
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let Ok(about) = fs::metadata(entry.path()) else { continue };
        let name = target.display().to_string();
        let is_node =
            about.file_type().is_char_device() || Path::new(&name).parent().is_some_and(|above| above.ends_with("dev"));
        if name.starts_with('/') && !is_node {
            files.push((number, name));
        } else {
            highest_other = highest_other.max((number, name));
        }
    }
    for (number, name) in &files {
        assert!(*number > highest_other.0, "{name} is descriptor {number} of process {pid}, below {highest_other:?}");
    }
    files.into_iter().map(|(_, name)| name).collect()
}

/// A plugin for a filesystem of its own that writes down, in a file, when it is frozen.
fn compiled(stage: &Stage, diary: &Path) -> Vec<u8> {
    let (source, library) = (stage.scratch("diary.c"), stage.scratch("diary.so"));
    fs::write(&source, DIARY.replace("@DIARY@", &diary.display().to_string())).expect("a file");
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/api/include");
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg("-I").arg(header).arg(&source).status();
    assert!(status.expect("a C compiler").success());
    fs::read(library).expect("the plugin")
}

const DIARY: &str = r#"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "hv_vss_plugin.h"

static int32_t
diary_open(const struct hv_vss_opening *opening, void **plugin, char *reason, size_t size)
{
	(void)opening; (void)reason; (void)size;
	*plugin = NULL;
	return (HV_VSS_DONE);
}

static int32_t
diary_claim(void *plugin, const struct hv_vss_step *step, const struct hv_vss_mount *mount, char *reason, size_t size)
{
	(void)plugin; (void)step; (void)reason; (void)size;
	return (strcmp(mount->fstype, "diaryfs") == 0 ? HV_VSS_CLAIM_FREEZE : HV_VSS_CLAIM_NOT_MINE);
}

static int32_t
diary_freeze(void *plugin, const struct hv_vss_step *step, char *reason, size_t size)
{
	int fd = open("@DIARY@", O_WRONLY | O_CREAT | O_APPEND, 0600);

	(void)plugin; (void)step; (void)reason; (void)size;
	if (fd == -1 || write(fd, "frozen\n", 7) != 7)
		return (HV_VSS_BROKEN);
	close(fd);
	return (HV_VSS_DONE);
}

static int32_t
diary_nothing(void *plugin, const struct hv_vss_step *step, char *reason, size_t size)
{
	(void)plugin; (void)step; (void)reason; (void)size;
	return (HV_VSS_DONE);
}

static void
diary_close(void *plugin)
{
	(void)plugin;
}

static const struct hv_vss_plugin table = {
	.size = sizeof(table),
	.abi = HV_VSS_PLUGIN_ABI,
	.roles = HV_VSS_ROLE_FILESYSTEM,
	.number = 50,
	.name = "diary",
	.version = "1.0",
	.description = "Writes while others stand still",
	.open = diary_open,
	.check = diary_nothing,
	.claim = diary_claim,
	.freeze = diary_freeze,
	.thaw = diary_nothing,
	.close = diary_close,
};

HV_VSS_EXPORT const struct hv_vss_plugin *
hv_vss_plugin_v1(void)
{
	return (&table);
}
"#;
