//! A mount table as text: one JSON object a line. Parses, and touches no file.

use super::{Mount, Table};

/// Before a mount: it is just being unmounted, so it is counted and not listed.
const UNMOUNTING: &str = "unmounting ";

/// The table in a text, or the number of the first line that is no mount, from 1, and what is wrong with it.
///
/// # Errors
/// At the first line that is no mount; the rest is not looked at.
pub fn parse(text: &str) -> Result<Table, (usize, serde_json::Error)> {
    let mut table = Table::default();
    let lines = (1..).zip(text.lines().map(str::trim));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let hidden = line.strip_prefix(UNMOUNTING);
        let mount: Mount = serde_json::from_str(hidden.unwrap_or(line)).map_err(|error| (number, error))?;
        match hidden {
            Some(_) => table.hidden += 1,
            None => table.mounts.push(mount),
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::super::FsId;
    use super::*;

    #[test]
    fn mounts_come_in_the_order_of_their_lines_with_what_is_left_out_at_its_default() {
        let table = r#"
            # the root
            {"fsid":"0100000000000000","type":"ufs","on":"/","from":"/dev/ada0p2"}
            {"fsid":"0102030405060708","type":"ufs","on":"/data","from":"/dev/md0","read_only":true,"backing":"/img/x","swap":"/data/swap0"}
        "#;
        let mounts = parse(table).unwrap().mounts;
        assert_eq!(mounts.iter().map(|mount| mount.on.as_str()).collect::<Vec<_>>(), ["/", "/data"]);
        assert_eq!((mounts[0].read_only, &mounts[0].backing, &mounts[0].swap), (false, &None, &None));
        assert_eq!(mounts[1].fsid, FsId([1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!(
            (mounts[1].read_only, mounts[1].backing.as_deref(), mounts[1].swap.as_deref()),
            (true, Some("/img/x"), Some("/data/swap0"))
        );
    }

    #[test]
    fn one_that_is_being_unmounted_is_counted_and_not_listed() {
        let mount = r#"{"fsid":"0100000000000000","type":"ufs","on":"/","from":"/dev/ada0p2"}"#;
        let table = parse(&format!("unmounting {mount}\n{mount}\n")).unwrap();
        assert_eq!((table.mounts.len(), table.hidden), (1, 1));
        assert_eq!(parse("unmounting /data").unwrap_err().0, 1);
    }

    #[test]
    fn an_unknown_key_a_missing_key_and_no_json_are_refused_with_their_line() {
        let line_of = |table: &str| parse(table).unwrap_err().0;
        assert_eq!(line_of("{}"), 1);
        assert_eq!(line_of("#\n\nufs / /dev/ada0p2"), 3);
        assert_eq!(line_of(r#"{"fsid":"0100000000000000","type":"ufs","on":"/","from":"x","readonly":true}"#), 1);
    }
}
