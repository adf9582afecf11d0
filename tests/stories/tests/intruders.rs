//! A user who is not root tries every way into a daemon that is, while it works: swap, rename, link, hard link, environment, library path, working
//! directory, umask, open descriptors; and whatever else lies in reach. Each way is first seen to be one: the payload works where root runs it.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Intruder, Signal, Stage, our_driver, wait_for};

/// Changes the configuration of a daemon that does not run yet.
#[track_caller]
fn configured(guest: &Guest, from: &str, to: &str) {
    let path = guest.stage().home().join("hv_vss.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "\"{from}\" is not in {text}");
    fs::write(&path, text.replace(from, to)).unwrap();
}

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, Permissions::from_mode(bits)).unwrap();
}

/// One link after the other in the place of `name`, as fast as a program can.
fn swapping_links(name: &Path, to: [&Path; 2]) -> String {
    let [first, second] = to.map(Path::display);
    let name = name.display();
    format!(
        "perl -e 'for (;;) {{ for my $to (\"{first}\", \"{second}\") {{ symlink($to, \"{name}.x\"); rename(\"{name}.x\", \"{name}\"); }} }}'"
    )
}

/// Cycle after cycle, whatever comes of them.
fn many_cycles(guest: &Guest) {
    for _ in 0..12 {
        for operation in [Check, Freeze, Thaw] {
            guest.answer_within(guest.host_sends(operation), std::time::Duration::from_secs(20)).expect("an answer");
        }
    }
}

/// A shared object that proves that it was loaded by root.
fn loaded_proof(intruder: &Intruder, file: &Path) {
    let payload = intruder.payload();
    let proof = payload.split_whitespace().nth(3).expect("the payload names it");
    let source = file.with_extension("c");
    let text = format!(
        "#include <fcntl.h>\n__attribute__((constructor)) static void runs(void) {{ (void)!open(\"{proof}\", O_CREAT | O_WRONLY, 0600); }}\n"
    );
    fs::write(&source, text).unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(file).arg(&source).status();
    assert!(made.expect("a C compiler, as cc").success());
}

