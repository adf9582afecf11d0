//! The program around the server: the pid file, the way into the background, the helpers.

use std::path::Path;
use std::time::Duration;
use std::{fmt, io, thread};

use hv_vss_kvp_core::{Core, Limits};
use hv_vss_platform::{memory, network, title};
use hv_vss_service::{Destination, Journal, PidFile, PidFileError, Sink, put_in_order};
use hv_vss_trust::{Distrust, Holder, place};
use hv_vss_types::System;
use tracing::Level;

use crate::mailbox::mailbox;
use crate::node::{Node, NodeError};
use crate::options::Options;
use crate::serve::{Helpers, Server};
use crate::{disk, name, script, signals};

/// The name that pkill(1), syslog and the title show.
const NAME: &str = "hv_kvp_daemon";
/// How often a missing node is looked for.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Why the daemon did not start, or ended.
#[derive(Debug)]
pub enum StartError {
    /// Another user than root decides what lies where this should be: what, and why.
    Distrust(&'static str, Distrust),
    /// Another daemon runs, or the pid file can't be used.
    PidFile(PidFileError),
    /// The node can't be opened or used.
    Node(NodeError),
    /// Something else the system refused: what was being done, and why not.
    System(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Distrust(what, error) => write!(f, "{what} is not used: {error}"),
            Self::PidFile(error) => error.fmt(f),
            Self::Node(error) => error.fmt(f),
            Self::System(doing, error) => write!(f, "can't {doing}: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Distrust(_, error) => Some(error),
            Self::PidFile(error) => Some(error),
            Self::Node(error) => Some(error),
            Self::System(_, error) => Some(error),
        }
    }
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// A sentence, when it can't start or its node is gone.
pub fn run(options: &Options) -> Result<(), StartError> {
    // Before the working directory changes.
    let absolute = |path: &Path| std::path::absolute(path);
    let paths =
        || -> io::Result<_> { Ok((absolute(&options.pools)?, absolute(&options.node)?, absolute(&options.control)?)) };
    let (pools, node, control) = paths().map_err(|error| StartError::System("find its files", error))?;
    let script = options.set_ip.as_deref().map(absolute).transpose();
    let script = script.map_err(|error| StartError::System("find the script", error))?;
    let pid_file = absolute(&options.pid_file).map_err(|error| StartError::System("find the pid file", error))?;
    put_in_order().map_err(|(doing, error)| StartError::System(doing, error))?;
    let sink = Sink::open(options.destination(), NAME)
        .map_err(|error| StartError::System("write to the standard error output", error))?;
    let journal = Journal::new(sink, if options.debug { Level::DEBUG } else { Level::INFO });
    let started = || -> Result<(), StartError> {
        if let Some(script) = &script {
            // Said at once, and judged again before each run.
            hv_vss_trust::regular_file(script, None)
                .map_err(|distrust| StartError::Distrust("the script that sets addresses", distrust))?;
        }
        let place =
            place(&pid_file, Holder::Root).map_err(|distrust| StartError::Distrust("the pid file", distrust))?;
        let pid_file = PidFile::lock(&place, NAME).map_err(StartError::PidFile)?;
        if !options.foreground {
            // Threads don't survive a fork, so this comes before the first of them.
            nix::unistd::daemon(false, options.destination() == Destination::Stderr)
                .map_err(|errno| StartError::System("go into the background", errno.into()))?;
        }
        let pid_file = pid_file.write_pid().map_err(StartError::PidFile)?;
        title::set(NAME);
        journal.listen();
        let served = serve(options, (&pools, &node, &control), script.clone(), &journal);
        pid_file.remove();
        served
    };
    started().inspect_err(|error| {
        // Under a supervisor, or in the background, nobody reads the standard error output.
        if options.destination() == Destination::Syslog {
            journal.say(Level::ERROR, &error.to_string());
        }
    })
}

fn serve(
    options: &Options,
    (pools, node, control): (&Path, &Path, &Path),
    script: Option<std::path::PathBuf>,
    journal: &Journal,
) -> Result<(), StartError> {
    // The driver signals the process that opens, so this comes after the way into the background.
    let node = open(node, options.wait).map_err(StartError::Node)?;
    let ends = signals::block().map_err(|error| StartError::System("block the signals that end it", error))?;
    let (mailbox, post) = mailbox().map_err(|error| StartError::System("make a pipe", error))?;
    let cannot = |error| StartError::System("start its threads", error);
    signals::start(ends, post.clone()).map_err(cannot)?;
    let set_addresses = script.is_some();
    let helpers = Helpers {
        disk: disk::start(pools, control, post.clone()).map_err(cannot)?,
        name: name::start(post.clone()).map_err(cannot)?,
        script: script.map(|script| script::start(script, post)).transpose().map_err(cannot)?,
    };
    // What is not in memory may lie on a disk that is frozen when a request comes.
    if let Err(error) = memory::lock_all() {
        tracing::warn!("{error}; a page that has to come back from a frozen disk could delay an answer");
    }
    let core = Core::new(Limits { max_frozen: options.max_frozen, set_addresses });
    let system = network::system().unwrap_or_else(|error| {
        tracing::warn!("{error}; the host is told no version");
        System::default()
    });
    let server = Server { core, node, mailbox, helpers, journal: journal.clone(), system };
    server.run().map_err(StartError::Node)?;
    tracing::info!("ends");
    journal.let_go();
    Ok(())
}

/// Opens the node. With `wait` a missing one is said once and waited for.
fn open(path: &Path, wait: bool) -> Result<Node, NodeError> {
    let mut said = false;
    loop {
        match Node::open(path) {
            Err(error @ NodeError::Missing(..)) if wait => {
                if !said {
                    said = true;
                    tracing::warn!("{error}; waiting until it is there");
                }
                thread::sleep(BETWEEN_LOOKS);
            }
            result => return result,
        }
    }
}
