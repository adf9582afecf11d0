//! Which scripts run in which order, and which are owed a thaw. Decides only; the scripts are run elsewhere.
//!
//! ```text
//!           begin                starting            settled
//!   at rest ------> .post-thaw owed -----> NN-name owed too -----> at rest again once nothing is owed
//! ```
//! A hook counts as started from the moment before its script is started, and stops counting only when its thaw has ended, well or not, or when
//! the script turned out never to have run. So whatever happens in between, the thaw is run.

use std::collections::BTreeSet;

use crate::name::{Form, HookName};

/// The hooks of `hooks` that run before the freeze, in the order of their numbers; those in one group run at once.
#[must_use]
pub fn freeze_groups(hooks: &[HookName]) -> Vec<Vec<HookName>> {
    groups(hooks.iter().filter(|hook| hook.form != Form::PostThaw))
}

/// What is owed since a freeze was begun.
#[derive(Debug, Default)]
pub struct Ledger {
    owed: BTreeSet<HookName>,
}

impl Ledger {
    /// The freeze step begins with these hooks: from now on each `.post-thaw` among them is owed.
    pub fn begin(&mut self, hooks: &[HookName]) {
        self.owed.extend(hooks.iter().filter(|hook| hook.form == Form::PostThaw).cloned());
    }

    /// A script is about to be started before the freeze.
    pub fn starting(&mut self, hook: &HookName) {
        if hook.form == Form::Both {
            self.owed.insert(hook.clone());
        }
    }

    /// The script that was about to be started never ran.
    pub fn never_ran(&mut self, hook: &HookName) {
        self.owed.remove(hook);
    }

    /// An earlier process owes these: it, or the one that kept its record, knows what it started.
    pub fn inherit(&mut self, hooks: impl IntoIterator<Item = HookName>) {
        self.owed.extend(hooks.into_iter().filter(|hook| hook.form != Form::PreFreeze));
    }

    /// A script has ended after the thaw, well or not.
    pub fn settled(&mut self, hook: &HookName) {
        self.owed.remove(hook);
    }

    /// Whether the hook in this file is owed its thaw.
    #[must_use]
    pub fn owes(&self, file: &str) -> bool {
        self.owed.iter().any(|hook| hook.file == file)
    }

    /// What is owed, the highest numbers first; those in one group run at once.
    #[must_use]
    pub fn thaw_groups(&self) -> Vec<Vec<HookName>> {
        let mut groups = groups(self.owed.iter());
        groups.reverse();
        groups
    }
}

/// Groups of equal numbers, in ascending order.
fn groups<'a>(hooks: impl Iterator<Item = &'a HookName>) -> Vec<Vec<HookName>> {
    let mut hooks: Vec<HookName> = hooks.cloned().collect();
    hooks.sort();
    hooks.chunk_by(|a, b| a.number == b.number).map(<[HookName]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Reading, read};

    fn hook(name: &str) -> HookName {
        match read(name.as_ref()) {
            Reading::Hook(hook) => hook,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn names(groups: &[Vec<HookName>]) -> Vec<Vec<&str>> {
        groups.iter().map(|group| group.iter().map(|hook| hook.file.as_str()).collect()).collect()
    }

    /// One hook of each form at each of three numbers: nine hooks.
    fn nine() -> Vec<HookName> {
        let mut all = Vec::new();
        for number in ["50", "10", "90"] {
            for form in ["", ".pre-freeze", ".post-thaw"] {
                all.push(hook(&format!("{number}-x{form}")));
            }
        }
        all
    }

    #[test]
    fn lower_numbers_freeze_first_and_equal_ones_at_once() {
        let hooks = [hook("50-b"), hook("10-z"), hook("50-a.pre-freeze"), hook("99-t.post-thaw"), hook("07-x.sh")];
        assert_eq!(names(&freeze_groups(&hooks)), [vec!["07-x.sh"], vec!["10-z"], vec!["50-a.pre-freeze", "50-b"]]);
    }

    #[test]
    fn whatever_was_started_thaws_higher_numbers_first_and_nothing_else_does() {
        // Each of the 512 sets of hooks, each number of groups that the freeze got through before it was given up.
        let nine = nine();
        for set in 0..512_u32 {
            let hooks: Vec<_> = (0..9).filter(|bit| set & (1 << bit) != 0).map(|bit| nine[bit].clone()).collect();
            let groups = freeze_groups(&hooks);
            for reached in 0..=groups.len() {
                let mut ledger = Ledger::default();
                ledger.begin(&hooks);
                groups[..reached].iter().flatten().for_each(|hook| ledger.starting(hook));

                let thawed: Vec<_> = ledger.thaw_groups().concat();
                for hook in &hooks {
                    let started = groups[..reached].iter().flatten().any(|started| started == hook);
                    let expected = match hook.form {
                        Form::Both => started,
                        Form::PreFreeze => false,
                        Form::PostThaw => true,
                    };
                    assert_eq!(thawed.contains(hook), expected, "{hook:?} in set {set:b} after {reached} groups");
                }
                assert!(thawed.windows(2).all(|pair| pair[0].number >= pair[1].number), "set {set:b}");
                thawed.iter().for_each(|hook| ledger.settled(hook));
                assert!(ledger.thaw_groups().is_empty(), "a second thaw finds nothing to do");
            }
        }
    }

    #[test]
    fn a_script_that_never_ran_is_owed_nothing() {
        let mut ledger = Ledger::default();
        let hooks = [hook("10-a"), hook("20-b")];
        ledger.begin(&hooks);
        hooks.iter().for_each(|hook| ledger.starting(hook));
        ledger.never_ran(&hooks[1]);
        assert_eq!(names(&ledger.thaw_groups()), [["10-a"]]);
    }

    #[test]
    fn what_an_earlier_process_owes_is_thawed_and_the_rest_of_the_directory_is_not() {
        let mut ledger = Ledger::default();
        ledger.inherit([hook("10-a"), hook("90-z.post-thaw"), hook("50-p.pre-freeze")]);
        assert_eq!(names(&ledger.thaw_groups()), [["90-z.post-thaw"], ["10-a"]]);
    }

    #[test]
    fn a_second_freeze_without_a_thaw_forgets_nothing() {
        let mut ledger = Ledger::default();
        ledger.begin(&[hook("10-a"), hook("90-z.post-thaw")]);
        ledger.starting(&hook("10-a"));
        ledger.begin(&[hook("20-b")]);
        ledger.starting(&hook("20-b"));
        assert_eq!(names(&ledger.thaw_groups()), [["90-z.post-thaw"], ["20-b"], ["10-a"]]);
    }
}
