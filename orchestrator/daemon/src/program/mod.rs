//! The program around the engine: its command line, the pid file, going into the background, signals. Everything that can go wrong before the
//! first request goes wrong here, while somebody still sees the terminal.

mod options;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use hv_vss_device::{Device, DeviceError, Driver};
use hv_vss_platform::clock::Clock;
use hv_vss_platform::{memory, priority, reaper, title};
use hv_vss_service::{Destination, Journal, PidFile, PidFileError, Sink, put_in_order};
use hv_vss_trust::{Distrust, Holder, place};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::Level;

use crate::child::Programs;
use crate::config_file;
use crate::control::server;
use crate::engine::{Engine, Event, Order, Outside, Read};
use crate::port::Port;
use crate::scribe::Scribe;
use crate::state;
use hv_vss_core::config::{Config, ConfigError, Presence};

pub use options::Options;

/// The name that pkill(1), syslog and the title show.
const NAME: &str = "hv_vss_daemon";

/// Why the daemon did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration can't be used.
    Config(ConfigError),
    /// Somebody other than root decides what lies where this should be: what, and why.
    Distrust(&'static str, Distrust),
    /// The device node can't be opened.
    Device(DeviceError),
    /// Another daemon runs, or the pid file can't be had.
    PidFile(PidFileError),
    /// Something else the system refused: what was being done, and why not.
    System(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Distrust(what, error) => write!(f, "{what} is not used: {error}"),
            Self::Device(error) => error.fmt(f),
            Self::PidFile(error) => error.fmt(f),
            Self::System(doing, error) => write!(f, "can't {doing}: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Distrust(_, error) => Some(error),
            Self::Device(error) => Some(error),
            Self::PidFile(error) => Some(error),
            Self::System(_, error) => Some(error),
        }
    }
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// A sentence, when it can't start. Once it serves, it ends well or not at all.
pub fn run(options: &Options) -> Result<(), StartError> {
    let named = options.config.as_deref().map(std::path::absolute).transpose();
    let named = named.map_err(|error| StartError::System("find the configuration", error))?;
    put_in_order().map_err(|(doing, error)| StartError::System(doing, error))?;
    let sink = Sink::open(options.destination(), NAME)
        .map_err(|error| StartError::System("write to the standard error output", error))?;
    let journal = Journal::new(sink, if options.debug { Level::DEBUG } else { Level::INFO });
    run_with(options, named.as_deref(), &journal).inspect_err(|error| {
        // Under a supervisor nobody sees what is said on stderr.
        if options.destination() == Destination::Syslog {
            journal.say(Level::ERROR, &error.to_string());
        }
    })
}

fn run_with(options: &Options, named: Option<&Path>, journal: &Journal) -> Result<(), StartError> {
    let (path, presence) = match named {
        Some(path) => (path, Presence::Required),
        None => (Path::new(Config::DEFAULT_PATH), Presence::Optional),
    };
    let config = config_file::load(path, presence).map_err(StartError::Config)?;
    // The lock comes first: of two daemons the second is told so, and not that the node is busy.
    let pid_file = place(&config.paths.pid_file, Holder::Root)
        .map_err(|distrust| StartError::Distrust("the pid file", distrust))?;
    let pid_file = PidFile::lock(&pid_file, NAME).map_err(StartError::PidFile)?;
    let device = Arc::new(open_device(&config.node, options.wait, journal).map_err(StartError::Device)?);

    if !options.foreground {
        // Threads don't survive a fork, so this comes before the first of them.
        nix::unistd::daemon(false, options.destination() == Destination::Stderr)
            .map_err(|errno| StartError::System("go into the background", errno.into()))?;
    }
    let pid_file = pid_file.write_pid().map_err(StartError::PidFile)?;
    title::set(NAME);
    journal.listen();

    enough_descriptors()
        .map_err(|error| StartError::System("have the 24 descriptors that it needs (ulimit -n)", error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StartError::System("start the event loop", error))?;
    let served = tokio::task::LocalSet::new().block_on(&runtime, serve(config, journal.clone(), device));
    pid_file.remove();
    served
}

/// Are there as many descriptors as the event loop, signals, control socket and plugins take at the least? Where there is none for its signals, tokio
/// panics.
fn enough_descriptors() -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    (1..24).map(|_| null.try_clone()).collect::<Result<Vec<_>, _>>().map(drop)
}

/// Opens the node. With `wait` a missing one is said once and waited for.
fn open_device(node: &Path, wait: bool, journal: &Journal) -> Result<Device, DeviceError> {
    let mut said = false;
    loop {
        match Device::open(node) {
            Err(DeviceError::Missing(error)) if wait => {
                if !said {
                    said = true;
                    journal.say(Level::WARN, &format!("{error}; waiting until it is there"));
                }
                std::thread::sleep(BETWEEN_LOOKS);
            }
            result => return result,
        }
    }
}

/// How often the node is looked for. The supervisor that has us wait is told by devd when it appears; this is for who has no devd.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

async fn serve(config: Config, journal: Journal, device: Arc<Device>) -> Result<(), StartError> {
    let (sender, events) = mpsc::unbounded_channel();
    for (kind, order) in [
        (SignalKind::terminate(), Order::Stop),
        (SignalKind::interrupt(), Order::Stop),
        (SignalKind::user_defined1(), Order::Thaw),
        (SignalKind::hangup(), Order::Reload),
    ] {
        let mut signals = signal(kind).map_err(|error| StartError::System("wait for signals", error))?;
        let sender = sender.clone();
        tokio::task::spawn_local(async move {
            while signals.recv().await.is_some() {
                let _ = sender.send(Event::Operator(order));
            }
        });
    }
    // What scripts leave behind when their worker dies becomes this process's.
    match reaper::acquire() {
        Ok(()) => {
            let mut ends =
                signal(SignalKind::child()).map_err(|error| StartError::System("wait for signals", error))?;
            tokio::task::spawn_local(async move {
                while ends.recv().await.is_some() {
                    crate::child::reap_orphans();
                }
            });
        }
        Err(error) => tracing::warn!("{error}; what a script has started may outlive its worker"),
    }
    let clock = Clock::system();
    let (from_device, at) = (sender.clone(), clock.clone());
    let watcher = Arc::clone(&device).watch(move |event| drop(from_device.send(Event::Device(event, Read::now(&at)))));
    let _watcher = watcher.map_err(|error| StartError::System("wait for requests", error.into()))?;

    let driver = match device.driver() {
        Driver::Base => "the driver in base",
        Driver::Ours => "hv_vss_broker",
    };
    let state = state::directory(&config.paths.state)
        .inspect_err(|why| tracing::warn!("{why}; history and what a freeze owes are kept in memory only"));
    let control = place(&config.paths.control, Holder::Root).map_err(io::Error::other);
    let listening = control.and_then(|path| Ok((server::listen(&path)?, path)));
    let control = match listening {
        Ok((listener, path)) => {
            tokio::task::spawn_local(server::serve(listener, sender.clone()));
            Some(path)
        }
        Err(error) => {
            let path = config.paths.control.display();
            tracing::error!("can't listen at {path}, so vssctl can't reach this daemon: {error}");
            None
        }
    };
    let scribe = Scribe::start().map_err(|error| StartError::System("start the thread that writes", error))?;
    let outside = Outside { clock, port: Port::Node(device), programs: Programs::Processes, scribe, state: state.ok() };
    let engine = Engine::new(config, journal, outside, (sender, events));
    engine
        .serve(|with| {
            // What is not in memory by now may lie on a filesystem that we are about to freeze.
            if let Err(error) = memory::lock_all() {
                tracing::warn!("{error}; a page that has to come back from a frozen disk could stop this daemon");
            }
            // Not sooner: the plugins' processes have been started, and are what any other is unless they suspend filesystems.
            if let Err(error) = priority::highest() {
                tracing::warn!("{error}; on a busy machine a freeze takes longer");
            }
            tracing::info!("ready: {driver} at {with}");
        })
        .await;
    // One that a restarted daemon has replaced meanwhile can't be here: our lock is still held.
    control.into_iter().for_each(|path| drop(std::fs::remove_file(path)));
    tracing::info!("ends; nothing is held");
    Ok(())
}
