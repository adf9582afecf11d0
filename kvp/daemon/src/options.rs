//! The command line. The short options are those of FreeBSD's hv_kvp_daemon(8), as that program
//! behaves: its manual has the two the wrong way round.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use hv_vss_kvp_pool::DIRECTORY;
use hv_vss_service::Destination;

/// Answers the Hyper-V host's requests for key-value pairs of this guest.
#[derive(Debug, Parser)]
#[command(name = "hv_kvp_daemon", version)]
pub struct Options {
    /// Say more in the log.
    #[arg(short = 'd', long)]
    pub debug: bool,
    /// Stay in the foreground.
    #[arg(short = 'n', long)]
    pub foreground: bool,
    /// Where the log goes; by default to stderr in the foreground, else to syslog.
    #[arg(long, value_name = "WHERE")]
    pub log: Option<Log>,
    /// If the device node is missing, say so once and wait until it is there. For a supervisor.
    #[arg(long)]
    pub wait: bool,
    /// The pid file.
    #[arg(long, value_name = "FILE", default_value = "/var/run/hv_kvp_daemon.pid")]
    pub pid_file: PathBuf,
    /// The directory of the pools.
    #[arg(long, value_name = "DIRECTORY", default_value = DIRECTORY)]
    pub pools: PathBuf,
    /// The driver's node.
    #[arg(long, value_name = "FILE", default_value = "/dev/hv_kvp_dev")]
    pub node: PathBuf,
    /// Where hv_vss_daemon(8) tells whether a freeze is under way.
    #[arg(long, value_name = "SOCKET", default_value = "/var/run/hv_vss.sock")]
    pub control: PathBuf,
    /// How long a freeze can last: max_frozen of hv_vss.toml(5), and some seconds more.
    #[arg(long, value_name = "SECONDS", default_value = "75", value_parser = seconds)]
    pub max_frozen: Duration,
    /// Let the host set addresses, by this script.
    #[arg(long, value_name = "SCRIPT")]
    pub set_ip: Option<PathBuf>,
}

/// `--log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Log {
    /// To syslogd(8), facility daemon.
    Syslog,
    /// To the standard error output.
    Stderr,
}

impl Options {
    /// Where the log goes.
    #[must_use]
    pub fn destination(&self) -> Destination {
        match (self.log, self.foreground) {
            (Some(Log::Stderr), _) | (None, true) => Destination::Stderr,
            (Some(Log::Syslog), _) | (None, false) => Destination::Syslog,
        }
    }
}

/// As long as hv_vss.toml(5) lets a freeze last, at the most.
fn seconds(text: &str) -> Result<Duration, String> {
    let digits = text.strip_suffix('s').unwrap_or(text);
    let seconds = digits.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "write a number of seconds from 1 to 3600".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Its manual swaps -d and -n, with FreeBSD's hv_kvp_daemon.
    #[test]
    fn the_short_options_do_what_they_do_in_base() {
        Options::command().debug_assert();
        let options = Options::parse_from(["hv_kvp_daemon", "-d"]);
        assert!(options.debug && !options.foreground);
        let options = Options::parse_from(["hv_kvp_daemon", "-n"]);
        assert!(options.foreground && !options.debug);
        let long = Options::parse_from(["hv_kvp_daemon", "--debug", "--foreground"]);
        assert!(long.debug && long.foreground);
    }

    #[test]
    fn a_time_without_a_sense_is_refused() {
        assert_eq!((seconds("75"), seconds("1s")), (Ok(Duration::from_secs(75)), Ok(Duration::from_secs(1))));
        for text in ["", "0", "-1", "3601", "1m", "1.5"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
