//! May a backup go on while programs have files mapped shared and writable?
//!
//! UFSRESUME throws away what was stored to such a mapping in the hold (docs/ufssuspend.md). Processes whose every thread is stopped
//! store nothing. The daemon looks at the processes; here it is decided what follows.

use std::collections::BTreeMap;

use hv_vss_types::{MappedScan, Mapping, Mount};

/// What is said of mapped files in `[plugin.ufs]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Which losses are accepted.
    pub accept: Accept,
    /// Programs that a script of hooks.d stops before the freeze, by the script's name.
    pub stopped_by: BTreeMap<String, Vec<String>>,
}

/// Which losses of stored data are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// None.
    #[default]
    Nothing,
    /// Any.
    Everything,
    /// Those of these programs, and of files at or below these paths.
    These(Vec<String>),
}

/// When the look was taken.
#[derive(Clone, Copy, Debug)]
pub enum When<'a> {
    /// In a CHECK: nothing is stopped yet. These scripts would run.
    Check(&'a [String]),
    /// The applications are at rest, nothing is suspended.
    Freeze,
    /// The hold is about to end.
    Thaw,
}

/// What follows from a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Why the backup can't go on, each a sentence.
    pub against: Vec<String>,
    /// What a reader of the record has to know.
    pub remarks: Vec<String>,
}

impl Rules {
    /// Takes `mapped` and `stopped_by` out of the table `[plugin.ufs]`.
    pub(crate) fn take_from(table: &mut toml::Table) -> Result<Self, String> {
        const MAPPED: &str = "is neither \"accept\" nor a list of programs and absolute paths";
        const STOPPED_BY: &str =
            "is no table of scripts and lists of programs, such as { \"60-stop-mapped\" = [\"smbd\"] }";
        let accept = match table.remove("mapped") {
            None => Accept::Nothing,
            Some(toml::Value::String(word)) if word == "accept" => Accept::Everything,
            Some(value) => Accept::These(words(&value).ok_or_else(|| format!("mapped = {value} {MAPPED}"))?),
        };
        let wrong = |value: &toml::Value| format!("stopped_by = {value} {STOPPED_BY}");
        let stopped_by = match table.remove("stopped_by") {
            None => BTreeMap::new(),
            Some(toml::Value::Table(scripts)) => {
                let list = |(script, programs): (String, toml::Value)| {
                    words(&programs).map(|programs| (script, programs)).ok_or_else(|| wrong(&programs))
                };
                scripts.into_iter().map(list).collect::<Result<_, _>>()?
            }
            Some(value) => return Err(wrong(&value)),
        };
        Ok(Self { accept, stopped_by })
    }

    /// Is a loss of what this mapping stores accepted?
    fn accepts(&self, mapping: &Mapping, on: &str) -> bool {
        match &self.accept {
            Accept::Nothing => false,
            Accept::Everything => true,
            Accept::These(list) => list.iter().any(|one| match one.starts_with('/') {
                true => std::path::Path::new(mapping.file.as_deref().unwrap_or(on)).starts_with(one),
                false => *one == mapping.program,
            }),
        }
    }

    /// The script that stops this program before a freeze.
    fn stopper(&self, program: &str) -> Option<&str> {
        let names = |programs: &Vec<String>| programs.iter().any(|name| name == program);
        self.stopped_by.iter().find(|(_, programs)| names(programs)).map(|(script, _)| script.as_str())
    }
}

fn words(value: &toml::Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|word| word.as_str().filter(|word| !word.is_empty()).map(str::to_owned)).collect()
}

/// Judges what a look found on the filesystems of the plan that lose such stores.
#[must_use]
pub fn judge(scan: &MappedScan, mounts: &[Mount], rules: &Rules, when: When<'_>) -> Judgement {
    let mut judgement = Judgement::default();
    // One sentence for each process and filesystem: a program may map a thousand files.
    let mut by_process: BTreeMap<(i32, &str), Vec<&Mapping>> = BTreeMap::new();
    for mapping in scan.mappings.iter().filter(|mapping| !mapping.stopped) {
        if let Some(mount) = mounts.iter().find(|mount| mount.fsid == mapping.fsid) {
            by_process.entry((mapping.pid, mount.on.as_str())).or_default().push(mapping);
        }
    }
    for ((_, on), mut mappings) in by_process {
        let all = mappings.len();
        mappings.retain(|mapping| !rules.accepts(mapping, on));
        let Some(first) = mappings.first() else {
            if all > 0 && !matches!(when, When::Check(_)) {
                judgement.remarks.push(accepted(scan, mounts, rules, on));
            }
            continue;
        };
        judge_process(first, mappings.len(), on, rules, when, &mut judgement);
    }
    judgement.remarks.dedup();
    how_much_was_seen(scan, rules, when, &mut judgement);
    judgement
}

