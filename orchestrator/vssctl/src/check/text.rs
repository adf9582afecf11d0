//! A check's findings in words.

use std::fmt::Write as _;
use std::path::Path;

use super::findings::{Asked, Findings};
use crate::cycles::answered_ms;
use crate::paper::{Ink, Paper, columns};
use crate::when::{span, span_of};
use crate::{hooks, status};
use hv_vss_core::control::MountOutlook;

/// Where the text after a verdict begins.
const INDENT: usize = 10;

/// Everything, the verdict first.
pub(super) fn whole(findings: &Findings, configuration: &Path, paper: &Paper) -> String {
    let mut text = verdict(findings, paper);
    let mut section = |name: &str, body: &str| {
        if !body.is_empty() {
            let _ = write!(text, "\n{}\n{body}", paper.ink(Ink::Heading, name));
        }
    };
    section("Mounts", &mounts(findings, configuration, paper));
    section("Plugins", &status::plugins(&findings.plugins, paper));
    section(&format!("Scripts in {}", findings.hooks.directory.display()), &hooks::text(&findings.hooks, paper));
    section("Plan", &plan(findings, paper));
    let warnings: String = findings
        .warnings
        .iter()
        .map(|warning| format!("  {} {}\n", paper.ink(Ink::Warn, "!"), paper.wrap(4, warning)))
        .collect();
    section("Worth a look", &warnings);
    text
}

fn verdict(findings: &Findings, paper: &Paper) -> String {
    let vetoes = findings.outlook.mounts.iter().filter(|mount| mount.verdict == "veto");
    let vetoes: Vec<&MountOutlook> = vetoes.collect();
    // A veto's sentence stands with its mount, where the lines are that would exempt it.
    let others = findings.outlook.reasons.iter().filter(|reason| !vetoes.iter().any(|veto| veto.reason == **reason));
    let others: Vec<&String> = others.collect();
    let mut text = match (findings.would_work, findings.asked) {
        (true, Asked::Nobody) => {
            paper.ink(Ink::Good, "A backup would work, once hv_vss_daemon runs with this configuration.") + "\n"
        }
        (true, _) => paper.ink(Ink::Good, "A backup would work now.") + "\n",
        (false, _) => paper.ink(Ink::Bad, "A backup would be REFUSED now.") + "\n",
    };
    for reason in others {
        let _ = writeln!(text, "  {} {}", paper.ink(Ink::Bad, "-"), paper.wrap(4, reason));
    }
    for veto in vetoes {
        let where_to = format!("{} ({}) has a veto, see below", veto.mount.on, veto.mount.fstype);
        let _ = writeln!(text, "  {} {}", paper.ink(Ink::Bad, "-"), paper.wrap(4, &where_to));
    }
    text
}

fn mounts(findings: &Findings, configuration: &Path, paper: &Paper) -> String {
    let mounts = &findings.outlook.mounts;
    let on = mounts.iter().map(|mount| columns(&mount.mount.on)).max().unwrap_or(0).clamp(4, paper.width / 3);
    let mut text = String::new();
    for mount in mounts {
        let (ink, word) = match mount.verdict.as_str() {
            "freeze" => (Ink::Good, "freeze"),
            "ignore" => (Ink::Faint, "ignore"),
            _ => (Ink::Bad, "VETO"),
        };
        // A long path keeps its own line whole: it is what the administrator looks for.
        let place = paper.cell(on.max(columns(&mount.mount.on)), &mount.mount.on);
        let _ =
            write!(text, "  {} {place} {}", paper.ink(ink, &format!("{word:<7}")), paper.cell(8, &mount.mount.fstype));
        let _ = writeln!(text, "by {}", mount.by);
        if let Some(swap) = &mount.mount.swap {
            let _ = writeln!(
                text,
                "{}{}",
                " ".repeat(INDENT),
                paper.wrap(INDENT, &format!("the swap file {swap} lies on it"))
            );
        }
        match mount.verdict.as_str() {
            "freeze" => {}
            "veto" => text.push_str(&veto(mount, configuration, paper)),
            _ => {
                let _ = writeln!(text, "{}{}", " ".repeat(INDENT), paper.wrap(INDENT, &mount.reason));
            }
        }
    }
    text
}

