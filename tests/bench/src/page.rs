//! The page docs/performance.md: what people wrote stays, what was measured is put between two marks.

use std::fs;
use std::path::Path;

use crate::figure::Results;
use crate::{chart, table};

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// What a run was made on.
pub(crate) struct Circumstances {
    /// Sentences.
    pub(crate) lines: Vec<String>,
}

impl Circumstances {
    /// Of this machine, this moment, and these peers.
    pub(crate) fn now(peers: &[String], build: &str) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let model =
            cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
        let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
        let kernel = read("/proc/sys/kernel/osrelease");
        let load = read("/proc/loadavg");
        let load = load.split(' ').next().unwrap_or("unknown");
        let lines = vec![
            format!("{count} processors ({}), Linux {}", model.unwrap_or("of unknown make"), kernel.trim_end()),
            format!("{build} build; load average {load} when it began"),
            format!("peers: {}", peers.join(", ")),
        ];
        Self { lines }
    }
}

/// The page with these results in it.
///
/// # Errors
/// When the marks are missing.
pub(crate) fn with_results(page: &str, results: &Results, circumstances: &Circumstances) -> Result<String, String> {
    let missing = || format!("the page has no lines \"{BEGIN}\" and \"{END}\" for what was measured");
    let (before, rest) = page.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    let circumstances: String = circumstances.lines.iter().map(|line| format!("- {line}\n")).collect();
    let table = table::markdown(&results.figures);
    Ok(format!("{before}{BEGIN}\n{circumstances}\n{table}{END}{after}"))
}

/// Writes page, picture and ratios below `docs`.
pub(crate) fn publish(docs: &Path, results: &Results, circumstances: &Circumstances) -> Result<(), String> {
    let path = docs.join("performance.md");
    let failed = |error: std::io::Error| format!("can't write {}: {error}", path.display());
    let page = fs::read_to_string(&path).map_err(failed)?;
    fs::write(&path, with_results(&page, results, circumstances)?).map_err(failed)?;
    fs::write(docs.join("performance.svg"), chart::svg(results)).map_err(failed)?;
    let text = serde_json::to_string_pretty(&results.figures).map_err(|error| error.to_string())?;
    fs::write(docs.join("performance.json"), text + "\n").map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_stays_and_what_was_measured_is_replaced() {
        let circumstances = Circumstances { lines: vec!["a machine".into()] };
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = with_results(&page, &Results::default(), &circumstances).unwrap_or_default();
        assert!(new.starts_with("before\n") && new.ends_with("\nafter\n"), "{new}");
        assert!(new.contains("- a machine\n") && !new.contains("old"), "{new}");
        assert_eq!(with_results(&new, &Results::default(), &circumstances), Ok(new));
    }

    #[test]
    fn a_page_without_marks_is_left_alone() {
        assert!(with_results("text", &Results::default(), &Circumstances { lines: vec![] }).is_err());
    }
}
