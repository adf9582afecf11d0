//! docs/threat-model.md has a row for every actor and asset, and what it says of tests is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const ACTORS: [&str; 6] = [
    "Unprivileged local user",
    "A member of wheel",
    "A compromised application account",
    "The author of a hook or plugin",
    "The host",
    "A damaged disk",
];
const ASSETS: [&str; 5] = ["root", "frozen state", "truth", "availability", "logs"];
/// What a row says instead, when there can be no test here; why comes behind it.
const UNTESTED: &str = "not tested here: ";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names of all tests: in Rust the functions under `#[test]` or in a story macro, in C what takes nothing and begins a line.
fn tests(directory: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match path.extension().and_then(|ending| ending.to_str()) {
            _ if path.is_dir() && !["target", ".git"].contains(&name.as_str()) => tests(&path, into),
            Some("rs") => into.extend(in_rust(&fs::read_to_string(&path).expect("a source file"))),
            Some("c") => {
                let text = fs::read_to_string(&path).expect("a source file");
                into.extend(text.lines().filter_map(|line| line.strip_suffix("(void)")).map(str::to_owned));
            }
            _ => {}
        }
    }
}

fn in_rust(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut in_stories, mut marked) = (false, false);
    for line in text.lines() {
        let code = line.trim_start();
        match code.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
            Some(name) if marked || (in_stories && line.starts_with("    fn ")) => names.push(name.to_owned()),
            _ => {}
        }
        in_stories = match line {
            "both_drivers! {" | "our_driver! {" => true,
            "}" => false,
            _ => in_stories,
        };
        // Other attributes and comments may stand between.
        marked = code.starts_with("#[test]") || marked && (code.starts_with("#[") || code.starts_with("//"));
    }
    names
}

fn all_tests() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    tests(&root(), &mut all);
    all
}

fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What is wrong with the page, a sentence each.
fn faults(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut covered = BTreeSet::new();
    for section in page.split("\n## ").skip(1) {
        let actor = section.lines().next().unwrap_or_default();
        for row in section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
            let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
            let (asset, last) = (cells[0], cells[cells.len() - 1]);
            if last == "test" {
                continue;
            }
            covered.insert((actor.to_owned(), asset.to_owned()));
            if ACTORS.contains(&actor) && !ASSETS.contains(&asset) {
                faults.push(format!("{actor}: {asset} is no asset"));
            }
            let names = quoted(last);
            if let Some(why) = last.strip_prefix(UNTESTED) {
                if why.len() < 20 {
                    faults.push(format!("{actor}, {asset}: does not say why it can't be tested"));
                }
            } else if names.is_empty() {
                faults.push(format!("{actor}, {asset}: names no test"));
            }
            let missing = names.into_iter().filter(|name| !tests.contains(*name));
            faults.extend(missing.map(|name| format!("{actor}, {asset}: {name} does not exist")));
        }
    }
    for actor in ACTORS {
        let open = ASSETS.iter().filter(|asset| !covered.contains(&(actor.to_owned(), (**asset).to_owned())));
        faults.extend(open.map(|asset| format!("{actor}, {asset}: has no row")));
    }
    faults
}

#[test]
fn every_actor_has_a_row_for_every_asset_and_every_row_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/threat-model.md")).expect("the page");
    assert_eq!(faults(&page, &all_tests()), Vec::<String>::new());
}

#[test]
fn a_row_that_is_missing_or_names_nothing_or_what_does_not_exist_is_found() {
    let page = fs::read_to_string(root().join("docs/threat-model.md")).expect("the page");
    let tests = all_tests();
    let without = |lines: &str| page.lines().filter(|line| !line.starts_with(lines)).collect::<Vec<_>>().join("\n");
    assert!(
        faults(&without("| logs | it floods"), &tests)
            .contains(&"The author of a hook or plugin, logs: has no row".to_owned())
    );
    let spoilt = page.replace("`a_host_that_never_thaws_is_not_waited_for`", "`a_host_that_nobody_knows`");
    assert_eq!(faults(&spoilt, &tests), ["The host, frozen state: a_host_that_nobody_knows does not exist"]);
    let silent = page.replace("`fifty_silent_clients_delay_nothing`", "some");
    assert_eq!(faults(&silent, &tests), ["Clients of the control socket, silent: names no test"]);
    let helper = page.replace("`fifty_silent_clients_delay_nothing`", "`a_crowd_delays_nothing`");
    assert_eq!(faults(&helper, &tests).len(), 1, "a function that is no test is none");
}
