//! What went wrong before us (docs/predecessor-bugs.md), row by row: each made to happen, and seen not to hurt.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Fault, Guest, LIMIT, Moment, Signal, Stage, both_drivers, ic, line};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// The nodes of the machine that this process has open.
fn nodes_that_are_open(guest: &Guest, pid: i32) -> Vec<String> {
    let nodes = guest.stage().application_node();
    let directory = nodes.parent().expect("the nodes lie in a directory");
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is there").flatten();
    let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| target.starts_with(directory)).map(|target| target.display().to_string()).collect()
}

/// The kernel believes no daemon to be there, and a new one is served.
#[track_caller]
fn another_daemon_finds_the_node_free(guest: &mut Guest) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while guest.host().state().expect("the machine is there").driver.daemon_open {
        assert!(Instant::now() < deadline, "the dead daemon is still registered");
        std::thread::sleep(MS(5));
    }
    guest.daemon_starts();
    guest.host_may(Check);
}

/// What an administrator asks, and the exit status.
fn vssctl(guest: &Guest, question: &str) -> (Option<i32>, String) {
    let mut command = Command::new(guest.stage().daemon_program().with_file_name("vssctl"));
    command.arg("--socket").arg(guest.stage().home().join("run/hv_vss.sock")).arg(question);
    let output = command.output().expect("vssctl is built with the daemon");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text.split_whitespace().collect::<Vec<_>>().join(" "))
}

