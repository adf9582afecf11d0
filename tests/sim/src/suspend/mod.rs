//! `/dev/ufssuspend` with FreeBSD's rules (facts.md, 2), and real filesystems behind it.
//!
//! All of it happens on one thread: the kernel holds one global lock for a suspend or a resume, so whatever the callers do, it is one after
//! the other, and one that hangs makes all others wait. The same thread takes the closes, which resume.

mod caller;
mod freezer;
mod thaws;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fuser::{ReplyEmpty, ReplyIoctl};
use hv_vss_platform::mounts::{FsId, holder};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::faults::{Faults, Moment};
use crate::iclog::{Event, IcLog};
use crate::table::MountFile;
pub(crate) use freezer::{Frozen, thaw_by_force};
use thaws::Thaws;

/// Suspends the filesystem whose id is passed.
pub const UFSSUSPEND: u32 = nix::request_code_write!(b'U', 1, 8) as u32;
/// Resumes the one this descriptor holds.
pub const UFSRESUME: u32 = nix::request_code_none!(b'U', 2) as u32;

/// For so long a program stores to mappings before the freeze, where a test looks for that.
const STORES: Duration = Duration::from_millis(20);

/// How long the end of the simulator waits for a freeze that is under way.
const LAST_FREEZE: Duration = Duration::from_secs(2);

/// One suspension that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Which filesystem.
    pub fsid: FsId,
    /// Where it is mounted.
    pub on: String,
    /// Who suspended it.
    pub pid: u32,
}

/// What the thread is asked for.
pub(crate) enum Job {
    Ioctl {
        handle: u64,
        pid: u32,
        command: u32,
        input: Vec<u8>,
        reply: ReplyIoctl,
    },
    /// A close(2) of a descriptor that may hold something: it returns once the global lock has been free.
    Flush {
        handle: u64,
        pid: u32,
        reply: ReplyEmpty,
    },
    /// The last descriptor is gone.
    Close {
        handle: u64,
        reply: ReplyEmpty,
    },
}

struct Held {
    holding: Holding,
    frozen: Frozen,
    /// The filesystem that holds its image file.
    lies_on: Option<FsId>,
    /// The filesystem of the directory it is mounted on.
    covers: Option<FsId>,
    /// Files as they were when the suspend began: what was stored to their mappings since is thrown away by the resume.
    mapped: Vec<(PathBuf, Vec<u8>)>,
}

pub(crate) struct Suspender {
    table: Arc<MountFile>,
    nodes: PathBuf,
    held: Mutex<BTreeMap<u64, Held>>,
    thaws: Thaws,
    /// What holds and is being closed by its process, in that order.
    closing: Mutex<Vec<u64>>,
    refusals: Mutex<Vec<String>>,
    in_a_jail: Mutex<bool>,
    freezing: AtomicBool,
    faults: Arc<Faults>,
    /// The files that tests keep for what is stored to mappings.
    mapped: Mutex<Vec<(FsId, PathBuf)>>,
}

impl Suspender {
    pub(crate) fn new(table: Arc<MountFile>, faults: Arc<Faults>, nodes: &Path) -> Self {
        Self {
            table,
            nodes: nodes.to_owned(),
            held: Mutex::default(),
            thaws: Thaws::default(),
            closing: Mutex::default(),
            refusals: Mutex::default(),
            in_a_jail: Mutex::default(),
            freezing: AtomicBool::new(false),
            faults,
            mapped: Mutex::default(),
        }
    }

    pub(crate) fn work(&self, job: Job, log: &IcLog) {
        match job {
            Job::Ioctl { handle, pid, command, input, reply } => {
                let done = match command {
                    UFSSUSPEND => self.suspend(handle, pid, &input, log),
                    _ => self.resume(handle, log),
                };
                match done {
                    Ok(()) => reply.ioctl(0, &[]),
                    Err(errno) => reply.error(fuser::Errno::from_i32(errno as i32)),
                }
            }
            Job::Flush { handle, pid, reply } => {
                if locked(&self.held).get(&handle).is_some_and(|held| held.holding.pid == pid) {
                    locked(&self.closing).push(handle);
                }
                reply.ok();
            }
            Job::Close { handle, reply } => {
                for handle in self.closed_before(handle) {
                    // Nothing held is the usual case: there is nobody to tell.
                    let _ = self.resume(handle, log);
                }
                reply.ok();
            }
        }
    }