our_driver! {
    fn swap_a_hook_directory_that_changes_all_the_time_runs_nobody_elses_script(stage: Stage) {
        let stage = stage.disk("data").hook("50-app", "");
        let mut intruder = Intruder::on(&stage);
        let evil = intruder.prepares("evil/50-app");
        let mut guest = stage.without_a_daemon();
        let (hooks, link) = (guest.stage().home().join("hooks.d"), intruder.home().join("hooks.d"));
        let directory = |path: &Path| format!("directory = \"{}\"", path.display());
        configured(&guest, &directory(&hooks), &directory(&link));
        symlink(&hooks, &link).unwrap();
        intruder.keeps_at_it(&swapping_links(&link, [&hooks, evil.parent().unwrap()]));
        guest.daemon_starts();
        many_cycles(&guest);
        intruder.got_nothing_run();
        guest.runs();
    }

    fn swap_a_plugin_directory_that_changes_all_the_time_loads_nobody_elses_code(stage: Stage) {
        let stage = stage.disk("data");
        let mut intruder = Intruder::on(&stage);
        let evil = intruder.prepares("evil/ufs.so");
        loaded_proof(&intruder, &evil);
        let mut guest = stage.without_a_daemon();
        let (plugins, link) = (guest.stage().home().join("plugins"), intruder.home().join("plugins"));
        configured(&guest, &format!("plugins = \"{}\"", plugins.display()), &format!("plugins = \"{}\"", link.display()));
        symlink(&plugins, &link).unwrap();
        intruder.keeps_at_it(&swapping_links(&link, [&plugins, evil.parent().unwrap()]));
        guest.daemon_starts();
        many_cycles(&guest);
        intruder.got_nothing_run();
        guest.runs();
    }

    fn a_payload_works_where_root_put_it_so_that_the_other_stories_mean_something(stage: Stage) {
        let stage = stage.disk("data");
        let intruder = Intruder::on(&stage);
        let payload = intruder.payload();
        let guest = stage.file_in_hooks_d("50-app", &payload, 0o755).start();
        guest.host_may(Freeze);
        intruder.got_it_run();
        guest.host_may(Thaw);
        let library = guest.stage().home().join("plugins/vendor.so");
        loaded_proof(&intruder, &library);
        intruder.got_it_run();
        guest.host_may_not(Check);
        intruder.got_it_run();
    }

    fn rename_a_directory_above_the_hooks_that_is_somebody_elses_is_refused(stage: Stage) {
        let stage = stage.disk("data");
        let mut intruder = Intruder::on(&stage);
        intruder.prepares("evil/hooks.d/50-app");
        // Root's own directory with root's own script in it, but whoever has the directory above can put another in its place.
        let site = intruder.home().join("site");
        fs::create_dir_all(site.join("hooks.d")).unwrap();
        fs::write(site.join("hooks.d/50-app"), "#!/bin/sh\n").unwrap();
        mode(&site.join("hooks.d/50-app"), 0o755);
        let mut guest = stage.without_a_daemon();
        let hooks = guest.stage().home().join("hooks.d");
        configured(&guest, &hooks.display().to_string(), &site.join("hooks.d").display().to_string());
        guest.daemon_starts();
        guest.host_may_not(Check);
        guest.daemon().says(&["intruder", "belongs to uid 65534"]);
        let home = intruder.home().display().to_string();
        intruder.keeps_at_it(&format!(
            "perl -e 'chdir \"{home}\"; for (;;) {{ rename(\"site\", \"aside\"); rename(\"evil\", \"site\"); rename(\"site\", \"evil\"); rename(\"aside\", \"site\"); }}'"
        ));
        many_cycles(&guest);
        intruder.got_nothing_run();
        guest.runs();
    }

    fn link_a_hook_that_leads_to_somebody_elses_file_is_refused(stage: Stage) {
        let stage = stage.disk("data");
        let intruder = Intruder::on(&stage);
        let payload = intruder.prepares("tool");
        // An administrator's mistake.
        symlink(&payload, stage.home().join("hooks.d/50-app")).unwrap();
        let guest = stage.start();
        guest.host_may_not(Check);
        guest.host_may_not(Freeze);
        guest.daemon().says(&["50-app", "leads to", "put the file itself there"]);
        intruder.got_nothing_run();
        guest.runs();
    }

    fn hard_link_in_a_directory_that_all_may_write_to_nothing_is_run(stage: Stage) {
        let stage = stage.disk("data").hook("50-app", "");
        let intruder = Intruder::on(&stage);
        let payload = intruder.prepares("tool");
        let hooks = stage.home().join("hooks.d");
        mode(&hooks, 0o1777);
        let (done, said) = intruder.tries(&format!("ln {} {}/60-own", payload.display(), hooks.display()));
        assert!(done, "{said}");
        let guest = stage.start();
        guest.host_may_not(Check);
        guest.host_may_not(Freeze);
        guest.daemon().says(&["60-own", "belongs to uid 65534"]);
        guest.daemon().says(&["hooks.d", "written to", "chmod go-w"]);
        intruder.got_nothing_run();
        guest.scripts_ran([]);
    }

    fn environment_of_whoever_starts_the_daemon_reaches_nothing_that_it_starts(stage: Stage) {
        let stage = stage.disk("data").hook("50-app", "env >> \"$(dirname \"$0\")/../seen\"; ls > /dev/null; exit 0");
        let intruder = Intruder::on(&stage);
        for tool in ["env", "ls", "dirname", "sh", "sync"] {
            intruder.prepares(&format!("bin/{tool}"));
        }
        intruder.prepares("lib/libnone.so");
        let mut guest = stage.without_a_daemon();
        let flush = guest.stage().home().join("flush");
        fs::write(&flush, "#!/bin/sh\n/usr/bin/env >> \"${0%/*}/seen\"\n").unwrap();
        mode(&flush, 0o755);
        configured(&guest, "\nflush = \"", "\nflush = \"/nowhere\" # \"");
        configured(&guest, "\"/nowhere\"", &format!("\"{}\"", flush.display()));
        let home = intruder.home().display().to_string();
        guest.daemon_is_started_by(&format!(
            "export PATH={home}/bin:$PATH LD_LIBRARY_PATH={home}/lib ENV={home}/bin/sh BASH_ENV={home}/bin/sh HOME={home} TMPDIR={home} IFS=/ LC_ALL={home} TZ=:{home}/bin/sh; exec \"$@\""
        ));
        guest.daemon_gets_ready();
        let daemon = fs::read_to_string(format!("/proc/{}/environ", guest.daemon().pid())).unwrap();
        assert!(daemon.contains("LD_LIBRARY_PATH="), "the daemon was given it indeed");
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        for plugin in ["ufs.so", "zfs_veto.so", "exec_hook.so"] {
            let given = fs::read_to_string(format!("/proc/{}/environ", guest.worker_of(plugin))).unwrap();
            assert_eq!(given, "PATH=/sbin:/bin:/usr/sbin:/usr/bin\0", "{plugin}");
        }
        let seen = fs::read_to_string(guest.stage().home().join("seen")).unwrap();
        assert!(seen.contains("HV_VSS_PHASE=freeze") && seen.contains("HV_VSS_PHASE=thaw"), "{seen}");
        for trace in ["intruder", "LD_", "ENV=/", "LC_ALL", "TZ="] {
            assert!(!seen.lines().any(|line| line.contains(trace) && !line.starts_with("PWD=")), "{trace}: {seen}");
        }
        intruder.got_nothing_run();
    }

    fn library_path_of_a_plugin_that_leads_to_somebody_else_is_not_followed(stage: Stage) {
        let stage = stage.disk("data");
        let intruder = Intruder::on(&stage);
        let library = intruder.prepares("lib/libbrought.so");
        loaded_proof(&intruder, &library);
        let vendor = stage.home().join("plugins/vendor.so");
        // As it comes out of a build in somebody's home.
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-xc", "/dev/null", "-xnone", "-Wl,--no-as-needed", "-lbrought"])
            .arg(format!("-L{}", library.parent().unwrap().display()))
            .arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()))
            .arg("-o")
            .arg(&vendor)
            .status();
        assert!(made.expect("a C compiler, as cc").success());
        let guest = stage.start();
        guest.host_may_not(Check);
        guest.daemon().says(&["vendor.so", "intruder/lib", "belongs to uid 65534"]);
        intruder.got_nothing_run();
    }

    fn working_directory_of_whoever_starts_the_daemon_is_nobodys(stage: Stage) {
        let stage = stage.disk("data").hook("50-app", "pwd > \"${0%/*}/../seen\"");
        let intruder = Intruder::on(&stage);
        let mut guest = stage.without_a_daemon();
        fs::copy(guest.stage().home().join("hv_vss.toml"), intruder.home().join("hv_vss.toml")).unwrap();
        intruder.is_given(&intruder.home().join("hv_vss.toml"));
        let home = intruder.home().display().to_string();
        guest.daemon_is_started_by(&format!("cd {home} && exec \"$1\" -n --log stderr --config hv_vss.toml"));
        assert_ne!(guest.daemon_ends(), Some(0));
        guest.daemon().says(&["the configuration is not used", "hv_vss.toml", "belongs to uid 65534"]);
        guest.daemon_is_started_by(&format!("cd {home} && exec \"$@\""));
        guest.daemon_gets_ready();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        assert_eq!(fs::read_to_string(guest.stage().home().join("seen")).unwrap(), "/\n");
        let hosts = guest.children_of_the_daemon().into_iter().map(|(pid, _)| pid);
        for pid in hosts.chain([guest.daemon().pid()]) {
            assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
        }
    }

    fn umask_of_whoever_starts_the_daemon_opens_nothing_to_others(stage: Stage) {
        let stage = stage.disk("data").hook("50-app", "");
        let textfile = stage.home().join("run/metrics.prom");
        let intruder = Intruder::on(&stage);
        let mut guest =
            stage.configured(&format!("[metrics]\ntextfile = \"{}\"", textfile.display())).without_a_daemon();
        let home = guest.stage().home().to_owned();
        fs::remove_dir(home.join("state")).unwrap();
        guest.daemon_is_started_by("umask 0; exec \"$@\"");
        guest.daemon_gets_ready();
        guest.host_may(Freeze);
        let owed = home.join("state/owed-exec_hook.json");
        assert!(owed.exists());
        let made = ["run/pid", "run/hv_vss.sock", "state", "state/owed-exec_hook.json"];
        for name in made {
            let bits = fs::metadata(home.join(name)).unwrap().mode() & 0o777;
            assert_eq!(bits & 0o077, 0, "{name} has mode {bits:04o}");
        }
        guest.host_may(Thaw);
        guest.host_may(Check);
        // They are written beside the next request.
        let history = home.join("state/history.jsonl");
        wait_for("the metrics and the history", || textfile.exists() && history.exists());
        // Read by others, and written by root alone.
        assert_eq!(fs::metadata(&textfile).unwrap().mode() & 0o777, 0o644);
        assert_eq!(fs::metadata(&history).unwrap().mode() & 0o777, 0o600);
        intruder.can_not(&[format!("echo x >> {}", textfile.display())]);
    }

    fn while_it_works_nothing_of_the_daemon_can_be_read_written_replaced_or_signalled(stage: Stage) {
        let stage = stage.disk("data").hook("50-app", "");
        let intruder = Intruder::on(&stage);
        let payload = intruder.prepares("tool").display().to_string();
        let mut guest = stage.without_a_daemon();
        let home = guest.stage().home().display().to_string();
        guest.daemon_is_started_by("umask 0; exec \"$@\"");
        guest.daemon_gets_ready();
        let (daemon, host) = (guest.daemon().pid(), guest.worker_of("ufs.so"));
        let ways = [
            format!("cat {payload} > {home}/hooks.d/50-app"),
            format!("mv {home}/hooks.d/50-app {home}/hooks.d/49-app"),
            format!("ln -sf {payload} {home}/hooks.d/50-app"),
            format!("ln {payload} {home}/hooks.d/60-own"),
            format!("rm -f {home}/plugins/ufs.so"),
            format!("cp {payload} {home}/plugins/other.so"),
            format!("mv {home}/hooks.d {home}/old"),
            format!(": >> {home}/hv_vss.toml"),
            format!("cp {payload} {home}/hv_vss_worker"),
            format!("ls {home}/../vault"),
            format!("cat {home}/run/pid"),
            format!("flock -n {home}/run/pid true"),
            format!("rm -f {home}/run/hv_vss.sock"),
            format!("perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un(\"{home}/run/hv_vss.sock\")) or die $!'"),
            format!("kill -TERM {daemon}"),
            format!("kill -USR1 {daemon}"),
            format!("kill -STOP {host}"),
            format!("cat /proc/{daemon}/environ"),
            format!("cat /proc/{host}/mem"),
            format!("ls /proc/{daemon}/fd/"),
            format!("ls {home}/dev/"),
        ];
        intruder.can_not(&ways);
        guest.host_may(Check);
        guest.host_may(Freeze);
        intruder.can_not(&ways);
        guest.is_frozen();
        guest.host_may(Thaw);
        intruder.can_not(&ways);
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        intruder.got_nothing_run();
    }

    fn open_descriptors_of_whoever_starts_the_daemon_are_closed_and_none_of_its_own_reaches_a_hook_of_another_user(stage: Stage) {
        let look = "id -u; ls /proc/self/fd | tr '\\n' ' '; for way in \"/proc/$PPID/mem\" \"/proc/$PPID/fd/3\" \"/proc/$PPID/environ\"; do \
                    cat $way && echo REACHED; done; kill -9 $PPID && echo REACHED; exit 0";
        let stage = stage.disk("data").file_in_hooks_d("50-app.pre-freeze", &format!("#!/bin/sh\n{look}\n"), 0o755);
        let intruder = Intruder::on(&stage);
        let stage = stage.exec_hook("[plugin.exec_hook.hook.\"50-app.pre-freeze\"]\nuser = \"nobody\"");
        let mut guest = stage.without_a_daemon();
        let theirs = intruder.prepares("kept");
        guest.daemon_is_started_by(&format!("exec 7<>{0} 8<>{0}; exec \"$@\"", theirs.display()));
        guest.daemon_gets_ready();
        let fds = |pid: i32| -> Vec<PathBuf> {
            let list = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
            list.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect()
        };
        let hosts = guest.children_of_the_daemon().into_iter().map(|(pid, _)| pid);
        for pid in hosts.chain([guest.daemon().pid()]) {
            assert!(!fds(pid).contains(&theirs), "{pid} still has it: {:?}", fds(pid));
        }
        guest.host_may(Freeze);
        guest.daemon().says(&["50-app.pre-freeze", ": 65534"]);
        // ls has one more for the directory that it lists.
        guest.daemon().says(&["50-app.pre-freeze", "0 1 2 3"]);
        assert!(!guest.daemon().log().iter().any(|line| line.contains("REACHED")), "{:?}", guest.daemon().log());
        guest.is_frozen();
        guest.host_may(Thaw);
    }

    fn signals_that_the_daemon_was_started_with_blocked_or_ignored_reach_it_all_the_same(stage: Stage) {
        let mut guest = stage.disk("data").without_a_daemon();
        for how in ["--block-signal=TERM,USR1,CHLD", "--ignore-signal=TERM,USR1,CHLD,ALRM"] {
            guest.daemon_is_started_by(&format!("exec env {how} \"$@\""));
            guest.daemon_gets_ready();
            guest.host_may(Freeze);
            guest.is_frozen();
            guest.daemon().signal(Signal::SIGUSR1);
            guest.runs();
            guest.daemon().signal(Signal::SIGTERM);
            assert_eq!(guest.daemon_ends(), Some(0), "{how}");
        }
    }
}
