//! A plugin's table of the configuration as the flat list that plugins get.

use serde_json::{Map, Value};

/// The settings in their order: those of a table within the table as `outer.inner`, a list once for each of its items.
#[must_use]
pub fn flat(table: &Map<String, Value>) -> Vec<(String, String)> {
    let mut flat = Vec::new();
    for (key, value) in table {
        flatten(key, value, &mut flat);
    }
    flat
}

fn flatten(key: &str, value: &Value, flat: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Bool(yes) => flat.push((key.to_owned(), yes.to_string())),
        Value::Number(number) => flat.push((key.to_owned(), number.to_string())),
        Value::String(text) => flat.push((key.to_owned(), text.clone())),
        Value::Array(items) => items.iter().for_each(|item| flatten(key, item, flat)),
        Value::Object(table) => table.iter().for_each(|(inner, value)| flatten(&format!("{key}.{inner}"), value, flat)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_lists_are_flat_and_in_order() {
        let config = serde_json::json!({"a": "x", "b": {"c": 1, "d": {"e": true}}, "f": ["y", 2], "g": {}});
        let Value::Object(config) = config else { unreachable!() };
        let flat: Vec<_> = flat(&config).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(flat, ["a=x", "b.c=1", "b.d.e=true", "f=y", "f=2"]);
    }
}
