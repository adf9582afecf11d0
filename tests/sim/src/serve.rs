//! Brings a simulated machine up: nodes mounted, control socket open, threads running; and down again without leaving anything frozen.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption};
use nix::mount::{MntFlags, umount2};

use crate::control::Control;
use crate::driver::Kind;
use crate::faults::Faults;
use crate::iclog::IcLog;
use crate::machine::Machine;
use crate::nodes::Nodes;
use crate::suspend::Suspender;
use crate::table::MountFile;
use crate::vfsfreeze::Freezer;

/// How a simulated machine is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where the nodes are to appear; an existing directory.
    pub nodes: PathBuf,
    /// Where the control socket is to be.
    pub control: PathBuf,
    /// The mount table, one JSON object a line, the same file the daemon reads.
    pub mounts: PathBuf,
    /// Whose driver stands behind the nodes.
    pub driver: Kind,
    /// Whether our module for freezing is loaded, too: the node `vfsfreeze`.
    pub vfsfreeze: bool,
    /// The driver's time limit for a request.
    pub limit: Duration,
    /// Where to record what goes over the wire; not on a filesystem that will be frozen.
    pub ic_log: Option<PathBuf>,
}

/// A simulated machine that is up. Dropping it thaws what is frozen and takes the nodes away.
pub struct Served {
    suspender: Arc<Suspender>,
    freezer: Arc<Freezer>,
    session: Option<BackgroundSession>,
    setup: Setup,
}

/// A debug kernel would have stopped: everything is let go, and the process ends with this.
pub const PANICKED: i32 = 70;

/// Brings a machine up.
///
/// # Errors
/// A sentence, when the nodes can't be mounted or the socket can't be made.
pub fn serve(setup: Setup) -> Result<Served, String> {
    let log = Arc::new(IcLog::to(setup.ic_log.as_deref())?);
    let machine = Arc::new(Machine::new(setup.driver, setup.limit));
    let (table, faults) = (Arc::new(MountFile::new(&setup.mounts)), Arc::new(Faults::default()));
    let suspender = Arc::new(Suspender::new(Arc::clone(&table), Arc::clone(&faults), &setup.nodes));
    let freezer = Arc::new(Freezer::new(table, Arc::clone(&faults), Arc::clone(&log)));
    let (jobs, queue) = mpsc::channel();

    let nodes = Nodes {
        machine: Arc::clone(&machine),
        suspender: Arc::clone(&suspender),
        freezer: setup.vfsfreeze.then(|| Arc::clone(&freezer)),
        jobs,
        log: Arc::clone(&log),
        next_handle: AtomicU64::new(1),
    };
    let mut options = Config::default();
    options.mount_options = vec![MountOption::FSName("hv-vss-sim".into()), MountOption::DefaultPermissions];
    let session = fuser::spawn_mount(nodes, &setup.nodes, &options)
        .map_err(|error| format!("can't mount the nodes on {}: {error}", setup.nodes.display()))?;

    freezer.connect(session.notifier());
    let (on_panic, frozen, where_nodes) = (Arc::clone(&suspender), Arc::clone(&freezer), setup.nodes.clone());
    machine.connect(session.notifier(), move |why| {
        frozen.stop();
        on_panic.thaw_all();
        detach(&where_nodes);
        eprintln!("panic: {why}");
        std::process::exit(PANICKED);
    });
    let (worker, worker_log) = (Arc::clone(&suspender), Arc::clone(&log));
    std::thread::spawn(move || queue.into_iter().for_each(|job| worker.work(job, &worker_log)));
    let (timed, timer_log) = (Arc::clone(&machine), Arc::clone(&log));
    std::thread::spawn(move || timed.run_timers(&timer_log));

    let served =
        Served { suspender: Arc::clone(&suspender), freezer: Arc::clone(&freezer), session: Some(session), setup };
    let control = &served.setup.control;
    // A socket left over from an earlier run; if it is something else, the bind says so.
    let _ = fs::remove_file(control);
    let listener =
        UnixListener::bind(control).map_err(|error| format!("can't listen on {}: {error}", control.display()))?;
    Control { machine, suspender, freezer, faults, log }.serve(listener);
    Ok(served)
}

impl Drop for Served {
    fn drop(&mut self) {
        self.freezer.stop();
        self.suspender.thaw_all();
        // Somebody may still have a node open: then it is gone from the tree, and the rest follows at this process's end.
        detach(&self.setup.nodes);
        drop(self.session.take());
        let _ = fs::remove_file(&self.setup.control);
    }
}

fn detach(nodes: &Path) {
    let _ = umount2(nodes, MntFlags::MNT_DETACH);
}
