//! Who takes no part in a backup although somebody counts on him: a plugin that is configured and not there, scripts without the plugin that runs
//! them. Without them a backup would look as good as with them.

use std::path::Path;

use exec_hook::{DEFAULT_DIRECTORY, Verdict, survey};

use hv_vss_core::config::{Config, PluginConfig, same_name};

/// The plugin that runs scripts.
const SCRIPTS: &str = "exec_hook";

/// Why a backup has to be refused for that, each a sentence with what to do. `there`: is there a file of a plugin of this name?
pub fn reasons(config: &Config, there: impl Fn(&str) -> bool) -> Vec<String> {
    let counted_on = |plugin: &PluginConfig| plugin.enabled != Some(false) && plugin.required != Some(false);
    let missing = config.plugins.iter().filter(|(name, plugin)| counted_on(plugin) && !there(name));
    let mut reasons: Vec<String> = missing
        .map(|(name, _)| {
            format!(
                "[plugin.{name}] is configured, and there is no {name}.so in {}: install it, correct the name, or set enabled = false there",
                config.paths.plugins.display()
            )
        })
        .collect();
    if !there(SCRIPTS) && !config.plugins.keys().any(|name| same_name(name, SCRIPTS)) {
        reasons.extend(scripts_alone(Path::new(DEFAULT_DIRECTORY), &config.paths.plugins));
    }
    reasons
}

fn scripts_alone(scripts: &Path, plugins: &Path) -> Option<String> {
    // One that can't be read is none that somebody filled; the plugin itself would say more.
    let found = survey(scripts).ok()?.into_iter().find(|file| matches!(file.verdict, Verdict::Runs { .. }))?;
    Some(format!(
        "{} lies in {} and would not be run, since there is no exec_hook.so in {}: install it, or set enabled = false in [plugin.exec_hook]",
        found.name,
        scripts.display(),
        plugins.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_configured_plugin_that_is_not_there_is_a_reason_unless_nobody_counts_on_it() {
        let text = "[plugin.exechook]\ndirectory = \"/site\"\n[plugin.exec-hook]\n[plugin.vendor]\nenabled = false\n[plugin.other]\nrequired = false\n";
        let config = Config::parse(Path::new("x"), text).unwrap();
        let reasons = reasons(&config, |name| same_name(name, "exec_hook"));
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(
            reasons[0].starts_with("[plugin.exechook] is configured, and there is no exechook.so in "),
            "{reasons:?}"
        );
    }

    #[test]
    fn scripts_without_the_plugin_that_runs_them_are_a_reason() {
        hv_vss_testbed::needs!(Root);
        let directory = std::env::temp_dir().join(format!("hv_vss-scripts-alone-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let told = || scripts_alone(&directory, Path::new("/plugins"));
        fs::write(directory.join("README"), "nothing to run").unwrap();
        assert_eq!(told(), None);
        fs::write(directory.join("50-app"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(directory.join("50-app"), Permissions::from_mode(0o755)).unwrap();
        assert!(told().unwrap().starts_with("50-app lies in "));
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(told(), None);
    }
}
