//! docs/predecessor-bugs.md promises a test for each row: they exist.

use std::fs;
use std::path::Path;

/// Every function name in the Rust files, and every claim in the C files, below `directory`.
fn functions(directory: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a folder").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn "));
            into.extend(names.filter_map(|line| line.split('(').next()).map(str::to_owned));
        } else if path.extension().is_some_and(|ending| ending == "c") {
            let text = fs::read_to_string(&path).expect("a source file");
            into.extend(text.lines().filter_map(|line| line.strip_suffix("(void)")).map(str::to_owned));
        }
    }
}

#[test]
fn every_failure_of_our_predecessors_has_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut tests = Vec::new();
    for folder in [
        "kmod",
        "kvp",
        "orchestrator",
        "platform/src/process",
        "plugins/exec-hook/tests",
        "plugins/kvp-report/tests",
        "tests/stories/tests",
        "tests/sim/tests",
        "tests/packaging/tests",
    ] {
        functions(&root.join(folder), &mut tests);
    }
    let page = fs::read_to_string(root.join("docs/predecessor-bugs.md")).unwrap();
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit()).collect();
    let number = |row: &&str| row.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    let numbers: Vec<u32> = rows.iter().map(number).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "rows have ascending numbers: {numbers:?}");
    assert!((1..=28).all(|number| numbers.contains(&number)), "a row of the first edition is gone: {numbers:?}");
    for row in rows {
        let guards = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        let names: Vec<&str> = guards.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named in: {row}");
        for name in names {
            assert!(tests.iter().any(|test| test == name), "{name} does not exist, which this row names: {row}");
        }
    }
}
