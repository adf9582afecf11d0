//! What decides can't act: the cores have no runtime, no system call and no clock to do it with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hv_vss_packaging::source;

/// The crates that decide, and on how many of ours each depends at the least, itself included.
const CORES: [(&str, usize); 2] = [("hv-vss-core", 3), ("hv-vss-kvp-core", 2)];
/// Crates that reach the system, or a runtime or a command line.
const ACTS: [&str; 8] = ["tokio", "clap", "tracing", "tracing-subscriber", "nix", "libc", "time", "libloading"];
/// Ways to the system through the standard library.
const REACHES: [&str; 8] =
    ["std::fs", "std::net", "std::process", "std::os", "std::thread", "std::env", "Instant::now", "SystemTime"];

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names under `[dependencies]` of a manifest.
fn dependencies(manifest: &Path) -> Vec<String> {
    let text = read(manifest);
    let section = text.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned();
    section.lines().filter(|line| !line.starts_with('#') && line.contains('=')).map(name).collect()
}

/// Where a crate of ours lies, by the workspace's list.
fn folder(name: &str) -> Option<PathBuf> {
    let workspace = read(&source("Cargo.toml"));
    let line = workspace.lines().find(|line| line.starts_with(&format!("{name} = {{ path")))?;
    Some(source(line.split('"').nth(1)?))
}

/// The crate, and all of ours that it depends on, with every dependency by the way.
fn reachable(name: &str, ours: &mut BTreeSet<PathBuf>, others: &mut BTreeSet<String>) {
    let Some(folder) = folder(name) else {
        others.insert(name.to_owned());
        return;
    };
    if ours.insert(folder.clone()) {
        for dependency in dependencies(&folder.join("Cargo.toml")) {
            reachable(&dependency, ours, others);
        }
    }
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.extension() {
            _ if path.is_dir() => sources(&path, into),
            Some(ending) if ending == "rs" => into.push(path),
            _ => {}
        }
    }
}

#[test]
fn the_cores_depend_on_nothing_that_acts() {
    for (core, at_least) in CORES {
        let (mut ours, mut others) = (BTreeSet::new(), BTreeSet::new());
        reachable(core, &mut ours, &mut others);
        assert!(ours.len() >= at_least && others.contains("serde"), "{ours:?} {others:?}");
        let acting: Vec<_> = others.iter().filter(|name| ACTS.contains(&name.as_str())).collect();
        assert!(acting.is_empty(), "{core} reaches {acting:?} through {ours:?}");
    }
}

#[test]
fn no_code_of_the_cores_reaches_the_system() {
    let (mut ours, mut others) = (BTreeSet::new(), BTreeSet::new());
    CORES.iter().for_each(|(core, _)| reachable(core, &mut ours, &mut others));
    let mut files = Vec::new();
    for folder in &ours {
        sources(&folder.join("src"), &mut files);
    }
    assert!(files.len() > 15, "{files:?}");
    for file in files {
        for (at, line) in read(&file).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let reached = REACHES.iter().find(|way| code.contains(*way));
            assert_eq!(reached, None, "{}:{}: {line}", file.display(), at + 1);
        }
    }
}
