//! Every setting that is in force, and where its value came from. The text is itself a configuration file.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use hv_vss_wire::is_obeyed;
use serde::Serialize;
use toml::de::{DeString, DeTable, DeValue};
use toml::{Spanned, Value};

use crate::paper::{Ink, Paper, columns};
use crate::settings::Settings;
use hv_vss_core::config::Config;

/// A setting.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Entry {
    /// Its table as the file's heading has it, such as `[time]` or `[[filesystems.exempt]]`.
    pub(super) table: String,
    pub(super) key: String,
    /// Its value, as TOML. None: it is not set, and what then holds is said by `from`.
    pub(super) value: Option<String>,
    /// `default`, a line of the file, or a sentence.
    pub(super) from: String,
}

/// Every setting, table by table.
///
/// # Errors
/// Never for a configuration that was loaded: what can't be read as TOML was refused before.
pub(super) fn entries(settings: &Settings) -> Result<Vec<Entry>, String> {
    let text = settings.text.as_deref().unwrap_or_default();
    let parsed = DeTable::parse(text).map_err(|error| error.to_string())?;
    let file = File { text, path: &settings.path };
    let mut entries = Vec::new();
    for (table, key, default) in defaults(&settings.config) {
        let written = parsed.get_ref().get(table).and_then(|value| value.get_ref().get(key));
        let (value, from) = match (written, default) {
            (Some(written), _) => (Some(file.value(written)), file.line(written.span().start)),
            (None, Ok(value)) => (Some(value.to_string()), "default".to_owned()),
            (None, Err(why)) => (None, why.to_owned()),
        };
        entries.push(Entry { table: format!("[{table}]"), key: key.to_owned(), value, from });
    }
    for (heading, value) in as_written(parsed.get_ref()) {
        match (heading.get_ref().as_ref(), value.get_ref()) {
            // Told above, with its defaults.
            (table, _) if defaults(&settings.config).iter().any(|(known, ..)| *known == table) => {}
            (name, DeValue::Table(table)) => file.table(name, table, &mut entries),
            // `Config` was made from this text, and has no single keys outside of tables.
            (_, _) => {}
        }
    }
    Ok(entries)
}

/// The settings that have a value when nothing is set, in the manual's order; or why there is none.
fn defaults(config: &Config) -> Vec<(&'static str, &'static str, Result<Value, &'static str>)> {
    // Everything that is not written has its default in the configuration that was read.
    let limits = &config.limits;
    let paths = &config.paths;
    let path = |path: &Path| Ok(Value::String(path.display().to_string()));
    vec![
        ("device", "node", path(&config.node)),
        ("device", "mount_table", Err("not set: the kernel's")),
        ("time", "limit", Err("not set: the driver's own, 15s with the driver in base")),
        ("time", "reserve", Ok(span(limits.reserve))),
        ("time", "max_frozen", Ok(span(limits.max_frozen))),
        ("time", "thaw_answer_after", Ok(span(limits.thaw_answer_after))),
        ("time", "last_flush", Ok(span(limits.last_flush))),
        ("time", "thaw_limit", Ok(span(limits.thaw_limit))),
        ("time", "observer_limit", Ok(span(limits.observer_limit))),
        ("paths", "plugins", path(&paths.plugins)),
        ("paths", "worker", path(&paths.worker)),
        ("paths", "flush", path(&paths.flush)),
        ("paths", "state", path(&paths.state)),
        ("paths", "pid_file", path(&paths.pid_file)),
        ("paths", "control", path(&paths.control)),
        ("metrics", "textfile", Err("not set: nothing is written")),
    ]
}

/// A span as an administrator writes it.
fn span(span: Duration) -> Value {
    let ms = span.as_millis();
    Value::String(if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") })
}

/// The file that was read.
struct File<'a> {
    text: &'a str,
    path: &'a Path,
}

