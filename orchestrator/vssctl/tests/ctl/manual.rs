//! What is written about vssctl and the control socket, held against the program: whatever one of them has, the other has. (That the manual is clean
//! is tested with all the others, in tests/packaging.)

use std::collections::BTreeSet;

use clap::CommandFactory;
use vssctl::Options;

use hv_vss_core::control::{Question, Reply};
use serde_json::Value;

use super::answers;
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
                .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
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

/// Every key in this value, at any depth.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            found.insert(key.clone());
            keys(value, found);
        }),
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn the_description_of_the_control_socket_has_every_question_and_every_field() {
    let page = std::fs::read_to_string(repository().join("docs/control.md")).unwrap();
    let questions = [
        Question::Status,
        Question::Check,
        Question::Thaw,
        Question::History { last: 1 },
        Question::Show { cycle: None },
        Question::Rehearse { hold_ms: 1, freeze: true, only: None },
        Question::Forgive { plugin: String::new() },
        Question::Reload,
        Question::Metrics,
    ];
    for question in questions {
        let json = serde_json::to_value(&question).unwrap();
        let ask = json["ask"].as_str().unwrap();
        let row = page.lines().find(|line| line.contains(&format!("{{\"ask\":\"{ask}\"}}"))).unwrap();
        for field in json.as_object().unwrap().keys().filter(|field| *field != "ask") {
            assert!(row.contains(&format!("`{field}`")), "{field} of {ask}");
        }
    }
    let brief = answers::status(Some(hv_vss_core::record::CycleResult::Ok));
    let replies =
        [brief, answers::outlook(false), answers::backup(), Reply::Done, Reply::Refused { reason: String::new() }];
    let mut fields = BTreeSet::new();
    replies.iter().for_each(|reply| keys(&serde_json::to_value(reply).unwrap(), &mut fields));
    for field in fields {
        let told = [format!("`{field}`"), format!("\"{field}\"")].iter().any(|name| page.contains(name));
        assert!(told, "{field} is not described");
    }
}
