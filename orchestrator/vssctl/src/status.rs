//! `vssctl status` and `vssctl plugins`, in words.

use std::fmt::Write as _;

use super::cycles::{ink_of, word_of};
use super::paper::{Ink, Paper};
use super::said::Exit;
use super::when::{ago, moment, span_of};
use hv_vss_core::control::{Brief, Counters, PluginStatus, Status};

/// Where the second column begins.
const COLUMN: usize = 13;

/// 1 as long as the last backup did not end well, or the daemon has another reason to be unwell.
pub(super) fn exit(status: &Status) -> Exit {
    let unwell = status.trouble.is_some() || status.last_backup.as_ref().is_some_and(|brief| brief.ending.is_trouble());
    if unwell { Exit::Unwell } else { Exit::Well }
}

pub(super) fn text(status: &Status, now_ms: u64, paper: &Paper) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{}{value}", paper.cell(COLUMN, name));
    };
    let wrapped = |value: &str| paper.wrap(COLUMN, value);

    row(
        "Daemon",
        &wrapped(&format!(
            "version {}, process {}, driver {}, limit {}",
            status.version,
            status.pid,
            status.driver,
            span_of(status.limit_ms)
        )),
    );
    let cycle = status.cycle.as_ref().map(|cycle| format!(", cycle {cycle}")).unwrap_or_default();
    let since = match status.since_ms {
        0..1000 => "just now".to_owned(),
        ms => format!("for {}", span_of(ms / 1000 * 1000)),
    };
    row("State", &wrapped(&format!("{}, {since}{cycle}", status.state)));
    if status.held.is_empty() {
        row("Held", "nothing");
    }
    for (at, held) in status.held.iter().enumerate() {
        row(if at == 0 { "Held" } else { "" }, &wrapped(&format!("{}: {}", held.name, held.stands)));
    }
    for (at, debt) in status.debts.iter().enumerate() {
        let next = match debt.next_ms {
            None => "it is at work".to_owned(),
            Some(0..1000) => "it is tried again now".to_owned(),
            Some(ms) => format!("it is tried again in {}", span_of(ms / 1000 * 1000)),
        };
        let refuses = if debt.required { "; until then backups are refused" } else { "" };
        let parts = if debt.parts.is_empty() { String::new() } else { format!(" ({})", debt.parts.join(", ")) };
        let plugin = &debt.plugin;
        row(
            if at == 0 { "Owed" } else { "" },
            &wrapped(&format!(
                "{plugin}{parts}, a thaw of cycle {}: {}; {next}{refuses}. vssctl forgive {plugin} writes it off",
                debt.cycle, debt.why
            )),
        );
    }
    for (name, brief) in [("Last backup", &status.last_backup), ("Last CHECK", &status.last_check)] {
        row(name, &self::brief(brief.as_ref(), now_ms, paper));
    }
    if let Some(trouble) = &status.trouble {
        row("Trouble", &paper.ink(Ink::Bad, "see below"));
        let _ = writeln!(text, "\n{}", paper.wrap(0, trouble));
    }
    let _ = writeln!(text, "\n{}", paper.ink(Ink::Heading, "Plugins"));
    text.push_str(&plugins(&status.plugins, paper));
    let _ = writeln!(text, "\n{}", paper.ink(Ink::Heading, "Since the daemon began"));
    let _ = writeln!(text, "{}", counted(&status.counters, paper));
    text
}

fn brief(brief: Option<&Brief>, now_ms: u64, paper: &Paper) -> String {
    let Some(brief) = brief else { return paper.ink(Ink::Faint, "none yet") };
    let result = paper.ink(ink_of(&brief.ending), &word_of(&brief.ending));
    let mut text =
        format!("{result}, {} ({}), cycle {}", moment(brief.began_ms), ago(brief.began_ms, now_ms), brief.cycle);
    for detail in brief.ending.details() {
        let _ = write!(text, "\n{}{}", " ".repeat(COLUMN), paper.wrap(COLUMN, detail));
    }
    text
}

/// A line for each plugin, in the order they are asked, and another one where something is wrong.
pub(super) fn plugins(plugins: &[PluginStatus], paper: &Paper) -> String {
    if plugins.is_empty() {
        return "  none: without at least ufs.so every backup is refused\n".to_owned();
    }
    let mut text = String::new();
    let mut ordered: Vec<&PluginStatus> = plugins.iter().collect();
    ordered.sort_by(|one, other| (one.number, &one.name).cmp(&(other.number, &other.name)));
    for plugin in ordered {
        let roles = match (plugin.application, plugin.filesystem, plugin.observer) {
            (true, true, _) => "app+fs",
            (true, false, _) => "app",
            (false, true, _) => "fs",
            (false, false, true) => "obs",
            (false, false, false) => "-",
        };
        let name = paper.cell(14, &plugin.name);
        let version = paper.cell(8, plugin.version.as_deref().unwrap_or("-"));
        let process = plugin.pid.map_or_else(|| "no process".to_owned(), |pid| format!("process {pid}"));
        let _ = write!(
            text,
            "  {:02} {name} {version} {} {}",
            plugin.number,
            paper.cell(6, roles),
            paper.cell(15, &process)
        );
        let restarts = match plugin.restarts {
            0 => String::new(),
            1 => ", restarted once".to_owned(),
            times => format!(", restarted {times} times"),
        };
        match &plugin.trouble {
            None => {
                let _ = writeln!(text, " {}{restarts}", paper.ink(Ink::Good, "ready"));
            }
            Some(trouble) => {
                let _ = writeln!(text, " {}{restarts}\n     {}", paper.ink(Ink::Bad, "unfit"), paper.wrap(5, trouble));
            }
        }
    }
    text
}

