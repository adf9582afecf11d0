//! The observer: after each cycle the keys are brought up to date, and when the daemon ends the state says so.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hv_vss_kvp_pool::{Change, DIRECTORY, Locked, Patience, Pool, PoolFile, Until};
use hv_vss_plugin::{About, Failure, Level, Observer, Opening, Step};

use crate::keys::{Pair, RESULT, Record, STATE, STOPPED};

/// How long the last word waits for somebody else's lock: a daemon that ends gives its plugins a second.
const LAST_WORD: Duration = Duration::from_millis(500);

/// The plugin.
pub(crate) struct KvpReport {
    pool: PoolFile,
    has_written: bool,
    said_torn: bool,
}

/// Until the call's deadline, or until a freeze comes.
struct WhileCalled<'a>(&'a Step<'a>);

impl Patience for WhileCalled<'_> {
    fn is_over(&self) -> bool {
        self.0.cancelled()
    }
}

impl Observer for KvpReport {
    const ABOUT: About = About::observer(
        "kvp_report",
        env!("CARGO_PKG_VERSION"),
        "Tells the Hyper-V host how backups ended and why, as key-value pairs",
    );

    fn open(opening: Opening<'_>) -> Result<Self, Failure> {
        opening.config.refuse_unknown(&["directory"])?;
        let directory = PathBuf::from(opening.config.get("directory").unwrap_or(DIRECTORY));
        if !directory.is_absolute() {
            let why = format!("directory = \"{}\" is not an absolute path", directory.display());
            return Err(Failure::Refused(why));
        }
        Ok(Self { pool: PoolFile::new(&directory, Pool::Guest), has_written: false, said_torn: false })
    }

    fn ended(&mut self, step: &Step<'_>, record: &str) -> Result<(), Failure> {
        let record = Record::read(record).map_err(Failure::Broken)?;
        let mut pool = self.pool.lock(&WhileCalled(step)).map_err(|error| Failure::Refused(error.to_string()))?;
        if pool.is_torn() && !self.said_torn {
            step.log(Level::Warn, "the pool ends in the midst of a record, which is left as it is");
        }
        self.said_torn = pool.is_torn();
        let last = pool.records().get(RESULT).and_then(|value| std::str::from_utf8(value).ok());
        let pairs = record.pairs(last);
        set(&mut pool, pairs).map_err(Failure::Refused)?;
        self.has_written = true;
        Ok(())
    }

    /// Whoever was only looked at (`vssctl check --offline`) has nothing to take back.
    fn close(self) {
        if self.has_written
            && let Ok(mut pool) = self.pool.lock(&Until(Instant::now() + LAST_WORD))
        {
            // Nobody is left to tell, and the host sees by HvVssLastTime what no longer changes.
            let _ = set(&mut pool, vec![(STATE, STOPPED.to_owned())]);
        }
    }
}

/// Sets the pairs, all or none.
fn set(pool: &mut Locked, pairs: Vec<Pair>) -> Result<(), String> {
    let changes: Vec<Change> = pairs.into_iter().map(|(key, value)| Change::set(key, value)).collect();
    let changed = pool.change(&changes).map(drop);
    changed.map_err(|error| format!("{error}; the host sees what was true before"))
}