both_drivers! {
    /// Row 1.
    fn with_several_filesystems_every_one_of_them_is_frozen(stage: Stage) {
        let guest = stage.disk("one").disk("two").disk("three").start();
        let frozen = guest.host_may(Freeze);
        guest.is_frozen();
        assert_eq!(guest.host().state().unwrap().suspended.len(), 3);
        let until = hv_vss_platform::clock::now();
        guest.host_may(Thaw);
        guest.stood_still_between(&frozen, until);
        guest.runs();
    }

    /// Row 2: the simulated kernel refuses a caller with threads or with a disk file open.
    fn the_suspending_process_has_one_thread_and_no_descriptor_of_a_disk_file(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        guest.host_may(Freeze);
        let state = guest.host().state().unwrap();
        assert_eq!(state.refusals, Vec::<String>::new());
        let holder = guest.worker_of("ufs.so");
        assert_eq!(i32::try_from(state.suspended[0].pid).unwrap(), holder);
        assert_eq!(fs::read_dir(format!("/proc/{holder}/task")).unwrap().count(), 1);
        guest.host_may(Thaw);
    }

    /// Row 3.
    fn a_later_success_does_not_hide_an_earlier_refusal_and_what_was_frozen_is_thawed(stage: Stage) {
        let guest = stage.disk("one").disk("two").disk("three").start();
        // Frozen in reverse mount order: three, two, one. The last refuses.
        guest.goes_wrong("one", Moment::Suspend, Fault::Errno(5));
        guest.host_may_not(Freeze);
        guest.runs();
        assert_eq!(guest.frozen_in_order(), ["three", "two"]);
        assert_eq!(guest.thawed_in_order(), ["three", "two"]);
        // And a refusal in the middle is not made good by the one after it.
        guest.goes_right("one", Moment::Suspend);
        guest.goes_wrong("two", Moment::Suspend, Fault::Errno(5));
        guest.host_may_not(Freeze);
        guest.runs();
    }

    /// Row 4.
    fn a_second_freeze_is_refused_and_the_first_can_still_be_thawed(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.host_may(Freeze);
        guest.host_may_not(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }

    /// Row 5.
    fn a_freeze_that_takes_longer_than_the_driver_waits_is_rolled_back_before_it_gives_up(stage: Stage) {
        let guest = stage.disk("one").disk("two").start();
        guest.goes_wrong("one", Moment::Suspend, Fault::Hang);
        let answered = guest.host_may_not(Freeze);
        assert!(answered.took < LIMIT - MS(100), "by ourselves, not by the driver: {:?}", answered.took);
        // Now the kernel comes back from its hang, into a cycle that is over.
        guest.goes_right("one", Moment::Suspend);
        guest.runs();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }

    /// Row 6, and row 9: no request comes that could bring the thaw hooks along.
    fn a_host_that_never_thaws_is_not_waited_for(stage: Stage) {
        let guest = stage.disk("data").disk("more").time("max_frozen", "600ms").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw expired"]);
        guest.host_may_not(Thaw);
    }

    /// Row 7.
    fn the_filesystem_that_holds_the_daemon_and_all_its_files_can_be_frozen(stage: Stage) {
        let guest = stage.disk("data").disk("root").hook("50-app", "").installed_on("root").start();
        for _ in 0..2 {
            guest.host_may(Check);
            guest.host_may(Freeze);
            guest.is_frozen();
            guest.host_may_not(Check);
            guest.host_may(Thaw);
            guest.runs();
        }
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.daemon().signal(Signal::SIGUSR1);
        guest.runs();
    }

    /// Row 8, without the application library.
    fn a_hook_whose_freeze_ran_gets_its_thaw_when_a_filesystem_then_refuses(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        guest.goes_wrong("data", Moment::Suspend, Fault::Errno(5));
        guest.host_may_not(Freeze);
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw aborted"]);
        guest.runs();
    }

    /// Row 9.
    fn thaw_hooks_run_as_soon_as_the_filesystems_are_released(stage: Stage) {
        let body = "[ $phase = thaw ] && echo \"$(cat ./written | wc -c)\" > ./thawed; exit 0";
        let data = stage.scratch("data");
        let guest = stage.disk("data").hook("50-app", &format!("cd {} && {{ {body}; }}", data.display())).start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        assert!(data.join("thawed").exists(), "it ran while the filesystem could be written to");
    }

    /// Row 10.
    fn a_failing_pre_freeze_script_fails_the_backup(stage: Stage) {
        let guest = stage.disk("data").hook("50-app.pre-freeze", "exit 3").start();
        guest.host_may_not(Freeze);
        guest.runs();
        guest.scripts_ran(["50-app.pre-freeze freeze"]);
    }

    /// Row 12.
    fn a_termination_while_frozen_thaws_runs_the_thaw_hooks_and_ends_well(stage: Stage) {
        let driver = stage.driver();
        drop(stage);
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let Some(stage) = Stage::take(driver) else { return };
            let mut guest = stage.disk("data").hook("50-app", "").start();
            guest.host_may(Freeze);
            guest.is_frozen();
            guest.daemon().signal(signal);
            assert_eq!(guest.daemon_ends(), Some(0));
            guest.scripts_ran(["50-app freeze", "50-app thaw"]);
            guest.runs();
        }
    }

    /// Row 13.
    fn a_script_that_hangs_is_killed_with_all_its_descendants(stage: Stage) {
        let pids = stage.scratch("pids");
        let body = format!(
            "[ $phase = freeze ] || exit 0\n(sleep 300 & echo $! > {0}.child; wait) & echo $$ > {0}.script; setsid sleep 301",
            pids.display()
        );
        let guest = stage.disk("data").exec_hook("limit = \"400ms\"").hook("50-app", &body).start();
        let answered = guest.host_may_not(Freeze);
        assert!(answered.took < MS(1500), "{:?}", answered.took);
        for who in ["script", "child"] {
            let pid = fs::read_to_string(pids.with_extension(who)).unwrap();
            guest.process_is_gone(pid.trim().parse().unwrap());
        }
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw aborted"]);
        guest.runs();
    }

    /// Row 14, as CHECK's sentence.
    fn a_check_names_every_file_in_hooks_d_that_will_not_run_and_why(stage: Stage) {
        let guest = stage
            .disk("data")
            .file_in_hooks_d("10-not-executable", "#!/bin/sh\n", 0o644)
            .file_in_hooks_d("20-writable", "#!/bin/sh\n", 0o757)
            .file_in_hooks_d("mysql.sh", "#!/bin/sh\n", 0o755)
            .file_in_hooks_d("README", "what this is", 0o644)
            .file_in_hooks_d("30-old.bak", "#!/bin/sh\n", 0o644)
            .start();
        guest.host_may_not(Check);
        guest.daemon().says(&["10-not-executable", "executable"]);
        guest.daemon().says(&["20-writable", "written to"]);
        guest.daemon().says(&["mysql.sh"]);
        let said = guest.daemon().log().join("\n");
        assert!(!said.contains("README") && !said.contains("30-old.bak"), "skipped quietly: {said}");
    }

    /// Row 15. What a script left in the background is reaped with the next call, whenever it ended: so one cycle's may be left, never two's.
    fn zombies_do_not_pile_up_over_many_cycles(stage: Stage) {
        let guest = stage.disk("data").hook("10-a", "sleep 0 & exit 0").hook("20-b", "").start();
        for _ in 0..6 {
            guest.host_may(Check);
            guest.host_may(Freeze);
            guest.host_may(Thaw);
        }
        guest.runs();
        assert!(guest.zombies().len() <= 2, "{:?}", guest.zombies());
        assert_eq!(guest.script_lines().len(), 24);
        let none_is_left = (0..50).any(|_| {
            guest.host_may(Check);
            guest.zombies().is_empty()
        });
        assert!(none_is_left, "a CHECK reaps them: {:?}", guest.zombies());
    }

    /// Row 16.
    fn a_duplicate_thaw_does_not_run_the_hooks_again(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").hook("60-note.post-thaw", "").start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.host_may(Thaw);
        guest.host_may(Thaw);
        guest.scripts_ran(["50-app freeze", "60-note.post-thaw thaw", "50-app thaw"]);
        guest.runs();
    }

    /// Row 17.
    fn what_keeps_nothing_on_a_disk_of_this_machine_vetoes_nothing(stage: Stage) {
        let mut read_only = line("cd9660", "/cdrom");
        read_only.read_only = true;
        let stage = stage.disk("data").mounted(read_only);
        let quiet = ["devfs", "procfs", "fdescfs", "linprocfs", "linsysfs", "mqueuefs", "autofs"];
        let stage = quiet.iter().fold(stage, |stage, fstype| stage.mounted(line(fstype, &format!("/mnt/{fstype}"))));
        let guest = stage.mounted(line("devfs", "/jail/dev")).start();
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
    }

    /// Row 17: the base daemon skips whatever begins with "/dev".
    fn a_filesystem_mounted_on_a_directory_whose_name_begins_with_dev_is_frozen_too(stage: Stage) {
        let guest = stage.disk("devel").mounted(line("devfs", "/dev")).start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
    }

    /// Row 17: and what does veto can be exempted by the lines that the sentence names.
    fn any_other_filesystem_vetoes_by_name_and_its_exemption_is_told(stage: Stage) {
        let driver = stage.driver();
        drop(stage);
        for fstype in ["tmpfs", "nullfs", "msdosfs", "nfs", "zfs"] {
            let Some(stage) = Stage::take(driver) else { return };
            let guest = stage.disk("data").mounted(line(fstype, "/some/where")).start();
            guest.host_may_not(Check);
            guest.daemon().says(&[fstype, "/some/where", "filesystems.exempt"]);
            drop(guest);

            let Some(stage) = Stage::take(driver) else { return };
            let exemption = format!("[[filesystems.exempt]]\ntype = \"{fstype}\"\nmount = \"/some/where\"\nreason = \"so\"");
            let guest = stage.disk("data").mounted(line(fstype, "/some/where")).configured(&exemption).start();
            guest.host_may(Check);
        }
    }

    /// Row 18.
    fn nested_and_image_backed_filesystems_are_frozen_and_thawed_inner_first(stage: Stage) {
        let guest = stage.disk("outer").disk_within("outer", "inner").disk_on_an_image_in("outer", "image").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
        assert_eq!(guest.frozen_in_order(), ["image", "inner", "outer"]);
        assert_eq!(guest.thawed_in_order(), ["image", "inner", "outer"]);
    }

    /// Row 18: mount order is not enough where the backing file was mounted later.
    fn a_backing_file_on_a_filesystem_that_was_mounted_later_is_still_frozen_last(stage: Stage) {
        let stage = stage.disk("holder").disk_on_an_image_in("holder", "image");
        let guest = stage.table(|table| table.reverse()).start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
        assert_eq!(guest.frozen_in_order(), ["image", "holder"]);
    }

    /// Row 19.
    fn a_filesystem_that_is_mounted_twice_is_frozen_once(stage: Stage) {
        let guest = stage
            .disk("data")
            .table(|table| {
                let mut again = table[0].clone();
                again.on = "/somewhere/else".to_owned();
                table.push(again);
            })
            .start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
        assert_eq!(guest.frozen_in_order(), ["data"]);
    }

    /// Row 20.
    fn the_reason_for_a_refusal_is_a_sentence_in_the_log(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "[ $phase = thaw ] || { echo no room >&2; exit 7; }").start();
        guest.host_may_not(Freeze);
        let sentence = "50-app freeze failed with exit status 7";
        guest.daemon().says(&["FREEZE answered FAIL", sentence, "output: no room"]);
        guest.daemon().says(&["cycle", " ended: ", sentence]);
        let (code, status) = vssctl(&guest, "status");
        assert!(status.contains(sentence) && status.contains("no room"), "{status}");
        assert_ne!(code, Some(0), "{status}");
        let (_, history) = vssctl(&guest, "history");
        assert!(history.contains(sentence), "{history}");
    }

    /// Row 22: the base's daemon for key-value pairs ends when its directory is there already. Ours was, in every story.
    fn a_file_in_the_place_of_the_state_directory_is_said_and_stops_no_backup(stage: Stage) {
        let state = stage.home().join("state");
        fs::remove_dir(&state).unwrap();
        fs::write(&state, "not a directory").unwrap();
        let mut guest = stage.disk("data").hook("50-app", "").start();
        guest.daemon().says(&["state", "is not a directory", "move it away"]);
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        guest.runs();

        fs::remove_file(&state).unwrap();
        for already_there in [false, true] {
            guest.daemon_is_killed();
            guest.daemon_starts();
            guest.host_may(Freeze);
            guest.host_may(Thaw);
            assert!(state.is_dir(), "made anew; there before: {already_there}");
            assert!(!guest.daemon().log().iter().any(|line| line.contains("directory")), "{:?}", guest.daemon().log());
        }
    }

    /// Row 23.
    fn a_plugin_that_crashes_while_frozen_is_one_failed_step_and_the_daemon_goes_on(stage: Stage) {
        let driver = stage.driver();
        drop(stage);
        for plugin in ["ufs.so", "exec_hook.so", "zfs_veto.so"] {
            let Some(stage) = Stage::take(driver) else { return };
            let guest = stage.disk("data").hook("50-app", "").start();
            let daemon = guest.daemon().pid();
            guest.host_may(Freeze);
            guest.worker_gets(plugin, Signal::SIGSEGV);
            guest.runs();
            guest.host_may_not(Thaw);
            guest.host_may(Check);
            guest.host_may(Freeze);
            guest.host_may(Thaw);
            assert_eq!(guest.daemon().pid(), daemon);
            guest.process_is_there(daemon);
        }
    }

    /// Row 24.
    fn all_reasons_are_told_at_once_not_only_the_first(stage: Stage) {
        let guest = stage
            .disk("data")
            .mounted(line("zfs", "/tank"))
            .mounted(line("msdosfs", "/boot/efi"))
            .file_in_hooks_d("10-not-executable", "#!/bin/sh\n", 0o644)
            .start();
        guest.host_may_not(Check);
        guest.daemon().says(&["/tank", "zfs"]);
        guest.daemon().says(&["/boot/efi", "msdosfs"]);
        guest.daemon().says(&["10-not-executable"]);
    }

    /// Row 25.
    fn a_state_directory_that_cannot_be_written_stops_no_backup_and_is_said_once(stage: Stage) {
        let state = stage.home().join("state");
        // A child mounts in this thread's own namespace; the mount goes with it.
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "ro,mode=0755", "tmpfs"]).arg(&state).status();
        assert!(mounted.expect("mount is there").success());
        let guest = stage.disk("data").hook("50-app", "").start();
        for _ in 0..3 {
            guest.host_may(Check);
            guest.host_may(Freeze);
            guest.host_may(Thaw);
        }
        guest.scripts_ran(["50-app freeze", "50-app thaw", "50-app freeze", "50-app thaw", "50-app freeze", "50-app thaw"]);
        guest.daemon().says(&["history.jsonl", "kept in memory"]);
        let warnings = guest.daemon().log().iter().filter(|line| line.contains("kept in memory")).count();
        assert_eq!(warnings, 1);
    }

    /// Row 26: the simulated kernel refuses a holder with a disk file, so a freeze that succeeded shows that there is none.
    fn a_killed_holder_of_a_suspension_lets_go(stage: Stage) {
        let guest = stage.disk("data").disk("root").installed_on("root").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        let holder = guest.worker_gets("ufs.so", Signal::SIGKILL);
        guest.runs();
        guest.process_is_gone(holder);
    }

    /// Row 26: and so is the daemon itself, with its pid file on what is frozen.
    fn a_killed_daemon_leaves_nothing_frozen(stage: Stage) {
        let mut guest = stage.disk("data").disk("root").hook("50-app", "").installed_on("root").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.daemon_is_killed();
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    }

    /// Row 28: a script's lingering child.
    fn a_scripts_lingering_child_does_not_keep_a_dead_daemon_registered(stage: Stage) {
        let pid = stage.scratch("lingering");
        let body = format!("[ $phase = freeze ] && {{ sleep 100 & echo $! > {}; }}; exit 0", pid.display());
        let mut guest = stage.disk("data").hook("50-app", &body).start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        let lingering = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        guest.process_is_there(lingering);
        assert_eq!(nodes_that_are_open(&guest, lingering), [""; 0]);
        guest.daemon_is_killed();
        guest.runs();
        another_daemon_finds_the_node_free(&mut guest);
        guest.process_is_there(lingering);
    }

    /// Row 28: the helper that flushes is no worker, which would close what it does not know. Only close-on-exec keeps the node from it.
    fn a_flush_that_hangs_does_not_keep_a_dead_daemon_registered(stage: Stage) {
        let pid = stage.scratch("flushing");
        let program = stage.home().join("hv_vss_flush");
        fs::write(&program, format!("#!/bin/sh\necho $$ >>{}\nexec sleep 100\n", pid.display())).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut guest = stage.disk("data").start();
        guest.host_may(Check);
        let hanging = || fs::read_to_string(&pid).unwrap_or_default().lines().find_map(|line| line.parse().ok());
        let deadline = Instant::now() + Duration::from_secs(5);
        while hanging().is_none() {
            assert!(Instant::now() < deadline, "a CHECK starts a flush");
            std::thread::sleep(MS(5));
        }
        let hanging: i32 = hanging().unwrap();
        assert_eq!(nodes_that_are_open(&guest, hanging), [""; 0]);
        guest.daemon_is_killed();
        guest.process_is_there(hanging);
        another_daemon_finds_the_node_free(&mut guest);
        guest.process_is_there(hanging);
    }

    /// The driver's raw answer, not only its status: every field is echoed.
    fn the_answer_is_the_request_echoed_with_flags_and_status(stage: Stage) {
        let guest = stage.disk("data").start();
        let request = ic::request(ic::HOT_BACKUP, 77);
        let sent = guest.host().send_raw(&request).unwrap();
        let answered = guest.succeeds(sent);
        let mut expected = request;
        expected[25] = 5;
        expected[36] = 5;
        assert_eq!(ic::to_hex(&answered.bytes), ic::to_hex(&expected));
    }
}
