//! Everything that vssctl could make of one answer, at once: for the fuzzer, which is interested in none of it by itself. Not in vssctl.

use std::path::Path;

use super::paper::Paper;
use super::settings::Settings;
use super::{cycles, status, timeline};
use hv_vss_core::config::Config;
use hv_vss_core::control::Reply;

/// Every text that this answer could be shown as.
#[must_use]
pub fn answer(reply: &Reply, now_ms: u64, paper: &Paper) -> Vec<String> {
    match reply {
        Reply::Status(said) => vec![status::text(said, now_ms, paper), status::plugins(&said.plugins, paper)],
        Reply::Records { records, damage } => {
            let mut shown = vec![cycles::list(records, damage.as_deref(), paper)];
            for record in records {
                shown.push(cycles::whole(record, paper));
                shown.push(timeline::terminal(record, paper));
            }
            shown
        }
        Reply::Refused { reason } => vec![paper.wrap(0, reason)],
        Reply::Outlook(_) | Reply::Done | Reply::Metrics { .. } => Vec::new(),
    }
}

/// What `vssctl config show` makes of a configuration.
///
/// # Errors
/// When it can't be shown.
pub fn configuration(path: &Path, text: &str, config: &Config, paper: &Paper) -> Result<String, String> {
    let settings = Settings { path: path.into(), text: Some(text.to_owned()), config: config.clone() };
    super::config::shown(&settings, paper)
}
