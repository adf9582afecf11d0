//! Bad input: each a clear sentence, nothing left frozen, and where the daemon can go on, it goes on.

use std::fs;
use std::time::Duration;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Stage, both_drivers, line, our_driver};

our_driver! {
    fn a_missing_node_is_named_and_ends_the_daemon(stage: Stage) {
        let mut guest = stage.disk("data").without_writers().without_a_daemon();
        let configuration = guest.stage().home().join("hv_vss.toml");
        let text = fs::read_to_string(&configuration).unwrap();
        fs::write(&configuration, text.replace("hv_fsvss_dev", "hv_novss_dev")).unwrap();
        guest.daemon_is_started([]);
        assert_ne!(guest.daemon_ends(), Some(0));
        guest.daemon().says(&["hv_novss_dev"]);
    }

    fn a_second_daemon_is_told_so_and_ends_and_the_first_goes_on(stage: Stage) {
        let guest = stage.disk("data").start();
        let mut second = std::process::Command::new(guest.stage().daemon_program());
        let configuration = guest.stage().home().join("hv_vss.toml");
        let output = second.args(["-n", "--log", "stderr", "--config"]).arg(configuration).output().unwrap();
        assert_ne!(output.status.code(), Some(0));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("pid") && said.contains(&guest.daemon().pid().to_string()), "{said}");
        guest.host_may(Check);
    }

    fn a_configuration_with_a_typo_is_refused_with_file_line_and_key(stage: Stage) {
        let mut guest = stage.disk("data").configured("[tiem]\nlimit = \"3s\"").without_writers().without_a_daemon();
        guest.daemon_is_started([]);
        assert_ne!(guest.daemon_ends(), Some(0));
        guest.daemon().says(&["hv_vss.toml"]);
        guest.daemon().says(&["tiem"]);
    }

    fn a_plugins_configuration_with_a_typo_fails_the_check_by_name(stage: Stage) {
        let guest = stage.disk("data").exec_hook("directry = \"/nowhere\"").start();
        guest.host_may_not(Check);
        guest.daemon().says(&["exec_hook", "directry"]);
        guest.runs();
    }

    fn a_configured_plugin_that_is_not_there_is_named_and_disabled_by_a_line(stage: Stage) {
        let driver = stage.driver();
        let guest = stage.disk("data").configured("[plugin.exechook]\ndirectory = \"/site/hooks.d\"").start();
        guest.host_may_not(Check);
        guest.host_may_not(Freeze);
        guest.daemon().says(&["[plugin.exechook]", "no exechook.so", "correct the name"]);
        guest.runs();
        drop(guest);
        let Some(stage) = Stage::take(driver) else { return };
        let guest = stage.disk("data").configured("[plugin.exechook]\nenabled = false").start();
        guest.host_may(Check);
    }

    fn a_plugin_that_is_none_is_named_and_disabled_by_a_line(stage: Stage) {
        let driver = stage.driver();
        let guest = stage.disk("data").file_in_plugins("vendor.so", b"only text").start();
        let log = guest.daemon().log();
        let told = |words: &str| log.iter().filter(|line| line.contains(words)).count();
        assert_eq!((told("vendor.so"), told("are missing: vendor")), (1, 1), "why, and what follows, once each: {log:#?}");
        guest.host_may_not(Check);
        guest.daemon().says(&["vendor.so"]);
        drop(guest);
        let Some(stage) = Stage::take(driver) else { return };
        let stage = stage.disk("data").file_in_plugins("vendor.so", b"only text");
        let guest = stage.configured("[plugin.vendor]\nenabled = false").start();
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
    }

    fn a_plugin_that_others_may_write_to_is_not_loaded(stage: Stage) {
        let stage = stage.disk("data");
        let plugin = stage.home().join("plugins/ufs.so");
        fs::set_permissions(plugin, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let guest = stage.start();
        guest.host_may_not(Check);
        guest.host_may_not(Freeze);
        guest.daemon().says(&["ufs.so", "written to", "chmod go-w"]);
        guest.runs();
    }

    fn a_hooks_d_that_is_not_there_is_named_and_backups_go_on(stage: Stage) {
        let stage = stage.disk("data");
        fs::remove_dir(stage.home().join("hooks.d")).unwrap();
        let guest = stage.start();
        guest.host_may(Check);
        guest.daemon().says(&["WARN", "hooks.d", "directory"]);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }

    fn a_missing_suspend_device_is_named_and_nothing_stays_frozen(stage: Stage) {
        let guest = stage.with_ufssuspend().disk("data").hook("50-app", "").without_a_daemon();
        let configuration = guest.stage().home().join("hv_vss.toml");
        let text = fs::read_to_string(&configuration).unwrap();
        fs::write(&configuration, text.replace("ufssuspend", "nosuspend")).unwrap();
        let mut guest = guest;
        guest.daemon_starts();
        guest.host_may_not(Freeze);
        guest.daemon().says(&["nosuspend"]);
        guest.runs();
    }
}

both_drivers! {
    fn a_mount_table_that_cannot_be_read_fails_the_check_and_the_daemon_goes_on(stage: Stage) {
        let guest = stage.disk("data").start();
        let table = guest.stage().scratch("mounts");
        let good = fs::read_to_string(&table).unwrap();
        fs::write(&table, format!("{good}not json\n")).unwrap();
        guest.host_may_not(Check);
        guest.host_may_not(Freeze);
        guest.daemon().says(&["mounts", "2"]);
        fs::write(&table, good).unwrap();
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.runs();
    }

    fn a_filesystem_that_appears_while_freezing_fails_the_freeze(stage: Stage) {
        let mut guest = stage.disk("data").hook("50-app", "[ $phase = freeze ] && sleep 0.5; exit 0").start();
        let sent = guest.host_sends(Freeze);
        guest.script_starts("50-app freeze");
        guest.table_changes(|table| table.push(line("zfs", "/new")));
        let answered = guest.fails(sent);
        assert!(answered.took > Duration::from_millis(400), "the last look came after the freeze: {:?}", answered.took);
        guest.daemon().says(&["/new"]);
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    }

    fn a_filesystem_that_becomes_writable_while_freezing_fails_the_freeze(stage: Stage) {
        let mut read_only = line("ufs", "/archive");
        read_only.read_only = true;
        let mut guest = stage.disk("data").mounted(read_only).hook("50-app", "[ $phase = freeze ] && sleep 0.5; exit 0").start();
        guest.host_may(Check);
        let sent = guest.host_sends(Freeze);
        guest.script_starts("50-app freeze");
        guest.table_changes(|table| table[1].read_only = false);
        guest.fails(sent);
        guest.daemon().says(&["/archive"]);
        guest.runs();
    }

    fn a_swap_file_on_what_would_be_frozen_is_a_veto(stage: Stage) {
        let guest = stage.disk("data").table(|table| table[0].swap = Some("/data/swap0".to_owned())).start();
        guest.host_may_not(Check);
        guest.host_may_not(Freeze);
        guest.daemon().says(&["/data/swap0"]);
        guest.runs();
    }
}
