//! The manuals: clean in mandoc's eyes, and true where a program can say so. (The configuration's manual is in `configuration.rs`.)
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::CommandFactory;
use hv_vss_daemon::program::Options;
use hv_vss_packaging::{run, source};
use hv_vss_testbed::needs;

fn manuals() -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(source("man")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.push(source("kmod/broker/hv_vss.4"));
    all.push(source("kmod/vfsfreeze/vfsfreeze.4"));
    all
}

fn text(name: &str) -> String {
    fs::read_to_string(source("man").join(name)).unwrap()
}

/// The arguments of every line with this macro.
fn lines_of(text: &str, request: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix(request)).map(str::to_owned).collect()
}

#[test]
fn mandoc_has_nothing_to_complain_about() {
    needs!(Mandoc);
    for manual in manuals() {
        let said = run(Command::new("mandoc").args(["-T", "lint", "-W", "style"]).arg(&manual)).said;
        // FreeBSD's own manuals, which these refer to, are not on a Linux machine.
        let complaints: Vec<_> = said
            .lines()
            .filter(|line| !line.contains("referenced manual not found") && !line.contains("outdated mandoc.db"))
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

#[test]
fn our_manuals_refer_only_to_manuals_of_ours_that_exist() {
    let have: BTreeSet<String> =
        manuals().iter().map(|manual| manual.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    for manual in manuals() {
        for reference in lines_of(&fs::read_to_string(&manual).unwrap(), ".Xr ") {
            let mut words = reference.split_whitespace();
            let (Some(name), Some(section)) = (words.next(), words.next()) else { panic!("{reference}") };
            let ours = name.starts_with("hv_vss") || name == "vssctl";
            assert!(!ours || have.contains(&format!("{name}.{section}")), "{}: {reference}", manual.display());
        }
    }
}

#[test]
fn the_daemons_options_are_the_manuals() {
    let mut command = Options::command();
    command.build();
    let programs: BTreeSet<String> = command
        .get_arguments()
        .flat_map(|argument| {
            let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
            let value = value.map(|names| format!(" {}", names[0])).unwrap_or_default();
            let short = argument.get_short().map(|short| format!("-{short}{value}"));
            let long = argument.get_long().map(|long| format!("--{long}{value}"));
            short.into_iter().chain(long).collect::<Vec<_>>()
        })
        .collect();

    let manual: BTreeSet<String> = lines_of(&text("hv_vss_daemon.8"), ".It Fl ")
        .iter()
        .flat_map(|item| {
            item.split(" , Fl ").map(|option| format!("-{}", option.replace(" Ar ", " "))).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(manual, programs);

    // The synopsis has them all, too.
    let synopsis = text("hv_vss_daemon.8");
    let short: BTreeSet<char> = lines_of(&synopsis, ".Op Fl ")[0].chars().collect();
    let of_program: BTreeSet<char> = command.get_arguments().filter_map(clap::Arg::get_short).collect();
    assert_eq!(short, of_program);
}

#[test]
fn the_words_of_the_log_option_are_the_manuals() {
    let mut command = Options::command();
    command.build();
    let log = command.get_arguments().find(|argument| argument.get_long() == Some("log")).unwrap();
    let words: Vec<_> = log.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    assert_eq!(words, ["syslog", "stderr"]);
    for word in words {
        assert!(lines_of(&text("hv_vss_daemon.8"), ".Cm ").iter().any(|line| line.starts_with(&word)), "{word}");
    }
}

#[test]
fn the_variables_of_hooks_are_the_manuals() {
    let program = fs::read_to_string(source("plugins/exec-hook/src/message.rs")).unwrap();
    let (_, list) = program.split_once("let variables = [").unwrap();
    let (list, _) = list.split_once("];").unwrap();
    let given: BTreeSet<_> = list
        .lines()
        .filter_map(|line| line.trim().strip_prefix('('))
        .map(|entry| entry.split(',').next().unwrap().trim_matches('"').replace("reaper::MARK", "HV_VSS_FAMILY"))
        .collect();
    let told: BTreeSet<_> = lines_of(&text("hv_vss_hooks.5"), ".It Ev ")
        .iter()
        .flat_map(|item| item.split(" , ").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(told, given);
    let mark = fs::read_to_string(source("platform/src/reaper/mod.rs")).unwrap();
    assert!(mark.contains("pub const MARK: &str = \"HV_VSS_FAMILY\";"));
}

#[test]
fn the_fields_on_a_hooks_standard_input_are_the_manuals() {
    let program = fs::read_to_string(source("plugins/exec-hook/src/message.rs")).unwrap();
    let (_, object) = program.split_once("let object = json!({").unwrap();
    let given: BTreeSet<_> = object
        .split_once("});")
        .unwrap()
        .0
        .lines()
        .filter_map(|line| line.split('"').nth(1))
        .map(str::to_owned)
        .collect();
    let manual = text("hv_vss_hooks.5");
    let (_, paragraph) = manual.split_once("a JSON object with\n").unwrap();
    let told: BTreeSet<_> = lines_of(paragraph.split_once(".Ss ").unwrap().0, ".Va ")
        .iter()
        .map(|line| line.trim_end_matches(" ,").to_owned())
        .collect();
    assert_eq!(told, given);
}

#[test]
fn the_names_that_are_skipped_are_the_manuals() {
    let program = fs::read_to_string(source("plugins/exec-hook/src/name.rs")).unwrap();
    let (_, list) = program.split_once("const LEFT_BEHIND: ").unwrap();
    let skipped: BTreeSet<_> =
        list.split_once("];").unwrap().0.split('"').skip(1).step_by(2).map(str::to_owned).collect();

    let manual = text("hv_vss_hooks.5");
    let (_, paragraph) = manual.split_once("that end in\n").unwrap();
    let told: BTreeSet<_> = lines_of(paragraph.split_once(".Pp").unwrap().0, ".Ql ")
        .iter()
        .map(|line| line.trim_end_matches(" ,").trim_end_matches(" .").to_owned())
        .collect();
    assert_eq!(told, skipped);
}

#[test]
fn the_outcomes_that_hooks_hear_are_the_manuals() {
    let program = fs::read_to_string(source("plugins/api/src/step.rs")).unwrap();
    let outcomes: BTreeSet<_> = program
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \"")?.1.strip_suffix("\","))
        .map(str::to_owned)
        .collect();
    let manual = text("hv_vss_hooks.5");
    let (_, section) = manual.split_once(".Ss Outcomes").unwrap();
    let told: BTreeSet<_> = lines_of(section.split_once(".El").unwrap().0, ".It Cm ").into_iter().collect();
    assert_eq!(told, outcomes);
}
