//! The configuration as it is told, in the sample and in hv_vss.toml(5): which keys each table has, with which defaults.
//!
//! Tables are named as in TOML's headings, without brackets; defaults are as they are written in TOML.

use std::collections::BTreeMap;
use std::fs;

use crate::source;

/// For each table its keys, each with its default if it has one.
pub type Told = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// The text of the sample.
#[must_use]
pub fn sample() -> String {
    fs::read_to_string(source("packaging/hv_vss.toml.sample")).expect("the sample")
}

/// The sample with every default line in force: a line is one if its `#` stands right before a key.
#[must_use]
pub fn sample_with_defaults_in_force() -> String {
    let in_force = |line: &str| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line).to_owned();
    sample().lines().map(|line| in_force(line) + "\n").collect()
}

/// The sample with every example in force: lines of TOML after `# `.
#[must_use]
pub fn sample_with_examples_in_force() -> String {
    let in_force = |line: &str| {
        let example = line.strip_prefix("# ").filter(|rest| is_setting(rest) || rest.starts_with('['));
        example.unwrap_or(line).to_owned()
    };
    sample().lines().map(|line| in_force(line) + "\n").collect()
}

fn is_setting(text: &str) -> bool {
    let key = text.split(" = ").next().unwrap_or_default();
    key.len() < text.len() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// What the sample tells.
#[must_use]
pub fn told_by_the_sample() -> Told {
    let mut told = Told::new();
    let mut table = String::new();
    for line in sample().lines() {
        let uncommented = line.trim_start_matches(['#', ' ']);
        if let Some(name) = uncommented.strip_prefix('[') {
            table = name.trim_matches(['[', ']']).to_owned();
        } else if is_setting(uncommented) {
            let (key, value) = uncommented.split_once(" = ").expect("a setting");
            let default = (!line.starts_with("# ")).then(|| value.to_owned());
            told.entry(table.clone()).or_default().insert(key.to_owned(), default);
        }
    }
    told
}

/// What hv_vss.toml(5) tells: a subsection for each table, an item for each key.
#[must_use]
pub fn told_by_the_manual() -> Told {
    let text = fs::read_to_string(source("man/hv_vss.toml.5")).expect("the manual");
    let mut told = Told::new();
    let mut table = None;
    for line in text.lines() {
        let line = line.replace("\\(dq", "\"").replace("\\&", "");
        if let Some(name) = line.strip_prefix(".Ss ") {
            table = Some(name.trim_matches(['[', ']']).to_owned());
        } else if line.starts_with(".Sh ") {
            table = None;
        } else if let (Some(table), Some(item)) = (&table, line.strip_prefix(".It Va ")) {
            let (key, default) = match item.split_once(" Li = ") {
                Some((key, default)) => (key, Some(default.to_owned())),
                None => (item, None),
            };
            told.entry(table.clone()).or_default().insert(key.to_owned(), default);
        }
    }
    told
}