fn judge_process(first: &Mapping, count: usize, on: &str, rules: &Rules, when: When<'_>, judgement: &mut Judgement) {
    let Mapping { program, pid, .. } = first;
    let files = files(first, count, on);
    let stopper = rules.stopper(program);
    match (when, stopper) {
        (When::Check(scripts), Some(script)) if scripts.iter().any(|name| name == script) => {
            judgement.remarks.push(format!(
                "{program} (process {pid}) has {files} mapped shared and writable; {script} is to stop it before the freeze"
            ));
        }
        (When::Check(_), Some(script)) => judgement.against.push(format!(
            "{}; stopped_by in [plugin.ufs] names {script} for it, which will not run",
            loses(program, *pid, &files, on)
        )),
        (When::Check(_) | When::Freeze, _) => judgement.against.push(format!(
            "{}: let hooks.d/60-stop-mapped stop it for the backup, end it, or accept the loss with mapped = [\"{program}\"] in [plugin.ufs]",
            loses(program, *pid, &files, on)
        )),
        (When::Thaw, _) => judgement.against.push(format!(
            "{program} (process {pid}) mapped {files} shared and writable in the hold: what it stored there is lost, since {on} was resumed"
        )),
    }
}

fn loses(program: &str, pid: i32, files: &str, on: &str) -> String {
    format!(
        "{program} (process {pid}) has {files} mapped shared and writable, and what it stores there in the hold is lost when {on} is resumed"
    )
}

fn files(first: &Mapping, count: usize, on: &str) -> String {
    let name = first.file.clone().unwrap_or_else(|| format!("(deleted) on {on}"));
    match count {
        1 => name,
        2 => format!("{name} and 1 more file"),
        more => format!("{name} and {} more files", more - 1),
    }
}

/// One remark for each filesystem.
fn accepted(scan: &MappedScan, mounts: &[Mount], rules: &Rules, on: &str) -> String {
    let here = |mapping: &&Mapping| {
        !mapping.stopped
            && mounts.iter().any(|mount| mount.on == on && mount.fsid == mapping.fsid)
            && rules.accepts(mapping, on)
    };
    let mut programs: Vec<&str> = scan.mappings.iter().filter(here).map(|mapping| mapping.program.as_str()).collect();
    programs.sort_unstable();
    programs.dedup();
    format!(
        "what {} stored to mapped files of {on} in the hold is lost, as mapped in [plugin.ufs] accepts",
        programs.join(", ")
    )
}

fn how_much_was_seen(scan: &MappedScan, rules: &Rules, when: When<'_>, judgement: &mut Judgement) {
    if scan.unreadable > 0 {
        let (count, processes) = (scan.unreadable, if scan.unreadable == 1 { "process" } else { "processes" });
        judgement.remarks.push(format!("{count} {processes} did not show what files they map"));
    }
    if scan.complete || rules.accept == Accept::Everything {
        return;
    }
    let seen = scan.processes;
    match when {
        When::Check(_) | When::Freeze => judgement.against.push(format!(
            "after {} ms only {seen} processes had been looked at for mapped files, whose stores in the hold would be lost; try \
             again when the machine is less busy, or accept the loss with mapped = \"accept\" in [plugin.ufs]",
            scan.took.as_millis()
        )),
        When::Thaw => judgement.remarks.push(format!(
            "only {seen} processes were looked at before the resume for files mapped in the hold"
        )),
    }
}

#[cfg(test)]
mod tests {
    use hv_vss_types::FsId;

    use super::*;

    fn mount(id: u8, on: &str) -> Mount {
        Mount {
            fsid: FsId([id; 8]),
            fstype: "ufs".into(),
            on: on.into(),
            from: "x".into(),
            read_only: false,
            backing: None,
            swap: None,
        }
    }

    fn mapping(pid: i32, program: &str, file: Option<&str>, id: u8) -> Mapping {
        let file = file.map(str::to_owned);
        Mapping { pid, program: program.into(), file, fsid: FsId([id; 8]), stopped: false }
    }

    fn scan(mappings: Vec<Mapping>) -> MappedScan {
        MappedScan { mappings, processes: 40, complete: true, ..MappedScan::default() }
    }

    fn rules(text: &str) -> Rules {
        Rules::take_from(&mut toml::from_str(text).unwrap()).unwrap()
    }

    fn judged(scan: &MappedScan, rules: &Rules, when: When<'_>) -> (String, String) {
        let judgement = judge(scan, &[mount(1, "/"), mount(2, "/data")], rules, when);
        (judgement.against.join("|"), judgement.remarks.join("|"))
    }