impl File<'_> {
    fn line(&self, at: usize) -> String {
        let line = self.text[..at].matches('\n').count() + 1;
        format!("{}:{line}", self.path.display())
    }

    /// What is written in a table, and in those below it.
    fn table(&self, name: &str, table: &DeTable<'_>, entries: &mut Vec<Entry>) {
        let mut below = Vec::new();
        for (key, value) in as_written(table) {
            let key = key_text(key.get_ref());
            match value.get_ref() {
                DeValue::Table(table) if !table.is_empty() => below.push((format!("{name}.{key}"), table)),
                // Only these are known to hold tables and nothing else, of which none is empty. A plugin's may hold anything.
                DeValue::Array(tables) if name == "filesystems" && key == "exempt" && !tables.is_empty() => {
                    for item in tables {
                        if let DeValue::Table(item) = item.get_ref() {
                            self.fields(&format!("[[{name}.{key}]]"), item, entries);
                        }
                    }
                }
                _ => self.field(&format!("[{name}]"), &key, value, entries),
            }
        }
        for (name, table) in below {
            self.table(&name, table, entries);
        }
    }

    fn fields(&self, heading: &str, table: &DeTable<'_>, entries: &mut Vec<Entry>) {
        let mut items = as_written(table);
        items.sort_by_key(|(key, _)| key.get_ref() != "type");
        for (key, value) in items {
            self.field(heading, &key_text(key.get_ref()), value, entries);
        }
    }

    fn field(&self, heading: &str, key: &str, value: &Spanned<DeValue<'_>>, entries: &mut Vec<Entry>) {
        let from = self.line(value.span().start);
        let value = Some(self.value(value));
        entries.push(Entry { table: heading.to_owned(), key: key.to_owned(), value, from });
    }

    /// A value as it was written; one of several lines, or with characters that can't be shown, on one line and without them.
    fn value(&self, value: &Spanned<DeValue<'_>>) -> String {
        let written = &self.text[value.span()];
        let as_it_is = !written.chars().any(is_obeyed);
        match value.get_ref() {
            DeValue::String(text) if !as_it_is => quoted(text),
            // What is written of a table may be no more than its heading.
            DeValue::Array(items) if !as_it_is || holds_tables(value.get_ref()) => {
                format!("[{}]", items.iter().map(|item| self.value(item)).collect::<Vec<_>>().join(", "))
            }
            DeValue::Table(table) => {
                let field = |(key, value): (&Spanned<DeString<'_>>, _)| {
                    format!("{} = {}", key_text(key.get_ref()), self.value(value))
                };
                format!("{{ {} }}", as_written(table).into_iter().map(field).collect::<Vec<_>>().join(", "))
            }
            _ => written.to_owned(),
        }
    }
}

/// The table's keys in the order of the file.
fn as_written<'a, 'b>(table: &'a DeTable<'b>) -> Vec<(&'a Spanned<DeString<'b>>, &'a Spanned<DeValue<'b>>)> {
    let mut items: Vec<_> = table.iter().collect();
    items.sort_by_key(|(key, _)| key.span().start);
    items
}

/// A key as it must be written.
fn key_text(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.to_owned() } else { quoted(key) }
}

fn holds_tables(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.iter().any(|item| holds_tables(item.get_ref())),
        _ => false,
    }
}

