//! The guides, the port's messages and the manuals against the programs: every command that they tell a reader to type is one that is understood.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use hv_vss_core::config::Config;
use hv_vss_packaging::{Directory, run, source};
use hv_vss_testbed::needs;

const TEXTS: [&str; 10] = [
    "docs/fleet.md",
    "man/hv_vss_kvp.5",
    "docs/migrating.md",
    "docs/restore.md",
    "packaging/freebsd-port/files/pkg-message.in",
    "packaging/hv_vss.toml.sample",
    "man/hv_vss_daemon.8",
    "man/hv_vss.toml.5",
    "man/hv_vss_hooks.5",
    "README.md",
];

fn text(path: &str) -> String {
    fs::read_to_string(source(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a reader is told to type: what follows `program` where that begins a line of code or stands in quotes, up to the end of either.
fn typed<'a>(text: &'a str, program: &str) -> Vec<Vec<&'a str>> {
    let mut all = Vec::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some(at) = rest.find(program) {
            let (before, from) = rest.split_at(at);
            rest = &from[program.len()..];
            let quote = before.chars().last().filter(|c| "`'".contains(*c));
            let code = before.trim().is_empty() && !before.is_empty() || ["# ", ".Dl ", ".Ql "].contains(&before);
            let code = code || before.is_empty() && !line.contains(['.', ',']);
            if quote.is_none() && !code || !rest.starts_with(' ') {
                continue;
            }
            let command = quote.map_or(rest, |quote| rest.split(quote).next().unwrap_or_default());
            all.push(
                command
                    .split("  ")
                    .find(|part| !part.trim().is_empty())
                    .unwrap_or_default()
                    .split_whitespace()
                    .collect(),
            );
        }
    }
    all
}

#[test]
fn every_vssctl_that_is_told_is_understood() {
    let mut count = 0;
    for path in TEXTS {
        for words in typed(&text(path), "vssctl") {
            let words: Vec<_> = words.into_iter().take_while(|word| *word != "#").collect();
            let parsed = vssctl::Options::try_parse_from(std::iter::once("vssctl").chain(words.iter().copied()));
            assert!(parsed.is_ok(), "{path}: vssctl {}: {}", words.join(" "), parsed.unwrap_err());
            count += 1;
        }
    }
    assert!(count > 20, "the texts tell of vssctl, but only {count} commands were found");
}

#[test]
fn every_service_command_that_is_told_is_one_of_the_scripts() {
    let mut count = 0;
    for path in TEXTS {
        for words in typed(&text(path), "service hv_vss") {
            let command = words[0].trim_end_matches([';', '.']);
            assert!(
                ["start", "stop", "restart", "status", "reload"].contains(&command),
                "{path}: service hv_vss {command}"
            );
            count += 1;
        }
    }
    assert!(count > 5, "only {count} commands were found");
}

/// The blocks of this language in a guide.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    text.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

#[test]
fn every_configuration_in_the_guides_is_understood() {
    let guides = [text("docs/migrating.md"), text("docs/restore.md"), text("docs/fleet.md")];
    let all: Vec<_> = guides.iter().flat_map(|guide| blocks(guide, "toml")).collect();
    assert!(all.len() >= 4);
    for block in all {
        Config::parse(Path::new("guide"), block).unwrap_or_else(|error| panic!("{error}\n{block}"));
    }
    let exemption = Config::parse(Path::new("guide"), blocks(&guides[0], "toml")[0]).unwrap().exemptions;
    assert_eq!((exemption[0].fstype.as_str(), exemption[0].mount.as_deref()), ("msdosfs", Some("/boot/efi")));
}

/// The words of a text that begin so, with no letter or digit before.
fn words_with<'a>(text: &'a str, prefix: &str) -> std::collections::BTreeSet<&'a str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with(prefix) && *word != prefix).collect()
}

#[test]
fn the_keys_that_the_host_is_told_to_read_are_the_plugins_and_the_metrics_the_daemons() {
    let keys = text("plugins/kvp-report/src/keys.rs");
    let kept: std::collections::BTreeSet<_> = keys.split('"').filter(|word| word.starts_with("HvVss")).collect();
    assert_eq!(kept.len(), 8);
    assert_eq!(words_with(&text("man/hv_vss_kvp.5"), "HvVss"), kept);
    let fleet = text("docs/fleet.md");
    for key in words_with(&fleet, "HvVss") {
        assert!(kept.contains(key), "{key}");
    }
    for state in ["idle", "refusing", "owes", "stopped"] {
        assert!(text("man/hv_vss_kvp.5").contains(&format!(".It Li {state}\n")), "{state}");
    }
    let metrics = text("orchestrator/core/src/metrics.rs");
    let told = ["hv_vss_trouble", "hv_vss_backups_total", "hv_vss_frozen_seconds"];
    for name in told {
        assert!(fleet.contains(name) && metrics.contains(name), "{name}");
    }
}

#[test]
fn the_host_is_told_to_read_the_keys_in_the_same_way_in_the_guide_and_in_the_manual() {
    let squeezed = |text: &str| text.replace('`', "").split_whitespace().collect::<String>();
    let manual = text("man/hv_vss_kvp.5").replace("\\e", "\\");
    let (_, manual) = manual.split_once("function Get-HvVss").unwrap();
    let guide = text("docs/fleet.md");
    let (_, guide) = guide.split_once("function Get-HvVss").unwrap();
    assert_eq!(
        squeezed(manual.split_once("Get-HvVss web1").unwrap().0),
        squeezed(guide.split_once("$fleet").unwrap().0)
    );
}

#[test]
fn every_script_in_the_guides_is_one() {
    needs!(Dash);
    let scratch = Directory::new();
    for block in blocks(&text("docs/migrating.md"), "sh") {
        let file = scratch.write("script", block);
        run(Command::new("dash").arg("-n").arg(file)).well();
    }
}

#[test]
fn the_log_line_in_the_guide_to_restoring_is_the_daemons() {
    let source_text = text("orchestrator/daemon/src/engine/debts.rs");
    for part in [
        "this machine was started from the backup of cycle {cycle}, or was reset during or shortly after it; for plugin {plugin}: {then}",
        "its hooks are not run (run_after_restore)",
    ] {
        assert!(source_text.contains(part), "{part}");
    }
    let line = "this machine was started from the backup of cycle ID, or was reset during or shortly after it; for plugin exec_hook: its hooks are not run (run_after_restore)";
    assert!(text("docs/restore.md").contains(line));
}
