//! The devd rules: what they say, that devd prefers them to FreeBSD's, and what their actions do.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::BTreeMap;
use std::fs;

use hv_vss_packaging::{FreeBsd, eventually, source};

/// A `notify` rule of devd.conf(5).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    priority: u32,
    matches: BTreeMap<String, String>,
    action: String,
}

/// Reads rules as devd does, and refuses what it would not understand.
fn rules(text: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut open: Option<Rule> = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let quoted: Vec<_> = line.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        match (line.split_whitespace().next().unwrap_or_default(), &mut open) {
            ("notify", None) => {
                let priority = line.trim_start_matches("notify ").trim_end_matches(" {").parse().expect("a priority");
                open = Some(Rule { priority, matches: BTreeMap::new(), action: String::new() });
            }
            ("match", Some(rule)) if quoted.len() == 2 && line.ends_with("\";") => {
                rule.matches.insert(quoted[0].clone(), quoted[1].clone());
            }
            ("action", Some(rule)) if quoted.len() == 1 && line.ends_with("\";") => rule.action.clone_from(&quoted[0]),
            ("};", Some(_)) => rules.extend(open.take()),
            _ => panic!("devd would not understand: {line}"),
        }
    }
    assert_eq!(open, None, "a rule is not closed");
    rules
}

fn ours() -> Vec<Rule> {
    rules(&fs::read_to_string(source("packaging/devd/hv_vss.conf")).unwrap())
}

/// A rule for the VSS node.
fn for_the_node(priority: u32, event: &str, action: &str) -> Rule {
    let matches = [("system", "DEVFS"), ("subsystem", "CDEV"), ("type", event), ("cdev", "hv_fsvss_dev")];
    let matches = matches.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Rule { priority, matches, action: action.to_owned() }
}

/// FreeBSD's rules for the node (sbin/devd/hyperv.conf).
fn base() -> Vec<Rule> {
    vec![for_the_node(11, "CREATE", "/usr/sbin/hv_vss_daemon"), for_the_node(11, "DESTROY", "pkill -x hv_vss_daemon")]
}

/// FreeBSD's action for DESTROY, within the test's own machine.
const PKILL: &str = "pkill -j none -u root -x hv_vss_daemon";

/// What devd does: of the rules that match, the one with the highest priority.
fn chosen(event: &str) -> String {
    let mut all: Vec<_> = base().into_iter().chain(ours()).filter(|rule| rule.matches["type"] == event).collect();
    all.sort_by_key(|rule| std::cmp::Reverse(rule.priority));
    all[0].action.clone()
}

#[test]
fn there_is_one_rule_and_it_says_exactly_this() {
    assert_eq!(ours(), [for_the_node(20, "CREATE", "service hv_vss quietstart")]);
}

#[test]
fn devd_prefers_it_to_freebsds_for_the_same_event() {
    let (ours, base) = (&ours()[0], &base()[0]);
    assert_eq!(ours.matches, base.matches);
    assert!(ours.priority > base.priority);
    assert_eq!(chosen("CREATE"), "service hv_vss quietstart");
    assert_eq!(chosen("DESTROY"), "pkill -x hv_vss_daemon");
}

#[test]
fn when_the_node_appears_the_daemon_runs_and_when_it_goes_one_waits_for_it() {
    let machine = FreeBsd::with("hv_vss_enable=YES\n");
    assert_eq!(machine.acts(&chosen("CREATE")).well(), "Starting hv_vss.\n");
    machine.runs();
    machine.hears("runs: -n --wait --log syslog in /\n");

    machine.goes();
    machine.acts(PKILL).well();
    machine.hears("ends\n");
    machine.hears("waits for the node\n");
    assert!(machine.supervisor().is_some());
}

#[test]
fn the_node_may_come_and_go_as_often_as_it_likes() {
    let machine = FreeBsd::with("hv_vss_enable=YES\n");
    for turn in 1..=3 {
        // From the second time on one is there already, and waits.
        let _ = machine.acts(&chosen("CREATE"));
        eventually("it runs", || machine.log().matches("runs: ").count() == turn);
        machine.runs();
        machine.goes();
        machine.acts(PKILL).well();
        eventually("it waits", || machine.log().matches("waits for the node\n").count() == turn);
        machine.appears();
    }
    assert_eq!(machine.processes("daemon").len(), 1, "one supervisor all the while");
}

#[test]
fn a_node_that_goes_when_nothing_runs_is_nobodys_trouble() {
    let machine = FreeBsd::with("hv_vss_enable=YES\n");
    machine.goes();
    let _ = machine.acts(PKILL);
    assert_eq!(machine.processes("hv_vss_daemon"), []);
}

#[test]
fn as_long_as_we_are_not_enabled_freebsds_own_daemon_does_its_work() {
    let machine = FreeBsd::with("");
    machine.acts(&chosen("CREATE")).well();
    machine.hears("base daemon runs\n");
    eventually("it has started", || machine.log().contains("runs:  in /"));
    assert_eq!(machine.supervisor(), None);

    // The node's events come again when devd is restarted.
    machine.acts(&chosen("CREATE")).well();
    assert_eq!(machine.log().matches("base daemon runs\n").count(), 1);

    machine.acts(PKILL).well();
    machine.hears("ends\n");
    eventually("it is gone", || machine.processes("hv_vss_daemon").is_empty());
}