/// Why, and the lines that would exempt it, ready to be copied.
fn veto(mount: &MountOutlook, configuration: &Path, paper: &Paper) -> String {
    let indent = " ".repeat(INDENT);
    let (why, lines) = exemption(mount);
    let advice = format!("If a backup may go without it being at rest, add to {}:", configuration.display());
    let mut text = format!("{indent}{}\n{indent}{}\n", paper.wrap(INDENT, &why), paper.wrap(INDENT, &advice));
    for line in lines {
        let _ = writeln!(text, "{indent}  {line}");
    }
    text
}

/// The sentence of a veto without its advice on the configuration, and that advice as lines of the configuration.
fn exemption(mount: &MountOutlook) -> (String, Vec<String>) {
    const TABLE: &str = "[[filesystems.exempt]]";
    // zfs-veto's sentences hold the lines, each in backquotes.
    if let Some(begin) = mount.reason.find(&format!("`{TABLE}`")) {
        let (why, advice) = mount.reason.split_at(begin);
        let why = why.rfind(". ").map_or(why, |end| &why[..=end]);
        return (why.trim_end().to_owned(), advice.split('`').skip(1).step_by(2).map(str::to_owned).collect());
    }
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let lines = vec![
        TABLE.to_owned(),
        format!("type = {}", quoted(&mount.mount.fstype)),
        format!("mount = {}", quoted(&mount.mount.on)),
        "reason = \"say here why a backup may leave it out\"".to_owned(),
    ];
    (mount.reason.clone(), lines)
}

