//! `hv-vss-sim`: `serve` brings a simulated machine up, `host` plays its Hyper-V host.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use hv_vss_sim::script::{self, Message, Outcome, Step};
use hv_vss_sim::{Host, Kind, Setup, ic};
use nix::sys::signal::{SigSet, Signal};

/// The guest answered a failure.
const FAILED: u8 = 1;
/// It didn't answer at all, or the simulator isn't there.
const NO_ANSWER: u8 = 2;

#[derive(Parser)]
#[command(name = "hv-vss-sim", about = "A simulated Hyper-V host and VSS driver behind real device nodes")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Mount the nodes and serve them until SIGTERM; prints "ready" once they are there
    Serve {
        /// The directory in which the nodes appear
        #[arg(long)]
        dev: PathBuf,
        /// The control socket to make
        #[arg(long)]
        control: PathBuf,
        /// The mount table: one JSON object a line
        #[arg(long)]
        mounts: PathBuf,
        /// Whose driver stands behind the nodes
        #[arg(long, value_enum, default_value = "ours")]
        driver: Driver,
        /// Our module for freezing is loaded: there is a node vfsfreeze
        #[arg(long)]
        vfsfreeze: bool,
        /// The driver's time limit, such as 15s or 800ms
        #[arg(long, default_value = "15s", value_parser = span)]
        limit: Duration,
        /// Where to record what goes over the wire; not on a filesystem that will be frozen
        #[arg(long)]
        ic_log: Option<PathBuf>,
    },
    /// Play the Hyper-V host: exit 0 if the guest answered success to everything, 1 on a failure, 2 on no answer
    Host {
        /// The control socket of a machine that is served
        #[arg(long)]
        control: PathBuf,
        #[command(subcommand)]
        play: Play,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Driver {
    Base,
    Ours,
}

#[derive(Subcommand)]
enum Play {
    /// Offer versions
    Negotiate,
    /// Ask whether a backup is possible
    Check,
    /// Bring the guest to rest
    Freeze,
    /// Let it go again
    Thaw,
    /// CHECK, FREEZE, a while, THAW
    Backup {
        /// How long to stay frozen
        #[arg(long, default_value = "1s", value_parser = span)]
        hold: Duration,
    },
    /// Send any bytes
    Raw { hex: String },
    /// Play a script: one step a line
    Script { file: PathBuf },
    /// Print how the machine stands, as JSON
    State,
}

/// "15s", "800ms".
fn span(text: &str) -> Result<Duration, String> {
    let number = |digits: &str| digits.parse().map_err(|_| format!("\"{text}\" is not a time such as 15s or 800ms"));
    match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(ms), _) => number(ms).map(Duration::from_millis),
        (None, Some(seconds)) => number(seconds).map(Duration::from_secs),
        (None, None) => Err(format!("\"{text}\" needs its unit: s or ms")),
    }
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve { dev, control, mounts, driver, vfsfreeze, limit, ic_log } => {
            let driver = match driver {
                Driver::Base => Kind::Base,
                Driver::Ours => Kind::Ours,
            };
            serve(Setup { nodes: dev, control, mounts, driver, vfsfreeze, limit, ic_log }).map(|()| ExitCode::SUCCESS)
        }
        Command::Host { control, play } => host(&Host::of(&control), play),
    };
    result.unwrap_or_else(|sentence| {
        eprintln!("hv-vss-sim: {sentence}");
        ExitCode::from(NO_ANSWER)
    })
}

fn serve(setup: Setup) -> Result<(), String> {
    // It plays a kernel, which does not wait for its turn among processes. Fails for who is not root, and who is not can't mount the nodes either.
    let _ = hv_vss_platform::priority::highest();
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    // Before the first thread, so that they all inherit it and only `wait` below takes the signal.
    ends.thread_block().map_err(|errno| format!("can't block the signals that end me: {errno}"))?;
    let served = hv_vss_sim::serve(setup)?;
    println!("ready");
    std::io::stdout().flush().map_err(|error| format!("can't say that I am ready: {error}"))?;
    ends.wait().map_err(|errno| format!("can't wait for a signal: {errno}"))?;
    drop(served);
    Ok(())
}

fn host(host: &Host, play: Play) -> Result<ExitCode, String> {
    let ask = |operation| Step::Ask(Message::Operation(operation));
    let steps = match play {
        Play::Negotiate => vec![Step::Negotiate],
        Play::Check => vec![ask(ic::HOT_BACKUP)],
        Play::Freeze => vec![ask(ic::FREEZE)],
        Play::Thaw => vec![ask(ic::THAW)],
        Play::Backup { hold } => return backup(host, hold),
        Play::Raw { hex } => vec![Step::Ask(Message::Raw(ic::from_hex(&hex)?))],
        Play::Script { file } => {
            let text = std::fs::read_to_string(&file);
            script::read(&text.map_err(|error| format!("can't read {}: {error}", file.display()))?)?
        }
        Play::State => {
            let state = host.state().map_err(|error| error.to_string())?;
            println!("{}", serde_json::to_string(&state).map_err(|error| error.to_string())?);
            return Ok(ExitCode::SUCCESS);
        }
    };
    run(host, &steps)
}

/// As Hyper-V does: no FREEZE after a failed CHECK, but a THAW after any FREEZE.
fn backup(host: &Host, hold: Duration) -> Result<ExitCode, String> {
    let ask = |operation| Step::Ask(Message::Operation(operation));
    let checked = run(host, &[ask(ic::HOT_BACKUP)])?;
    if checked != ExitCode::SUCCESS {
        return Ok(checked);
    }
    let frozen = run(host, &[ask(ic::FREEZE)])?;
    if frozen == ExitCode::SUCCESS {
        std::thread::sleep(hold);
    }
    let thawed = run(host, &[ask(ic::THAW)])?;
    Ok(if frozen == ExitCode::SUCCESS { thawed } else { frozen })
}

fn run(host: &Host, steps: &[Step]) -> Result<ExitCode, String> {
    let outcomes = script::play(host, steps, print).map_err(|error| error.to_string())?;
    let worst = outcomes.iter().map(|outcome| match &outcome.answered {
        None => NO_ANSWER,
        Some(answered) if answered.answer.is_ok() => 0,
        Some(_) => FAILED,
    });
    Ok(ExitCode::from(worst.max().unwrap_or(0)))
}

fn print(outcome: &Outcome) {
    let line = match &outcome.answered {
        None => serde_json::json!({"sent": outcome.name, "answer": null}),
        Some(answered) => serde_json::json!({
            "sent": outcome.name,
            "status": format!("0x{:08x}", answered.answer.status),
            "ok": answered.answer.is_ok(),
            "ms": answered.took.as_secs_f64() * 1000.0,
            "answer": ic::to_hex(&answered.bytes),
        }),
    };
    println!("{line}");
}
