//! Any text as the configuration: it is read or refused with a sentence that says where, never a panic; and what `vssctl config show` makes of one
//! that is right is a configuration that means the same.
#![no_main]

use std::path::Path;

use hv_vss_core::config::{Config, ConfigError, PluginConfig};
use libfuzzer_sys::fuzz_target;
use vssctl::{Paper, shown};

const PAPER: Paper = Paper { width: 80, colour: false, unicode: true };

/// A plugin's table with nothing in it says nothing.
fn says(mut config: Config) -> Config {
    config.plugins.retain(|_, plugin| *plugin != PluginConfig::default());
    config
}

fuzz_target!(|text: &str| {
    let path = Path::new("/etc/hv_vss.toml");
    let config = match Config::parse(path, text) {
        Ok(config) => config,
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.contains("/etc/hv_vss.toml"), "{sentence}");
            if let ConfigError::Wrong(_, _, cause) = &error {
                assert!(cause.span().is_some(), "nobody is told where: {sentence}");
            }
            return;
        }
    };
    assert!(config.limits.reserve < config.limits.limit);
    assert!(config.plugins.values().all(|plugin| plugin.number.is_none_or(|number| number <= 99)));
    let shown = shown::configuration(path, text, &config, &PAPER).expect("what was read can be shown");
    let again = Config::parse(path, &shown).unwrap_or_else(|error| panic!("{error} in\n{shown}"));
    assert_eq!(says(again), says(config), "{shown}");
});