    #[test]
    fn a_mapping_refuses_with_process_file_and_the_ways_out() {
        let scan = scan(vec![
            mapping(812, "smbd", Some("/data/locks.tdb"), 2),
            mapping(812, "smbd", Some("/data/more.tdb"), 2),
            mapping(900, "other", Some("/elsewhere/x"), 9),
        ]);
        for when in [When::Check(&[]), When::Freeze] {
            let (against, remarks) = judged(&scan, &Rules::default(), when);
            assert!(against.starts_with("smbd (process 812) has /data/locks.tdb and 1 more file mapped"), "{against}");
            assert!(against.contains("60-stop-mapped") && against.contains("mapped = [\"smbd\"]"), "{against}");
            assert!(!against.contains("other") && remarks.is_empty(), "{against} {remarks}");
        }
    }

    #[test]
    fn an_unlinked_file_is_told_by_its_filesystem() {
        let (against, _) = judged(&scan(vec![mapping(7, "sem", None, 1)]), &Rules::default(), When::Freeze);
        assert!(against.contains("has (deleted) on / mapped"), "{against}");
    }

    #[test]
    fn a_stopped_process_refuses_nothing() {
        let mut stopped = mapping(812, "smbd", Some("/data/locks.tdb"), 2);
        stopped.stopped = true;
        assert_eq!(judged(&scan(vec![stopped]), &Rules::default(), When::Freeze), (String::new(), String::new()));
    }

    #[test]
    fn a_check_leaves_out_what_a_script_is_to_stop_and_says_so() {
        let scan = scan(vec![mapping(812, "smbd", Some("/data/locks.tdb"), 2)]);
        let rules = rules("stopped_by = { \"60-stop-mapped\" = [\"smbd\"] }");
        let (against, remarks) = judged(&scan, &rules, When::Check(&["60-stop-mapped".to_owned()]));
        assert!(against.is_empty() && remarks.contains("60-stop-mapped is to stop it"), "{against} {remarks}");
        let (against, _) = judged(&scan, &rules, When::Check(&[]));
        assert!(against.contains("60-stop-mapped") && against.contains("will not run"), "{against}");
        // A script that has not stopped it is no excuse.
        assert!(!judged(&scan, &rules, When::Freeze).0.is_empty());
    }

    #[test]
    fn what_is_accepted_is_a_remark_and_what_else_is_mapped_a_refusal() {
        let found = scan(vec![
            mapping(5, "rpc.statd", Some("/var/db/statd.status"), 1),
            mapping(6, "sem", Some("/tmp/.sem"), 1),
            mapping(7, "lmdb", Some("/data/x/lock.mdb"), 2),
        ]);
        let (against, remarks) =
            judged(&found, &rules("mapped = [\"rpc.statd\", \"/tmp\", \"/data/x\"]"), When::Freeze);
        assert!(against.is_empty(), "{against}");
        assert!(remarks.contains("what rpc.statd, sem stored") && remarks.contains("what lmdb stored"), "{remarks}");
        let (against, _) = judged(&found, &rules("mapped = [\"rpc.statd\", \"/tmp\", \"/data/xy\"]"), When::Freeze);
        assert!(against.starts_with("lmdb (process 7)") && !against.contains("sem"), "{against}");
        assert!(judged(&found, &rules("mapped = \"accept\""), When::Freeze).0.is_empty());
    }

    #[test]
    fn a_mapping_made_in_the_hold_is_told_before_the_resume() {
        let (against, _) = judged(&scan(vec![mapping(9, "new", Some("/data/x"), 2)]), &Rules::default(), When::Thaw);
        assert!(against.starts_with("new (process 9) mapped /data/x shared and writable in the hold"), "{against}");
    }

    #[test]
    fn a_look_that_was_not_finished_is_no_good_one() {
        let cut = MappedScan { complete: false, unreadable: 2, ..scan(Vec::new()) };
        let (against, remarks) = judged(&cut, &Rules::default(), When::Freeze);
        assert!(
            against.contains("only 40 processes") && remarks.contains("2 processes did not show"),
            "{against} {remarks}"
        );
        assert!(judged(&cut, &rules("mapped = \"accept\""), When::Freeze).0.is_empty());
        assert!(judged(&cut, &Rules::default(), When::Thaw).0.is_empty());
    }

    #[test]
    fn settings_that_are_not_understood_are_refused_with_their_form() {
        for (text, says) in [
            ("mapped = true", "neither \"accept\" nor a list"),
            ("mapped = \"acept\"", "neither \"accept\""),
            ("mapped = [1]", "neither \"accept\""),
            ("stopped_by = [\"smbd\"]", "no table of scripts"),
            ("stopped_by = { x = \"smbd\" }", "no table of scripts"),
        ] {
            let why = Rules::take_from(&mut toml::from_str(text).unwrap()).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
