//! The manual, vssctl(8), held against the command line: whatever one of them has, the other has. (That it is clean is tested with all the others, in
//! tests/packaging.)

use std::collections::BTreeSet;

use clap::CommandFactory;
use hv_vss_daemon_core::ctl::Options;

use super::run::repository;

const PAGE: &str = "man/vssctl.8";

fn page() -> String {
    std::fs::read_to_string(repository().join(PAGE)).unwrap()
}

/// `check`, `config show`, ...: those that do something themselves.
fn commands(command: &clap::Command, above: &str, found: &mut Vec<(String, clap::Command)>) {
    for one in command.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help") {
        let name = format!("{above}{}", one.get_name());
        if one.has_subcommands() {
            commands(one, &format!("{name} "), found);
        } else {
            found.push((name, one.clone()));
        }
    }
}

#[test]
fn the_manual_has_every_command_and_no_other() {
    let mut found = Vec::new();
    commands(&Options::command(), "", &mut found);
    let there_are: BTreeSet<String> = found.into_iter().map(|(name, _)| name).collect();
    let page = page();
    let told: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".It Cm "))
        .map(|line| {
            line.split_whitespace()
                .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(told, there_are);
}

#[test]
fn the_manual_has_every_option_and_no_other() {
    let mut found = Vec::new();
    let program = Options::command();
    commands(&program, "", &mut found);
    let long = |command: &clap::Command| -> BTreeSet<String> {
        command.get_arguments().filter_map(|option| option.get_long().map(str::to_owned)).collect()
    };
    let mut there_are = long(&program);
    found.iter().for_each(|(_, command)| there_are.extend(long(command)));
    there_are.extend(["help", "version"].map(str::to_owned));
    let told: BTreeSet<String> = page()
        .lines()
        .flat_map(|line| line.split("Fl -").skip(1).map(str::to_owned).collect::<Vec<_>>())
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect())
        .collect();
    assert_eq!(told, there_are);
}
