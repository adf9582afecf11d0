//! What is never run, and that somebody hears of it: each unsafe kind of file, one by one, and all of them in one sentence.

mod stage;

use std::fs;
use std::os::unix::fs::{chown, symlink};

use exec_hook::{Verdict, survey};
use hv_vss_wire::{Answer, Level};
use stage::{Ended, Stage, done, mode, refusal};

const NOBODY: u32 = 65534;

/// Check and freeze both refuse with these words, and nothing is run.
#[track_caller]
fn refuses(stage: &mut Stage, words: &str) {
    for reason in [refusal(stage.check()), refusal(stage.freeze())] {
        assert!(reason.contains(words), "\"{words}\" is not in: {reason}");
    }
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&[]);
}

#[test]
fn a_script_of_somebody_elses_is_refused() {
    let Some(mut stage) = Stage::new() else { return };
    let file = stage.hook("10-theirs", "");
    chown(&file, Some(NOBODY), None).unwrap();
    stage.open();
    refuses(&mut stage, "10-theirs is refused: ");
    refuses(&mut stage, "belongs to uid 65534, not to root: chown root ");
}

#[test]
fn a_script_that_others_may_write_to_is_refused() {
    let Some(mut stage) = Stage::new() else { return };
    let file = stage.hook("10-open", "");
    stage.open();
    mode(&file, 0o775);
    refuses(&mut stage, "may be written to by its group (mode 0775): chmod go-w ");
    mode(&file, 0o757);
    refuses(&mut stage, "may be written to by others (mode 0757): chmod go-w ");
}

#[test]
fn a_script_in_a_directory_that_others_may_write_to_is_refused() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-ok", "");
    stage.open();
    for (directory, bits) in [(stage.hooks(), 0o777), (stage.hooks(), 0o1777), (stage.ground.clone(), 0o775)] {
        mode(&directory, bits);
        refuses(&mut stage, &format!("{} may be written to by ", directory.display()));
        mode(&directory, 0o755);
    }
    chown(stage.hooks(), Some(NOBODY), None).unwrap();
    refuses(&mut stage, "belongs to uid 65534");
}

#[test]
fn a_link_out_of_the_directory_is_refused_and_one_within_it_is_not() {
    let Some(mut stage) = Stage::new() else { return };
    stage.open();
    let outside = stage.path("outside");
    fs::write(&outside, "#!/bin/sh\n").unwrap();
    mode(&outside, 0o755);
    symlink(&outside, stage.hooks().join("10-out")).unwrap();
    refuses(&mut stage, "out of ");
    fs::remove_file(stage.hooks().join("10-out")).unwrap();

    stage.hook("20-real", "");
    symlink("20-real", stage.hooks().join("10-link")).unwrap();
    assert_eq!(stage.freeze(), done());
    stage.the_scripts_did(&["20-real freeze", "20-real freeze"]);
}

#[test]
fn a_link_runs_under_its_own_name() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("20-real", "note ${0##*/}");
    symlink("20-real", stage.hooks().join("10-link")).unwrap();
    stage.open();
    assert_eq!(stage.freeze(), done());
    stage.the_scripts_did(&["20-real freeze", "10-link", "20-real freeze", "20-real"]);
}

#[test]
fn a_script_that_is_not_executable_is_refused() {
    let Some(mut stage) = Stage::new() else { return };
    let file = stage.hook("10-forgotten", "");
    mode(&file, 0o644);
    stage.open();
    refuses(&mut stage, "10-forgotten is not executable: chmod +x ");
}

#[test]
fn a_directory_a_dangling_link_and_a_name_that_does_not_fit_are_refused() {
    let Some(mut stage) = Stage::new() else { return };
    fs::create_dir(stage.hooks().join("10-directory")).unwrap();
    symlink("nowhere", stage.hooks().join("20-dangling")).unwrap();
    stage.hook("mysql.sh", "");
    stage.open();
    refuses(&mut stage, "10-directory is a directory: nothing but hooks may be here; move it elsewhere");
    refuses(&mut stage, "20-dangling is a link to nowhere, which is not there: remove the link");
    refuses(&mut stage, "mysql.sh is refused: its name is not of the form NN-name");
}

#[test]
fn all_reasons_are_given_not_the_first() {
    let Some(mut stage) = Stage::new() else { return };
    for name in ["10-a", "20-b", "30-c"] {
        mode(&stage.hook(name, ""), 0o644);
    }
    stage.hook("40-ok", "");
    stage.open();
    let reason = refusal(stage.check());
    assert!(reason.starts_with("3 hooks would not run: 10-a is refused: "), "{reason}");
    assert!(reason.contains("; 20-b is refused: ") && reason.contains("; 30-c is refused: "), "{reason}");
    assert!(!reason.contains("40-ok"), "{reason}");
}

#[test]
fn a_refused_hook_that_is_not_required_is_only_warned_of() {
    let Some(mut stage) = Stage::new() else { return };
    mode(&stage.hook("10-a", ""), 0o644);
    stage.hook("20-b", "");
    stage.open_with(&[("hook", serde_json::json!({ "10-a": { "required": false } }))]);
    assert_eq!(stage.freeze(), done());
    stage.logs(Level::Warn, "10-a is refused: ");
    stage.the_scripts_did(&["20-b freeze"]);
}

