//! Any names in hooks.d: which is a hook is told by a rule written down here a second time; lower numbers freeze first, thaw is the reverse; and a
//! survey of a real directory has each file once and in order.
//!
//! The input is names, one a line. The first byte of each is no part of it: it says how the file is made.
#![no_main]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::PathBuf;

use exec_hook::{Form, HookName, Ledger, Reading, Verdict, freeze_groups, read_name, survey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let names: Vec<(u8, &[u8])> = data
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split_first().map(|(how, name)| (*how, name)))
        .take(12)
        .collect();
    let hooks: Vec<HookName> = names.iter().filter_map(|(_, name)| judge(name)).collect();
    orders(&hooks, data.first().copied().unwrap_or(0));
    surveyed(&names);
});

/// The rule of hv_vss_hooks(5), by hand; of the files that are skipped, those that package managers and editors leave.
fn judge(name: &[u8]) -> Option<HookName> {
    let reading = read_name(OsStr::from_bytes(name));
    let ends = |end: &str| name.ends_with(end.as_bytes());
    let left_behind = name.starts_with(b".")
        || name.starts_with(b"README")
        || String::from_utf8_lossy(name).contains(".dpkg-")
        || "~ .bak .orig .sample .dist .swp .rpmnew .rpmorig .rpmsave .pkgnew .pkgsave".split(' ').any(ends);
    let (form, stem) = match name {
        [stem @ .., b'.', b'p', b'r', b'e', b'-', b'f', b'r', b'e', b'e', b'z', b'e'] => (Form::PreFreeze, stem),
        [stem @ .., b'.', b'p', b'o', b's', b't', b'-', b't', b'h', b'a', b'w'] => (Form::PostThaw, stem),
        stem => (Form::Both, stem),
    };
    let fits = match stem {
        [b'0'..=b'9', b'0'..=b'9', b'-', b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_', rest @ ..] => {
            rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte))
        }
        _ => false,
    };
    match reading {
        Reading::Skipped(why) => {
            assert!(!why.is_empty());
            None
        }
        Reading::Refused(why) => {
            assert!(!left_behind && !fits && !why.is_empty());
            None
        }
        Reading::Hook(hook) => {
            assert!(!left_behind && fits, "{hook:?}");
            assert_eq!((hook.form, hook.file.as_bytes()), (form, name));
            assert_eq!(format!("{:02}", hook.number).as_bytes(), &name[..2]);
            Some(hook)
        }
    }
}

/// Freezes some of the groups, then thaws what is owed.
fn orders(hooks: &[HookName], seed: u8) {
    let groups = freeze_groups(hooks);
    assert!(groups.iter().all(|group| !group.is_empty() && group.iter().all(|hook| hook.number == group[0].number)));
    assert!(groups.windows(2).all(|pair| pair[0][0].number < pair[1][0].number));
    let reached = usize::from(seed) % (groups.len() + 1);
    let mut ledger = Ledger::default();
    ledger.begin(hooks);
    groups[..reached].iter().flatten().for_each(|hook| ledger.starting(hook));

    let thawed = ledger.thaw_groups();
    assert!(thawed.windows(2).all(|pair| pair[0][0].number > pair[1][0].number));
    let started = |hook: &HookName| groups[..reached].iter().flatten().any(|started| started == hook);
    for hook in hooks {
        let owed = hook.form == Form::PostThaw || (hook.form == Form::Both && started(hook));
        assert_eq!(ledger.owes(&hook.file), owed, "{hook:?}");
        assert_eq!(thawed.iter().flatten().any(|thawed| thawed == hook), owed);
    }
    thawed.iter().flatten().for_each(|hook| ledger.settled(hook));
    assert!(ledger.thaw_groups().is_empty());
}

/// A directory of our own; under /run, since whatever lies below /tmp or /dev/shm is not trusted.
fn ground() -> PathBuf {
    let path = PathBuf::from(format!("/run/hv_vss-fuzz-hooks-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::DirBuilder::new().mode(0o755).create(&path).expect("a directory below /run: the fuzzers run as root");
    path
}

fn surveyed(names: &[(u8, &[u8])]) {
    let ground = ground();
    let mut made = BTreeMap::new();
    for (how, name) in names {
        let name = OsStr::from_bytes(name);
        let path = ground.join(name);
        // Names with a slash, too long, twice the same: the filesystem refuses those.
        if name.is_empty() || path.parent() != Some(&ground) || path.file_name() != Some(name) || path.exists() {
            continue;
        }
        let how = how % 6;
        let done = match how {
            0 => symlink("/bin/sh", &path),
            1 => fs::create_dir(&path),
            _ => fs::write(&path, b"#!/bin/sh\n").and_then(|()| {
                let mode = [0o755, 0o700, 0o644, 0o775][usize::from(how) - 2];
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            }),
        };
        if done.is_ok() {
            made.insert(name.to_owned(), how);
        }
    }
    let found = survey(&ground).expect("a directory that is there");
    assert_eq!(found.len(), made.len(), "each file once");
    for ((name, how), found) in made.iter().zip(&found) {
        let is_hook = matches!(read_name(name), Reading::Hook(_));
        match &found.verdict {
            Verdict::Runs { hook, path, .. } => {
                assert!(is_hook && matches!(how, 2 | 3), "{found:?} made as {how}");
                assert_eq!((OsStr::new(&hook.file), path), (name.as_os_str(), &ground.join(name)));
            }
            Verdict::Refused(why) | Verdict::Skipped(why) => {
                assert!(!why.is_empty());
                // Another file whose name differs by an ending alone.
                let alike = why.contains("is there, too");
                assert!(alike || !(is_hook && matches!(how, 2 | 3)), "{found:?} made as {how}");
            }
        }
        assert!(!found.name.chars().any(char::is_control), "{:?}", found.name);
    }
    let _ = fs::remove_dir_all(&ground);
}
