//! What is understood, and how what is not is told.

use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("/etc/hv_vss.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_gives_the_defaults_of_an_installed_system() {
    let config = parse("").unwrap();
    assert_eq!(config.node, Path::new("/dev/hv_fsvss_dev"));
    assert_eq!(config.limits.limit, Duration::from_secs(15));
    assert_eq!(config.limits.max_frozen, Duration::from_secs(60));
    assert!(!config.limit_is_given);
    assert!(config.exemptions.is_empty());
}

#[test]
fn a_mistyped_key_is_named_with_its_line() {
    let error = parse("[time]\nlimit = \"15s\"\nmax_frosen = \"60s\"\n").unwrap_err();
    assert!(error.contains("/etc/hv_vss.toml") && error.contains("line 3") && error.contains("max_frosen"), "{error}");
    assert!(error.contains("max_frozen"), "what would have been right is named: {error}");
}

/// The parser names no place then, and none is made up.
#[test]
fn tables_in_tables_without_end_are_refused_without_a_line_that_is_wrong() {
    let error = parse(&format!("[time]\n[plugin.a{}]\n", ".b".repeat(500))).unwrap_err();
    assert!(error.contains("/etc/hv_vss.toml") && error.contains("without end (recursion limit)"), "{error}");
    assert!(!error.contains("line 1"), "{error}");
}

#[test]
fn a_mistyped_exemption_is_refused_and_never_ignored() {
    let error = parse("[[filesystems.exempt]]\ntype = \"zfs\"\nmont = \"/tank\"\nreason = \"x\"\n").unwrap_err();
    assert!(error.contains("line 3") && error.contains("mont"), "{error}");
    let error = parse("[[filesystems.exempt]]\ntype = \"zfs\"\nmount = \"/tank\"\n").unwrap_err();
    assert!(error.contains("reason"), "{error}");
}

#[test]
fn a_span_without_a_unit_is_explained() {
    let error = parse("[time]\nmax_frozen = \"60\"\n").unwrap_err();
    assert!(error.contains("line 2") && error.contains("such as \"15s\""), "{error}");
}

#[test]
fn a_reserve_that_eats_the_limit_is_refused() {
    let error = parse("[time]\nlimit = \"1s\"\nreserve = \"1s\"\n").unwrap_err();
    assert!(error.contains("reserve") && error.contains("smaller"), "{error}");
}

#[test]
fn a_plugins_own_keys_go_to_the_plugin_and_the_orchestrators_do_not() {
    let config = parse("[plugin.exec-hook]\nnumber = 40\nenabled = true\ndirectory = \"/hooks\"\n").unwrap();
    let plugin = config.plugin("exec_hook");
    assert_eq!((plugin.number, plugin.enabled, plugin.required), (Some(40), Some(true), None));
    assert_eq!(plugin.settings.len(), 1);
    assert_eq!(plugin.settings["directory"], "/hooks");
}

#[test]
fn a_plugin_number_out_of_range_is_refused_by_name() {
    let error = parse("[plugin.ufs]\nnumber = 100\n").unwrap_err();
    assert!(error.contains("[plugin.ufs] number = 100"), "{error}");
}

#[test]
fn the_line_of_an_error_is_not_shown_where_a_log_would_keep_it_since_a_password_may_stand_there() {
    for text in [
        "[plugin.vendor]\nuser = \"backup\"\npassword = hunter2\n",
        "[plugin.vendor]\nuser = \"backup\"\npassword = \"hunter2\n",
        "[plugin.vendor]\nuser = \"backup\"\npassword \"hunter2\"\n",
        "[plugin.vendor]\npassword = \"hunter2\"\npassword = \"hunter2\"\n",
    ] {
        let error = Config::parse(Path::new("/etc/hv_vss.toml"), text).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("/etc/hv_vss.toml has an error at line 3, column "), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        // For who edits it there is the line.
        assert!(format!("{error:#}").contains("hunter2"));
    }
}

#[test]
fn a_value_that_no_plugin_can_be_given_as_it_is_written_is_refused() {
    for value in ["1979-05-27T07:32:00Z", "inf", "-nan", "[1, inf]", "{ a = { b = 07:32:00 } }"] {
        let error = parse(&format!("[plugin.x]\nvalue = {value}\n")).unwrap_err();
        assert!(error.contains("[plugin.x]") && error.contains("can't be handed to a plugin"), "{value}: {error}");
    }
}