    /// This descriptor and those that its process closed before it. FreeBSD takes the last closes of a process in that order, which is ascending
    /// at its end; Linux takes them in reverse.
    fn closed_before(&self, handle: u64) -> Vec<u64> {
        let mut closing = locked(&self.closing);
        match closing.iter().position(|other| *other == handle) {
            Some(at) => closing.drain(..=at).collect(),
            None => vec![handle],
        }
    }

    /// The checks the kernel makes before it takes its lock: none if the call may go on.
    pub(crate) fn refuses_at_once(&self, command: u32) -> Option<Errno> {
        if *locked(&self.in_a_jail) {
            return Some(Errno::EPERM);
        }
        (command != UFSSUSPEND && command != UFSRESUME).then_some(Errno::ENXIO)
    }

    fn suspend(&self, handle: u64, pid: u32, input: &[u8], log: &IcLog) -> Result<(), Errno> {
        let Some(fsid) = input.first_chunk().copied().map(FsId) else { return Err(Errno::EINVAL) };
        let result = self.try_suspend(handle, pid, fsid, log);
        if let Err((errno, why)) = &result {
            let sentence = format!("{errno:?} to process {pid} for {fsid}: {why}");
            log.note(format!("ufssuspend: {sentence}"));
            locked(&self.refusals).push(sentence);
        }
        result.map_err(|(errno, _)| errno)
    }

    fn try_suspend(&self, handle: u64, pid: u32, fsid: FsId, log: &IcLog) -> Result<(), (Errno, String)> {
        let mounts = self.table.mounts().map_err(|why| (Errno::EIO, why))?;
        let mount = mounts.iter().find(|mount| mount.fsid == fsid);
        let mount = mount.ok_or_else(|| (Errno::ENOENT, "no mount has this id".to_owned()))?;
        caller::may_suspend(pid, Path::new(&mount.on), &self.nodes).map_err(|why| (Errno::EDEADLK, why))?;
        if mount.fstype != "ufs" {
            return Err((Errno::EINVAL, format!("{} is a {}, not a ufs", mount.on, mount.fstype)));
        }
        if locked(&self.held).values().any(|held| held.holding.fsid == fsid) {
            return Err((Errno::EBUSY, format!("{} is suspended already", mount.on)));
        }
        self.faults.strike(fsid, Moment::Suspend).map_err(|errno| (errno, "as the test asked".to_owned()))?;

        self.thaws.finish(fsid);
        let mapped = self.mapped_files_of(fsid);
        let frozen = self.freeze(Path::new(&mount.on)).map_err(|errno| (errno, format!("freezing {}", mount.on)))?;
        let mut held = locked(&self.held);
        if self.faults.is_ending() {
            // `thaw_all` has been by: this one would be missed.
            drop(frozen);
            return Err((Errno::ENXIO, "the simulator is ending".to_owned()));
        }
        log.add(Event::Frozen { on: mount.on.clone() });
        if held.contains_key(&handle) {
            // One descriptor, one filesystem: the kernel finds out only now, and lets go of the second.
            drop(frozen);
            log.add(Event::Thawed { on: mount.on.clone() });
            return Err((Errno::EBUSY, "this descriptor holds another filesystem".to_owned()));
        }
        let holding = Holding { fsid, on: mount.on.clone(), pid };
        let on_another = |path: &str| holder(&mounts, path).map(|other| other.fsid).filter(|other| *other != fsid);
        let lies_on = mount.backing.as_deref().and_then(on_another);
        let covers = Path::new(&mount.on).parent().and_then(Path::to_str).and_then(on_another);
        held.insert(handle, Held { holding, frozen, lies_on, covers, mapped });
        Ok(())
    }

