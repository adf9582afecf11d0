//! What came of a trial, for people and for programs.

use std::fmt;

use hv_vss_wire::About;
use serde::Serialize;

/// One promise of the header, and whether the plugin kept it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The promise, as a claim.
    pub claim: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Whether a promise was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "snake_case")]
pub enum Verdict {
    /// It was.
    Kept,
    /// It was not; a sentence says what happened instead.
    Broken(String),
    /// It could not be tried; a sentence says why.
    Skipped(String),
}

/// All findings about one plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The plugin's file.
    pub file: String,
    /// What it says of itself, if it could be loaded.
    pub about: Option<About>,
    /// What was tried, in order.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether no promise was found broken: the exit code of `vssctl plugin test`.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.findings.iter().any(|finding| matches!(finding.verdict, Verdict::Broken(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.about {
            Some(about) => writeln!(f, "{}: {} {} ({})", self.file, about.name, about.version, about.description)?,
            None => writeln!(f, "{}:", self.file)?,
        }
        for Finding { claim, verdict } in &self.findings {
            match verdict {
                Verdict::Kept => writeln!(f, "  ok       {claim}")?,
                Verdict::Broken(why) => writeln!(f, "  BROKEN   {claim}: {why}")?,
                Verdict::Skipped(why) => writeln!(f, "  skipped  {claim}: {why}")?,
            }
        }
        f.write_str(if self.passed() {
            "The plugin keeps its promises.\n"
        } else {
            "The plugin does not keep its promises.\n"
        })
    }
}
