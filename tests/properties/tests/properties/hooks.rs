//! Scripts: which names are hooks, and that thaw is freeze backwards.

use std::ffi::OsStr;

use exec_hook::{Form, HookName, Ledger, Reading, freeze_groups, read_name};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

fn hook(name: &str) -> HookName {
    match read_name(OsStr::new(name)) {
        Reading::Hook(hook) => hook,
        other => panic!("{name}: {other:?}"),
    }
}

/// Names as the manual has them, that nobody left behind.
fn names() -> impl Strategy<Value = Vec<String>> {
    let one = "[0-9][0-9]-[A-Za-z0-9_][A-Za-z0-9_-]{0,8}(\\.sh)?(\\.pre-freeze|\\.post-thaw)?";
    btree_set(one, 0..12).prop_map(|names| names.into_iter().collect())
}

proptest! {
    #![proptest_config(crate::tried())]

    #[test]
    fn every_name_of_the_manuals_form_is_a_hook_with_its_number(number in 0..100_u8, stem in "[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", end in 0..3_usize) {
        let (end, form) = [("", Form::Both), (".pre-freeze", Form::PreFreeze), (".post-thaw", Form::PostThaw)][end];
        let name = format!("{number:02}-{stem}{end}");
        prop_assert_eq!(hook(&name), HookName { number, file: name.clone(), form });
    }

    #[test]
    fn no_name_with_anything_else_in_it_is_a_hook(before in "[0-9][0-9]-[a-z]{0,5}", odd in "[^A-Za-z0-9_.-]", after in "[a-z]{0,5}") {
        let name = format!("{before}{odd}{after}");
        prop_assert!(!matches!(read_name(OsStr::new(&name)), Reading::Hook(_)), "{:?}", name);
    }

    #[test]
    fn thaw_is_freeze_backwards_and_only_of_what_was_started(names in names(), seed: prop::sample::Index) {
        let hooks: Vec<HookName> = names.iter().map(|name| hook(name)).collect();
        let groups = freeze_groups(&hooks);
        let reached = seed.index(groups.len() + 1);
        let mut ledger = Ledger::default();
        ledger.begin(&hooks);
        groups[..reached].iter().flatten().for_each(|hook| ledger.starting(hook));

        let both = |groups: &[Vec<HookName>]| -> Vec<Vec<String>> {
            let files = |group: &Vec<HookName>| -> Vec<String> {
                group.iter().filter(|hook| hook.form == Form::Both).map(|hook| hook.file.clone()).collect()
            };
            groups.iter().map(files).filter(|group| !group.is_empty()).collect()
        };
        let mut frozen = both(&groups[..reached]);
        frozen.reverse();
        prop_assert_eq!(both(&ledger.thaw_groups()), frozen);
    }

    #[test]
    fn the_order_of_the_directory_makes_no_difference(names in names(), shuffled in vec(any::<prop::sample::Index>(), 12)) {
        let hooks: Vec<HookName> = names.iter().map(|name| hook(name)).collect();
        let mut others = hooks.clone();
        for (at, with) in shuffled.iter().enumerate().take(others.len()) {
            let with = with.index(others.len());
            others.swap(at, with);
        }
        prop_assert_eq!(freeze_groups(&others), freeze_groups(&hooks));
    }
}