#[test]
fn what_editors_and_packages_leave_is_passed_over_without_a_word_above_debug() {
    let Some(mut stage) = Stage::new() else { return };
    for name in ["README", "README.md", ".swap", "10-a.sample", "10-a~", "10-a.bak", "10-a.dpkg-new", "10-a.pkgsave"] {
        let file = stage.hook(name, "");
        // Not even what would be refused otherwise.
        mode(&file, 0o666);
        chown(&file, Some(NOBODY), None).unwrap();
    }
    stage.hook("10-a", "");
    stage.open();
    assert_eq!(stage.check(), done());
    assert_eq!(stage.freeze(), done());
    stage.the_scripts_did(&["10-a freeze"]);
    assert_eq!(stage.logged(Level::Info), [""; 0]);
}

#[test]
fn a_script_that_is_spoilt_between_freeze_and_thaw_is_not_run() {
    let Some(mut stage) = Stage::new() else { return };
    let file = stage.hook("10-a", "");
    stage.hook("20-b", "");
    stage.open();
    assert_eq!(stage.freeze(), done());
    mode(&file, 0o777);
    let reason = refusal(stage.thaw());
    assert!(reason.starts_with("still owed: 10-a thaw did not run: "), "{reason}");
    assert!(reason.contains("chmod go-w "), "{reason}");
    stage.the_scripts_did(&["10-a freeze", "20-b freeze", "20-b thaw"]);
    // The remedy helps.
    mode(&file, 0o755);
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&["10-a thaw"]);
}

#[test]
fn a_script_that_is_removed_between_freeze_and_thaw_is_owed_until_it_is_back() {
    let Some(mut stage) = Stage::new() else { return };
    let file = stage.hook("10-a", "");
    stage.open();
    assert_eq!(stage.freeze(), done());
    fs::rename(&file, stage.path("away")).unwrap();
    let reason = refusal(stage.thaw());
    assert!(reason.contains("put it back, and it is run"), "{reason}");
    assert!(!stage.reported().contains(&"10-a thaw failed".to_owned()), "{:?}", stage.reported());
    fs::rename(stage.path("away"), &file).unwrap();
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&["10-a freeze", "10-a thaw"]);
}

#[test]
fn without_a_hook_directory_backups_go_on_with_one_warning() {
    let Some(mut stage) = Stage::new() else { return };
    fs::remove_dir(stage.hooks()).unwrap();
    stage.open();
    for _ in 0..3 {
        assert_eq!(stage.check(), done());
        assert_eq!(stage.freeze(), done());
        assert_eq!(stage.thaw(), done());
    }
    stage.logs(Level::Warn, "there is no hook directory ");
    assert_eq!(stage.logged(Level::Warn).len(), 1);
}

#[test]
fn a_file_in_the_directorys_place_is_a_clear_error() {
    let Some(mut stage) = Stage::new() else { return };
    fs::remove_dir(stage.hooks()).unwrap();
    fs::write(stage.hooks(), "").unwrap();
    stage.open();
    refuses(&mut stage, "can't be read: Not a directory (os error 20)");
}

#[test]
fn a_hook_that_the_configuration_names_must_be_there() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-mysql", "");
    stage.open_with(&[("hook", serde_json::json!({ "10-mysql.sh": { "user": "nobody" } }))]);
    refuses(&mut stage, "10-mysql.sh: the configuration names it, and ");
}

#[test]
fn a_mistyped_setting_is_refused_and_named() {
    let Some(mut stage) = Stage::new() else { return };
    match stage.try_open(&[("limt", "10s".into())]) {
        Ended::Answered(Answer::Refused { reason }) => {
            assert!(reason.starts_with("unknown setting limt: "), "{reason}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_survey_says_of_each_file_what_will_become_of_it() {
    let Some(stage) = Stage::new() else { return };
    stage.hook("10-a", "");
    stage.hook("20-b.post-thaw", "");
    stage.hook("README", "");
    mode(&stage.hook("30-c", ""), 0o644);
    let said: Vec<String> = survey(&stage.hooks())
        .unwrap()
        .into_iter()
        .map(|file| match file.verdict {
            Verdict::Runs { phases, .. } => format!("{} runs {phases:?}", file.name),
            Verdict::Refused(why) => format!("{} refused: {}", file.name, why.split(": ").next().unwrap_or_default()),
            Verdict::Skipped(why) => format!("{} skipped: {why}", file.name),
        })
        .collect();
    let not_executable = format!("30-c refused: {} is not executable", stage.hooks().join("30-c").display());
    assert_eq!(
        said,
        [
            "10-a runs [Freeze, Thaw]",
            "20-b.post-thaw runs [Thaw]",
            &not_executable,
            "README skipped: a README is never run",
        ]
    );
    assert!(survey(&stage.path("nowhere")).unwrap_err().is_missing());
}