fn plan(findings: &Findings, paper: &Paper) -> String {
    let outlook = &findings.outlook;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {}{}", paper.cell(14, name), paper.wrap(16, value));
    };
    if !outlook.applications.is_empty() {
        let apps: Vec<String> =
            outlook.applications.iter().map(|(number, name)| format!("{name} ({number:02})")).collect();
        row("First", &apps.join(", "));
    }
    if !outlook.freeze_order.is_empty() {
        row("Then suspend", &outlook.freeze_order.join(", "));
    }
    let limit = span_of(outlook.limit_ms);
    let scripts = findings.hooks.longest_freeze_ms();
    if scripts > 0 {
        row(
            "Scripts",
            &format!("{} at the most before the freeze, and killed when the time is over", span_of(scripts)),
        );
    }
    row("Time", &format!("{} for asking, of {limit} for everything", span_of(outlook.took_ms)));
    if let Some((last, took)) = findings.last.as_ref().and_then(|last| Some((last, answered_ms(last)?))) {
        row(
            "Last time",
            &format!("answered after {} of {}, cycle {}", span(took), span_of(last.budget_ms), last.cycle),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use hv_vss_platform::mounts::{FsId, Mount};

    use super::*;
    use crate::hooks::HooksSeen;
    use hv_vss_core::control::Outlook;

    const PAPER: Paper = Paper { width: 80, colour: false, unicode: true };

    fn mount(fstype: &str, on: &str, verdict: &str, reason: &str) -> MountOutlook {
        let fsid = FsId([1; 8]);
        let (fstype, on) = (fstype.to_owned(), on.to_owned());
        let mount = Mount { fsid, fstype, on, from: "x".into(), read_only: false, backing: None, swap: None };
        MountOutlook { mount, verdict: verdict.into(), by: "zfs_veto".into(), reason: reason.into() }
    }

    fn findings(mounts: Vec<MountOutlook>, reasons: Vec<String>) -> Findings {
        let would_work = reasons.is_empty();
        let outlook = Outlook {
            would_work,
            reasons,
            mounts,
            freeze_order: vec!["/data".into(), "/".into()],
            applications: vec![(50, "exec_hook".into())],
            took_ms: 3,
            limit_ms: 15_000,
        };
        let hooks = HooksSeen { directory: "/hooks.d".into(), unreadable: None, hooks: vec![], not_run: None };
        Findings { would_work, asked: Asked::Daemon, outlook, plugins: vec![], hooks, warnings: vec![], last: None }
    }

    fn shown(findings: &Findings) -> String {
        whole(findings, Path::new("/usr/local/etc/hv_vss/hv_vss.toml"), &PAPER)
    }

    #[test]
    fn a_veto_shows_the_lines_that_would_exempt_it_ready_to_be_copied() {
        let reason = "/tank (zfs, from tank) can't be frozen: no way. To take backups without it being at rest, add to hv_vss.toml the lines `[[filesystems.exempt]]` `type = \"zfs\"` `mount = \"/tank\"` `reason = \"ZFS is consistent on disk at any time\"`";
        let findings = findings(vec![mount("zfs", "/tank", "veto", reason)], vec![reason.to_owned()]);
        let shown = shown(&findings);
        assert!(shown.starts_with("A backup would be REFUSED now.\n"), "{shown}");
        let lines: String = shown
            .lines()
            .map(str::trim)
            .skip_while(|line| *line != "[[filesystems.exempt]]")
            .take(4)
            .map(|line| format!("{line}\n"))
            .collect();
        let config = hv_vss_core::config::Config::parse(Path::new("x"), &lines).unwrap();
        assert_eq!(config.exemptions.len(), 1, "{lines}");
        assert_eq!(config.exemptions[0].mount.as_deref(), Some("/tank"));
        assert!(!shown.contains("To take backups without"), "the advice is not said twice: {shown}");
    }

    #[test]
    fn a_veto_without_lines_of_its_own_gets_them_whatever_the_mount_is_called() {
        let findings = findings(vec![mount("ufs", "/a \"b\"", "veto", "the swap file lies there")], vec!["x".into()]);
        let shown = shown(&findings);
        let lines: String = shown
            .lines()
            .map(str::trim)
            .skip_while(|line| *line != "[[filesystems.exempt]]")
            .take(4)
            .map(|line| format!("{line}\n"))
            .collect();
        let config = hv_vss_core::config::Config::parse(Path::new("x"), &lines).unwrap();
        assert_eq!(config.exemptions[0].mount.as_deref(), Some("/a \"b\""));
    }

    #[test]
    fn every_reason_and_every_verdict_is_shown_within_eighty_columns() {
        let mounts = vec![
            mount("ufs", "/", "freeze", ""),
            mount("devfs", "/dev", "ignore", "devfs shows devices and keeps nothing on a disk"),
            mount(
                "zfs",
                "/a/rather/long/mount/point/of/a/jail",
                "veto",
                "it is ZFS, and nobody here knows how to bring that to rest for a backup",
            ),
        ];
        let reason = "exec_hook: 20-pg is not executable: chmod +x /usr/local/etc/hv_vss/hooks.d/20-pg, or end its name in .sample";
        let shown = shown(&findings(mounts, vec![reason.to_owned()]));
        let flat = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        for said in [reason, "keeps nothing on a disk", "it is ZFS, and nobody", "(zfs) has a veto", "/data, /"] {
            assert!(flat.contains(said), "{said} in {shown}");
        }
        assert!(shown.lines().all(|line| columns(line) <= 80), "{shown}");
    }

    #[test]
    fn without_a_daemon_the_promise_is_for_when_it_runs() {
        let mut findings = findings(vec![], vec![]);
        assert!(shown(&findings).starts_with("A backup would work now.\n"));
        findings.asked = Asked::Nobody;
        assert!(shown(&findings).starts_with("A backup would work, once hv_vss_daemon runs"));
    }
}
