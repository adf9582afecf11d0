//! Spans of time in the configuration: the orchestrator's, and those that plugins read.

use std::path::Path;
use std::time::Duration;

use hv_vss_core::config::Config;
use hv_vss_plugin::Config as PluginConfig;
use proptest::prelude::*;

/// What the orchestrator makes of `max_frozen = "..."`.
fn read(text: &str) -> Option<Duration> {
    let file = format!("[time]\nmax_frozen = '{text}'\n");
    Config::parse(Path::new("x"), &file).ok().map(|config| config.limits.max_frozen)
}

fn read_by_a_plugin(text: &str) -> Option<Duration> {
    PluginConfig::of(&[("limit", text)]).duration("limit").ok().flatten()
}

proptest! {
    #![proptest_config(crate::tried())]

    #[test]
    fn every_number_with_a_unit_is_what_it_says(count in 0..1_000_000_000_000_u64, unit in 0..4_usize) {
        let (unit, ms) = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)][unit];
        prop_assert_eq!(read(&format!("{count}{unit}")), Some(Duration::from_millis(count * ms)));
    }

    #[test]
    fn orchestrator_and_plugins_agree_on_every_text(text in prop_oneof!["[0-9]{0,25} ?(ms|s|m|h|d|S|min)?", "[ -&(-~]{0,12}"]) {
        prop_assert_eq!(read(&text), read_by_a_plugin(&text), "{:?}", text);
    }
}