/// Text as TOML wants it on one line, with escapes in place of what can't be shown.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if is_obeyed(c) => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// All of them, as a configuration file that says where each value came from.
pub(super) fn text(entries: &[Entry], settings: &Settings, paper: &Paper) -> String {
    let line = |entry: &Entry| match &entry.value {
        Some(value) => format!("{} = {value}", entry.key),
        None => format!("#{} =", entry.key),
    };
    let widest = entries.iter().map(|entry| columns(&line(entry))).filter(|width| *width <= 44).max().unwrap_or(0);
    let note = match &settings.text {
        Some(_) => format!("# {}, with the defaults of what it does not set.", settings.path.display()),
        None => format!("# {} does not exist: the defaults hold.", settings.path.display()),
    };
    let mut text = paper.ink(Ink::Faint, &note) + "\n";
    let mut table = "";
    for entry in entries {
        // Each exemption begins its own table with its type.
        if entry.table != table || (entry.table.starts_with("[[") && entry.key == "type") {
            table = &entry.table;
            let _ = writeln!(text, "\n{}", paper.ink(Ink::Heading, table));
        }
        let from = entry.from.rsplit_once('/').map_or(entry.from.as_str(), |(_, short)| short);
        let _ = writeln!(
            text,
            "{}  {}",
            paper.cell(widest.max(columns(&line(entry))), &line(entry)),
            paper.ink(Ink::Faint, &format!("# {from}"))
        );
    }
    let note = "# Settings that a plugin is not given have the defaults that its manual names.";
    let _ = writeln!(text, "\n{}", paper.ink(Ink::Faint, note));
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAPER: Paper = Paper { width: 80, colour: false, unicode: true };
    const FILE: &str = "[time]\n# so long\nmax_frozen = \"30s\"\n\n[[filesystems.exempt]]\ntype = \"zfs\"\nmount = \"/tank\"\nreason = \"x\"\n[[filesystems.exempt]]\ntype = \"tmpfs\"\nreason = \"y\"\n\n[plugin.exec_hook]\nnumber = 40\nhook.\"10-x.sh\".limit = \"3s\"\n[plugin.ufs]\nenabled = true\n";

    fn settings(text: &str) -> Settings {
        let path = Path::new("/etc/hv_vss.toml");
        Settings { path: path.into(), text: Some(text.to_owned()), config: Config::parse(path, text).unwrap() }
    }

    #[test]
    fn every_value_is_shown_with_the_line_it_came_from_or_as_the_default() {
        let entries = entries(&settings(FILE)).unwrap();
        let find = |table: &str, key: &str| {
            let entry = entries.iter().find(|entry| entry.table == table && entry.key == key).unwrap();
            (entry.value.as_deref(), entry.from.as_str())
        };
        assert_eq!(find("[time]", "max_frozen"), (Some("\"30s\""), "/etc/hv_vss.toml:3"));
        assert_eq!(find("[time]", "reserve"), (Some("\"1s\""), "default"));
        assert_eq!(find("[plugin.exec_hook]", "number"), (Some("40"), "/etc/hv_vss.toml:14"));
        assert_eq!(find("[plugin.exec_hook.hook.\"10-x.sh\"]", "limit"), (Some("\"3s\""), "/etc/hv_vss.toml:15"));
        assert_eq!(find("[[filesystems.exempt]]", "mount"), (Some("\"/tank\""), "/etc/hv_vss.toml:7"));
    }

    #[test]
    fn what_is_shown_is_a_configuration_and_means_the_same() {
        let of_several_lines = "[plugin.x]\nlist = [\n  1, # one\n  \"two\",\n]\ntext = \"\"\"\nan \"end\"\n\\u001b\"\"\"\n\"a\\nkey\" = { b = '''t\to''' }\nbidi = \"\u{202e}x\"\n";
        // Found by a fuzzer: lists of this and that, of tables between other keys, of empty tables; an exemption whose type does not come first.
        let lists = "[plugin.x]\nmixed = [1, \"a\", { b = 2 }]\ntables = [{ c = 1 }, {}]\nafter = true\nempty = {}\n[[plugin.x.more]]\nd = 1\n[[plugin.x.more]]\n[plugin.x.none]\n";
        let exempt = "[[filesystems.exempt]]\nreason = \"x\"\nmount = \"/a\"\ntype = \"zfs\"\n[[filesystems.exempt]]\nmount = \"/b\"\ntype = \"zfs\"\nreason = \"y\"\n";
        for file in ["", FILE, of_several_lines, lists, exempt] {
            let settings = settings(file);
            let shown = text(&entries(&settings).unwrap(), &settings, &PAPER);
            let again = Config::parse(&settings.path, &shown).unwrap_or_else(|error| panic!("{error} in\n{shown}"));
            assert_eq!(again, settings.config, "{shown}");
        }
    }

    #[test]
    fn no_setting_of_the_orchestrator_is_left_out() {
        let shown = entries(&settings("")).unwrap();
        // The refusal of an unknown key names all that there are. In these two, what is set is all there is.
        let of_the_file = ["filesystems", "plugin"];
        let refusal = Config::parse(Path::new("x"), "no_such_key = 1\n").unwrap_err().to_string();
        let (_, tables) = refusal.split_once("expected").unwrap();
        for table in tables.split('`').skip(1).step_by(2).filter(|table| !of_the_file.contains(table)) {
            let refusal =
                Config::parse(Path::new("x"), &format!("[{table}]\nno_such_key = 1\n")).unwrap_err().to_string();
            let (_, expected) = refusal.split_once("expected").unwrap_or_else(|| panic!("[{table}]: {refusal}"));
            let there_are: BTreeSet<&str> = expected.split('`').skip(1).step_by(2).collect();
            let heading = format!("[{table}]");
            let are_shown: BTreeSet<&str> =
                shown.iter().filter(|entry| entry.table == heading).map(|entry| entry.key.as_str()).collect();
            assert_eq!(are_shown, there_are, "[{table}]");
        }
    }
}
