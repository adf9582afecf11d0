//! The sample configuration and hv_vss.toml(5) against the programs: the same keys, the same defaults, and nothing that is not understood.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hv_vss_core::config::{Config, PluginConfig};
use hv_vss_core::mapped::Accept;
use hv_vss_packaging::config::{
    sample, sample_with_defaults_in_force, sample_with_examples_in_force, told_by_the_manual, told_by_the_sample,
};
use hv_vss_packaging::source;

#[track_caller]
fn parse(text: &str) -> Config {
    Config::parse(Path::new("sample"), text).unwrap_or_else(|error| panic!("{error}"))
}

/// The keys that the parser would take in this place: what it says when it gets another one.
fn known(table: &str) -> BTreeSet<String> {
    let text = if table.is_empty() { "zzz = 1".to_owned() } else { format!("{table}\nzzz = 1") };
    let error = Config::parse(Path::new("x"), &text).unwrap_err().to_string();
    let (_, expected) = error.split_once("expected").unwrap_or_else(|| panic!("it names no keys: {error}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A constant of a plugin, read in its source, since a plugin tells its defaults to nobody.
#[track_caller]
fn constant(file: &str, before: &str, after: &str) -> String {
    let text = fs::read_to_string(source(file)).unwrap();
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    found.unwrap_or_else(|| panic!("{file} has no {before}")).0.to_owned()
}

fn told(table: &str) -> BTreeSet<String> {
    told_by_the_sample()[table].keys().cloned().collect()
}

#[test]
fn the_sample_as_it_is_sets_nothing() {
    let mut config = parse(&sample());
    assert!(config.plugins.values().all(|plugin| *plugin == PluginConfig::default()), "{:?}", config.plugins);
    config.plugins.clear();
    assert_eq!(config, parse(""));
}

#[test]
fn with_every_default_line_in_force_the_orchestrator_has_exactly_its_defaults() {
    let mut config = parse(&sample_with_defaults_in_force());
    assert_eq!(config.plugins.len(), 4);
    config.plugins.clear();
    assert_eq!(config, parse(""));
    // Every key that has a default at all stands there as such a line; these are the ones that have none.
    let without: Vec<_> = ["device", "time", "paths", "metrics"]
        .iter()
        .flat_map(|table| told_by_the_sample()[*table].clone())
        .filter_map(|(key, default)| default.is_none().then_some(key))
        .collect();
    assert_eq!(without, ["mount_table", "limit", "textfile"]);
}

#[test]
fn with_every_default_line_in_force_each_plugin_has_exactly_its_defaults() {
    let config = parse(&sample_with_defaults_in_force());
    // It lies where plugins are off by default, and nobody waits for it.
    let report = config.plugin("kvp_report");
    assert_eq!((report.enabled, report.number), (Some(false), None));
    let directory = constant("kvp/pool/src/lib.rs", "const DIRECTORY: &str = \"", "\"");
    assert_eq!((report.settings["directory"].as_str(), report.settings.len()), (Some(directory.as_str()), 1));
    for (name, plugin) in config.plugins.iter().filter(|(name, _)| *name != "kvp_report") {
        let file = match name.as_str() {
            "exec_hook" => "plugins/exec-hook/src/plugin.rs".to_owned(),
            other => format!("plugins/{}/src/lib.rs", other.replace('_', "-")),
        };
        let number: u8 = constant(&file, ".with_number(", ")").parse().unwrap();
        assert_eq!((plugin.enabled, plugin.number), (Some(true), Some(number)), "{name}");
    }

    let hooks = config.plugin("exec_hook");
    // A new key of all plugins has to come into the sample and the manual: name it here, and there.
    let PluginConfig { enabled, number: _, required, run_after_restore, process_limits, settings } = hooks;
    assert_eq!((enabled, required, run_after_restore), (Some(true), Some(true), Some(false)));
    let limits: Vec<_> = process_limits.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(limits, [("memory", "1G"), ("descriptors", "256"), ("core", "0")]);
    let of_hosts = constant("plugins/worker/src/limits.rs", "fn default() -> Self {", "}");
    assert_eq!(of_hosts.trim(), "Self { memory: Some(1 << 30), descriptors: 256, core: 0");

    let file = "plugins/exec-hook/src/settings.rs";
    let expected = [
        ("directory", constant(file, "const DIRECTORY: &str = \"", "\"")),
        ("limit", constant(file, "const LIMIT: Duration = Duration::from_secs(", ")") + "s"),
    ];
    let mut expected: serde_json::Map<_, _> =
        expected.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    expected.insert("allow_alike".to_owned(), false.into());
    assert_eq!(settings, expected);

    let device = constant("plugins/ufs/src/lib.rs", "const DEVICE: &str = \"", "\"");
    assert_eq!(config.plugin("ufs").settings["device"], device);
    let node = constant("platform/src/vfsfreeze.rs", "pub const NODE: &str = \"", "\"");
    assert_eq!(config.plugin("ufs").settings["vfsfreeze"], node);
    assert_eq!(config.plugin("ufs").settings.len(), 2);
    assert!(config.plugin("zfs_veto").settings.is_empty());
}

#[test]
fn every_key_that_is_understood_is_in_the_sample_and_no_other() {
    assert_eq!(known(""), ["device", "time", "paths", "filesystems", "metrics", "plugin"].map(str::to_owned).into());
    for table in ["device", "time", "paths", "metrics"] {
        assert_eq!(told(table), known(&format!("[{table}]")), "[{table}]");
    }
    assert_eq!(known("[filesystems]"), ["exempt".to_owned()].into());
    assert_eq!(told("filesystems.exempt"), known("[[filesystems.exempt]]"));
    // The plugins' own keys, as they name them when they refuse another one.
    let hooks = constant("plugins/exec-hook/src/settings.rs", "const KNOWN: &str = \"", "\";");
    let (all, each) = hooks.split_once(", and in ").unwrap();
    let list = |text: &str| text.split(", ").map(str::to_owned).collect::<BTreeSet<_>>();
    let common: BTreeSet<_> = told("plugin.exec_hook").difference(&list(all)).cloned().collect();
    assert_eq!(common, list("enabled, number, required, run_after_restore, memory, descriptors, core"));
    assert_eq!(told("plugin.exec_hook.hook.\"10-mysql.sh\""), list(each.split_once("] ").unwrap().1));
    let ufs = constant("plugins/ufs/src/lib.rs", "refuse_unknown(&[", "])");
    assert_eq!(ufs, "\"device\", \"vfsfreeze\"");
    // The orchestrator takes these two out of the table.
    assert_eq!(told("plugin.ufs"), list("enabled, number, device, vfsfreeze, stopped_by, mapped"));
    assert_eq!(constant("plugins/kvp-report/src/plugin.rs", "refuse_unknown(&[", "])"), "\"directory\"");
    assert_eq!(constant("plugins/zfs-veto/src/lib.rs", "refuse_unknown(&[", "])"), "");
}

#[test]
fn the_manual_tells_the_same_keys_and_defaults_as_the_sample() {
    let (mut manual, mut sample) = (told_by_the_manual(), told_by_the_sample());
    for table in ["filesystems.exempt", "time", "paths", "metrics", "device", "plugin.ufs", "plugin.kvp_report"] {
        let mut of_sample = sample.remove(table).unwrap();
        if table.starts_with("plugin.") {
            // What all plugins have is told once in the manual.
            of_sample.retain(|key, _| !["enabled", "number"].contains(&key.as_str()));
        }
        assert_eq!(manual.remove(table).unwrap(), of_sample, "{table}");
    }
    let (common, own) = (manual.remove("plugin.NAME").unwrap(), manual.remove("plugin.exec_hook").unwrap());
    let mut hooks = sample.remove("plugin.exec_hook").unwrap();
    // The default of the number is the plugin's own.
    hooks.insert("number".to_owned(), None);
    assert_eq!(common.into_iter().chain(own).collect::<std::collections::BTreeMap<_, _>>(), hooks);

    let one = manual.remove("plugin.exec_hook.hook.\"NN-name\"").unwrap();
    let of_sample = sample.remove("plugin.exec_hook.hook.\"10-mysql.sh\"").unwrap();
    assert_eq!(one.keys().collect::<Vec<_>>(), of_sample.keys().collect::<Vec<_>>());
    assert_eq!(manual, Default::default(), "tables that the sample does not have");
    sample.remove("plugin.zfs_veto");
    assert_eq!(sample, Default::default(), "tables that the manual does not have");
}

#[test]
fn every_example_is_understood_and_the_efi_partition_is_among_them() {
    let config = parse(&sample_with_examples_in_force());
    let exempt: Vec<_> = config.exemptions.iter().map(|one| (one.fstype.as_str(), one.mount.as_deref())).collect();
    assert!(exempt.contains(&("msdosfs", Some("/boot/efi"))), "{exempt:?}");
    assert!(config.limit_is_given && config.mount_table.is_some() && config.metrics_file.is_some());
    assert!(!config.mapped.stopped_by.is_empty() && config.mapped.accept != Accept::Nothing);
    assert!(config.plugin("exec_hook").settings.contains_key("hook"));

    // The package's message sends the reader to exactly this place.
    let message = fs::read_to_string(source("packaging/freebsd-port/files/pkg-message.in")).unwrap();
    assert!(message.contains("/boot/efi") && message.contains("hv_vss.toml"));
}

#[test]
fn the_example_of_the_manual_is_understood() {
    let manual = fs::read_to_string(source("man/hv_vss.toml.5")).unwrap();
    let (_, examples) = manual.split_once(".Sh EXAMPLES").unwrap();
    let (_, example) = examples.split_once("-offset indent\n").unwrap();
    let config = parse(example.split_once(".Ed").unwrap().0);
    assert_eq!(config.exemptions.len(), 1);
    assert!(config.plugin("exec_hook").settings.contains_key("hook"));
}
