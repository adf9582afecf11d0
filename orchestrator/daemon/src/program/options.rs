//! The command line. The short options are those of FreeBSD's hv_vss_daemon(8).

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use hv_vss_service::Destination;

/// Brings applications and filesystems to rest when the Hyper-V host takes a backup of this machine, and lets them go again.
#[derive(Debug, Parser)]
#[command(name = "hv_vss_daemon", version)]
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
    /// If the device node is missing, say so once and wait until it is there. For a supervisor that would start us again and again.
    #[arg(long)]
    pub wait: bool,
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_short_options_mean_what_they_mean_in_base() {
        Options::command().debug_assert();
        let options = Options::parse_from(["hv_vss_daemon", "-d", "-n"]);
        assert!(options.debug && options.foreground);
    }

    #[test]
    fn the_log_goes_to_stderr_in_the_foreground_and_to_syslog_otherwise_unless_told() {
        let to = |arguments: &[&str]| Options::parse_from(arguments).destination();
        assert_eq!(to(&["d"]), Destination::Syslog);
        assert_eq!(to(&["d", "-n"]), Destination::Stderr);
        assert_eq!(to(&["d", "-n", "--log", "syslog"]), Destination::Syslog);
        assert_eq!(to(&["d", "--log", "stderr"]), Destination::Stderr);
    }
}