fn counted(counters: &Counters, paper: &Paper) -> String {
    let counted = [
        (counters.backups_ok, "backups ok"),
        (counters.backups_refused, "refused"),
        (counters.backups_failed, "failed"),
        (counters.backups_expired, "expired"),
        (counters.backups_died, "died"),
        (counters.aftermaths, "with an aftermath"),
        (counters.out_of_place, "requests out of place"),
        (counters.checks_ok, "CHECKs ok"),
        (counters.checks_failed, "CHECKs failed"),
        (counters.rehearsals, "rehearsals"),
        (counters.plugin_restarts, "plugin restarts"),
        (counters.hook_failures, "hook failures"),
        (counters.late_answers, "late answers"),
    ];
    let counted: Vec<String> = counted.iter().map(|(count, of)| format!("{count} {of}")).collect();
    format!("  {}", paper.wrap(2, &counted.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hv_vss_core::control::{DebtStatus, HeldOne};
    use hv_vss_core::record::{CycleResult, Ending};

    const PAPER: Paper = Paper { width: 80, colour: false, unicode: true };
    const NOW: u64 = 1_795_388_400_000;

    fn healthy() -> Status {
        let plugin = PluginStatus {
            name: "ufs".into(),
            version: Some("0.1.0".into()),
            description: Some("Suspends UFS".into()),
            number: 50,
            pid: Some(71),
            filesystem: true,
            application: false,
            observer: false,
            trouble: None,
            restarts: 0,
        };
        Status {
            version: "0.1.0".into(),
            pid: 70,
            state: "idle".into(),
            since_ms: 200_000,
            cycle: None,
            driver: "base".into(),
            limit_ms: 15_000,
            held: vec![],
            last_backup: None,
            last_check: None,
            trouble: None,
            debts: Vec::new(),
            plugins: vec![PluginStatus { name: "zfs_veto".into(), number: 99, ..plugin.clone() }, plugin],
            counters: Counters { backups_ok: 3, ..Counters::default() },
        }
    }

    fn ended(result: CycleResult, sentence: &str) -> Option<Brief> {
        let ending = Ending { result: Some(result), sentence: sentence.into(), ..Ending::default() };
        Some(Brief { cycle: "c7".into(), began_ms: NOW - 10_000, ending })
    }

    #[test]
    fn it_is_unwell_after_every_backup_that_did_not_end_well_and_after_no_other() {
        let after = |result| exit(&Status { last_backup: ended(result, ""), ..healthy() });
        assert_eq!(exit(&healthy()), Exit::Well);
        assert_eq!(after(CycleResult::Ok), Exit::Well);
        for result in CycleResult::ALL.into_iter().filter(|result| *result != CycleResult::Ok) {
            assert_eq!(after(result), Exit::Unwell, "{result:?}");
        }
        assert_eq!(exit(&Status { trouble: Some("x".into()), ..healthy() }), Exit::Unwell);
    }

    #[test]
    fn a_debt_is_shown_with_what_it_waits_for_and_how_to_write_it_off() {
        let debt = DebtStatus {
            plugin: "exec_hook".into(),
            cycle: "c7".into(),
            parts: vec!["10-db".into()],
            why: "10-db thaw did not run: chmod go-w /x/10-db".into(),
            next_ms: Some(4_200),
            required: true,
        };
        let trouble = Some("plugin exec_hook still owes the thaw of 10-db".into());
        let status = Status { debts: vec![debt], trouble, ..healthy() };
        let shown = text(&status, NOW, &PAPER).split_whitespace().collect::<Vec<_>>().join(" ");
        for words in [
            "Owed exec_hook (10-db), a thaw of cycle c7: 10-db thaw did not run: chmod go-w /x/10-db; it is tried again in 4.00 s",
            "until then backups are refused. vssctl forgive exec_hook writes it off",
        ] {
            assert!(shown.contains(words), "\"{words}\" is not in: {shown}");
        }
        assert_eq!(exit(&status), Exit::Unwell);
    }

    #[test]
    fn why_the_last_backup_failed_stands_below_it_within_eighty_columns() {
        let sentence = "exec_hook: 10-mysql.sh freeze failed with exit status 1 after 3.0s; output: can't connect to the server through socket";
        let shown = text(&Status { last_backup: ended(CycleResult::Failed, sentence), ..healthy() }, NOW, &PAPER);
        assert!(shown.contains("Last backup  failed, 2026-11-22 22:59:50Z (10.0 s ago), cycle c7\n"), "{shown}");
        assert!(shown.split_whitespace().collect::<Vec<_>>().join(" ").contains(sentence), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    }

    #[test]
    fn everything_that_is_held_is_named() {
        let held = |name: &str| HeldOne { name: name.into(), stands: "held".into() };
        let shown = text(&Status { held: vec![held("exec_hook"), held("/data")], ..healthy() }, NOW, &PAPER);
        assert!(shown.contains("exec_hook: held\n") && shown.contains("/data: held\n"), "{shown}");
    }

    #[test]
    fn plugins_stand_in_the_order_in_which_they_are_asked_and_trouble_is_said() {
        let mut status = healthy();
        status.plugins[0].trouble = Some("its file is writable for everyone".into());
        status.plugins[0].pid = None;
        let shown = text(&status, NOW, &PAPER);
        assert!(shown.find("50 ufs") < shown.find("99 zfs_veto"), "{shown}");
        assert!(shown.contains("no process") && shown.contains("its file is writable for everyone"), "{shown}");
    }
}
