//! The helper that may wait for a disk: it asks hv_vss, looks at files, changes pools. One thing at
//! a time, in the order in which it was told.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use hv_vss_kvp_core::{Change, Files, Input, Look, Looked, Number, Pool, Records};
use hv_vss_kvp_pool::{PoolError, PoolFile, Stamp, Until};
use hv_vss_platform::network;

use crate::hv_vss;
use crate::mailbox::{Post, helper};

/// How long another program's lock on a pool is waited for.
const LOCK: Duration = Duration::from_secs(1);
/// Where name servers stand.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What the helper is told to do.
#[derive(Debug)]
pub(crate) enum Job {
    Ask,
    Look(Look),
    Write(Pool, Number, Vec<Change>),
}

/// Starts the helper.
pub(crate) fn start(pools: &Path, control: &Path, post: Post) -> io::Result<Sender<Job>> {
    let (sender, jobs) = channel();
    let disk = Disk { pools: pools.to_owned(), control: control.to_owned(), seen: BTreeMap::new() };
    helper("disk").spawn(move || disk.work(jobs, &post))?;
    Ok(sender)
}

struct Disk {
    pools: PathBuf,
    control: PathBuf,
    /// The state in which each pool was last read. One that can't be told from a later state is not
    /// kept. None within: there was no file.
    seen: BTreeMap<Pool, Option<Stamp>>,
}

impl Disk {
    fn work(mut self, jobs: Receiver<Job>, post: &Post) {
        for job in jobs {
            post.send(match job {
                Job::Ask => Input::Heard(hv_vss::ask(&self.control)),
                Job::Look(look) => Input::Looked(self.look(look)),
                Job::Write(pool, number, changes) => {
                    let result = self.write(pool, &changes).map_err(|error| error.to_string());
                    Input::Wrote(pool, number, result)
                }
            });
        }
    }

    fn file(&self, pool: Pool) -> PoolFile {
        PoolFile::new(&self.pools, pool)
    }

    fn look(&mut self, look: Look) -> Looked {
        let mut looked = Looked::default();
        for pool in &look.pools {
            let result = if look.make { self.make(*pool) } else { self.read(*pool) };
            match result {
                Ok(None) => {}
                Ok(Some(records)) => looked.pools.push((*pool, Ok(records))),
                Err(error) => looked.pools.push((*pool, Err(error.to_string()))),
            }
        }
        looked.files = look.files.then(files);
        looked.look = look;
        looked
    }

    /// The records; none: they are as they were.
    fn read(&mut self, pool: Pool) -> Result<Option<Records>, PoolError> {
        let file = self.file(pool);
        let before = file.stamp()?;
        if self.seen.get(&pool) == Some(&before) {
            return Ok(None);
        }
        self.seen.remove(&pool);
        let Some((records, stamp)) = file.read(&Until(Instant::now() + LOCK))? else {
            self.seen.insert(pool, None);
            return Ok(Some(Records::default()));
        };
        if stamp.is_settled_at(SystemTime::now()) {
            self.seen.insert(pool, Some(stamp));
        }
        Ok(Some(records))
    }

    /// Reads, and makes the file if it is missing: other programs look for it. Where it can't be
    /// made it can still be read.
    fn make(&mut self, pool: Pool) -> Result<Option<Records>, PoolError> {
        let file = self.file(pool);
        if file.stamp()?.is_none() {
            file.lock(&Until(Instant::now() + LOCK))?;
        }
        self.read(pool)
    }

    fn write(&mut self, pool: Pool, changes: &[Change]) -> Result<(Records, Vec<bool>), PoolError> {
        self.seen.remove(&pool);
        let mut locked = self.file(pool).lock(&Until(Instant::now() + LOCK))?;
        let found = locked.change(changes)?;
        Ok((locked.records().clone(), found))
    }
}

fn files() -> Files {
    let interfaces = network::interfaces().unwrap_or_default();
    let names = interfaces.iter().map(|interface| interface.name.as_str());
    Files { name_servers: network::name_servers(Path::new(RESOLV_CONF)), by_dhcp: network::by_dhcp(names) }
}
