//! `vssctl kvp`: the host's key-value pairs, read and changed in the pools' files under their lock,
//! with hv_kvp_daemon(8) or without it.

use std::path::Path;
use std::time::{Duration, Instant};

use hv_vss_core::control::{Question, Reply};
use hv_vss_kvp_core::{Change, KEY_SIZE, Machine, Pool, VALUE_SIZE, computed_pairs};
use hv_vss_kvp_pool::{PoolError, PoolFile, Until};
use hv_vss_platform::network;
use serde_json::json;

use super::client::AT_ONCE;
use super::commands::ask;
use super::options::{KvpCommand, KvpWish, Options};
use super::paper::harmless;
use super::said::{Exit, Failure, Said};

/// How long another program's lock is waited for.
const LOCK: Duration = Duration::from_secs(5);

pub(super) fn command(options: &Options, wish: &KvpWish) -> Result<Said, Failure> {
    match &wish.command {
        KvpCommand::List { pools: at, pool } => {
            let pools: Vec<Pool> = pool.map_or_else(|| Pool::ALL.to_vec(), |pool| vec![pool]);
            let mut rows = Vec::new();
            for pool in pools {
                rows.extend(pairs(&at.directory, pool)?.into_iter().map(|(key, value)| (pool.name(), key, value)));
            }
            let text =
                rows.iter().map(|(pool, key, value)| format!("{pool:<13} {} = {}\n", harmless(key), harmless(value)));
            let json: Vec<_> =
                rows.iter().map(|(pool, key, value)| json!({ "pool": pool, "key": key, "value": value })).collect();
            Ok(Said::new(text.collect(), &json!({ "pairs": json }), Exit::Well))
        }
        KvpCommand::Get { pools: at, pool, key } => {
            match pairs(&at.directory, *pool)?.into_iter().find(|(have, _)| have == key) {
                Some((_, value)) => {
                    Ok(Said::new(format!("{}\n", harmless(&value)), &json!({ "value": value }), Exit::Well))
                }
                None => Err(no_such_key(*pool, key)),
            }
        }
        KvpCommand::Set { pools: at, pool, key, value } => {
            if key.is_empty()
                || key.len() >= KEY_SIZE
                || value.len() >= VALUE_SIZE
                || key.contains('\0')
                || value.contains('\0')
            {
                let most = (KEY_SIZE - 1, VALUE_SIZE - 1);
                return Err(Failure::Other(format!("a key has 1 to {} bytes, a value up to {}", most.0, most.1)));
            }
            change(options, &at.directory, *pool, Change::set(key, value)).map(|_| done())
        }
        KvpCommand::Delete { pools: at, pool, key } => {
            let found = change(options, &at.directory, *pool, Change::delete(key))?;
            if found { Ok(done()) } else { Err(no_such_key(*pool, key)) }
        }
    }
}

fn done() -> Said {
    Said::new("Done; the host reads it with its next request.\n".to_owned(), &json!({ "done": true }), Exit::Well)
}

fn no_such_key(pool: Pool, key: &str) -> Failure {
    Failure::Refused(format!("pool {} has no key \"{key}\"", pool.name()))
}

fn until() -> Until {
    Until(Instant::now() + LOCK)
}

fn cannot(error: PoolError) -> Failure {
    Failure::Other(error.to_string())
}

fn pairs(directory: &Path, pool: Pool) -> Result<Vec<(String, String)>, Failure> {
    if pool == Pool::Auto {
        return computed();
    }
    let Some((records, _)) = PoolFile::new(directory, pool).read(&until()).map_err(cannot)? else { return Ok(vec![]) };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(records.pairs().map(|(key, value)| (text(key), text(value))).collect())
}

fn computed() -> Result<Vec<(String, String)>, Failure> {
    let other = |error: hv_vss_platform::OsError| Failure::Other(error.to_string());
    let machine = Machine {
        host_name: network::host_name(),
        system: network::system().map_err(other)?,
        interfaces: network::interfaces().map_err(other)?,
        gateways: vec![],
    };
    let full = network::full_name(&machine.host_name);
    let pairs = computed_pairs(&machine, full.as_deref());
    Ok(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Whether the key was there.
fn change(options: &Options, directory: &Path, pool: Pool, change: Change) -> Result<bool, Failure> {
    if pool == Pool::Auto {
        return Err(Failure::Refused("pool auto is computed: nothing can be changed in it".into()));
    }
    // A write to a frozen disk would wait, and hold the lock.
    if let Ok(Reply::Status(status)) = ask(options, &Question::Status, AT_ONCE, "asking whether a freeze is under way")
        && !["idle", "checking"].contains(&status.state.as_str())
    {
        return Err(Failure::Refused(format!("a freeze is under way ({}): try again after the thaw", status.state)));
    }
    let mut locked = PoolFile::new(directory, pool).lock(&until()).map_err(cannot)?;
    let found = locked.change(&[change]).map_err(cannot)?;
    Ok(found == [true])
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::options::Command;
    use super::*;

    fn says(directory: &Path, words: &[&str]) -> Result<Said, Failure> {
        let directory = directory.to_str().unwrap();
        let line = ["vssctl", "--socket", "/nonexistent", "kvp"];
        let options = Options::parse_from(line.iter().chain(words).chain(&["--directory", directory]));
        let Command::Kvp(wish) = &options.command else { panic!("{words:?}") };
        command(&options, wish)
    }

    #[test]
    fn a_pair_is_set_shown_and_removed_without_a_daemon() {
        let directory = std::env::temp_dir().join(format!("vssctl-kvp-{}", std::process::id()));
        let told =
            |words: &[&str]| says(&directory, words).map(|said| said.text).map_err(|failure| failure.to_string());
        assert_eq!(told(&["list", "guest"]), Ok(String::new()));
        assert!(!directory.exists(), "reading makes nothing");
        told(&["set", "guest", "Key", "a value"]).unwrap();
        assert_eq!(told(&["get", "1", "Key"]), Ok("a value\n".to_owned()));
        let listed = says(&directory, &["list"]).unwrap().json;
        assert!(
            listed["pairs"].as_array().unwrap().contains(&json!({"pool": "guest", "key": "Key", "value": "a value"}))
        );
        assert_eq!(told(&["delete", "guest", "Ke"]), Err("pool guest has no key \"Ke\"".to_owned()));
        told(&["delete", "guest", "Key"]).unwrap();
        assert!(told(&["get", "guest", "Key"]).is_err());
        assert!(told(&["set", "auto", "OSName", "x"]).unwrap_err().contains("computed"));
        assert!(told(&["set", "guest", "", "x"]).is_err());
        assert!(told(&["get", "auto", "OSName"]).is_ok());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