    /// Without holding any lock: a freeze that was asked for in the wrong order waits for another filesystem's thaw.
    fn freeze(&self, on: &Path) -> Result<Frozen, Errno> {
        self.freezing.store(true, Ordering::SeqCst);
        let frozen = Frozen::freeze(on);
        self.freezing.store(false, Ordering::SeqCst);
        frozen
    }

    fn resume(&self, handle: u64, log: &IcLog) -> Result<(), Errno> {
        let Some(fsid) = locked(&self.held).get(&handle).map(|held| held.holding.fsid) else {
            return Err(Errno::ENOENT);
        };
        self.faults.strike(fsid, Moment::Resume)?;
        self.locks_the_covered_directories(fsid)?;
        let mut held = locked(&self.held);
        let Some(Held { holding, frozen, lies_on, mapped, .. }) = held.remove(&handle) else { return Ok(()) };
        let still: BTreeSet<_> = held.values().map(|held| held.holding.fsid).collect();
        drop(held);
        self.thaws.begin(fsid, lies_on, frozen, &still);
        if !mapped.is_empty() {
            // A store that waited for the thaw belongs to the hold.
            std::thread::sleep(STORES);
        }
        for (path, before) in mapped {
            // It may have been removed; then there is nothing to throw away.
            let _ = File::options().write(true).open(path).and_then(|file| file.write_all_at(&before, 0));
        }
        log.add(Event::Thawed { on: holding.on });
        Ok(())
    }

    /// FreeBSD does not stop stores to mappings, and its resume throws them away. Linux does stop them: what is stored between this look and the
    /// freeze stands for them.
    fn mapped_files_of(&self, fsid: FsId) -> Vec<(PathBuf, Vec<u8>)> {
        let mapped = locked(&self.mapped);
        let here = mapped.iter().filter(|(of, _)| *of == fsid);
        let files: Vec<_> = here.filter_map(|(_, path)| Some((path.clone(), fs::read(path).ok()?))).collect();
        if !files.is_empty() {
            std::thread::sleep(STORES);
        }
        files
    }

    pub(crate) fn keep_for_mappings(&self, fsid: FsId, path: PathBuf) {
        locked(&self.mapped).push((fsid, path));
    }

    /// A resume locks the vnodes of its filesystem, one after the other. If the umount of a suspended filesystem waits with one of them locked,
    /// the resume waits for ever, with the lock that the other's resume needs.
    fn locks_the_covered_directories(&self, of: FsId) -> Result<(), Errno> {
        let covered_by: Vec<FsId> =
            locked(&self.held).values().filter(|held| held.covers == Some(of)).map(|held| held.holding.fsid).collect();
        self.faults.hang_behind_an_unmount(&covered_by, (of, Moment::Resume))
    }

    pub(crate) fn set_jail(&self, in_a_jail: bool) {
        *locked(&self.in_a_jail) = in_a_jail;
    }

    pub(crate) fn holdings(&self) -> Vec<Holding> {
        locked(&self.held).values().map(|held| held.holding.clone()).collect()
    }

    pub(crate) fn refusals(&self) -> Vec<String> {
        locked(&self.refusals).clone()
    }

    /// Lets go of everything, for the end of the simulator: real filesystems must not stay frozen behind it.
    pub(crate) fn thaw_all(&self) {
        self.faults.end();
        let held = std::mem::take(&mut *locked(&self.held));
        // All at once: the thaw of one writes to the image file that lies on another.
        std::thread::scope(|scope| {
            held.into_values().for_each(|held| drop(scope.spawn(|| drop(held.frozen))));
        });
        self.thaws.finish_all();
        // A freeze that was under way ends now, sees that the end has come, and takes itself back.
        let deadline = Instant::now() + LAST_FREEZE;
        while self.freezing.load(Ordering::SeqCst) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
