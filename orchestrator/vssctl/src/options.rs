//! The command line of vssctl(8). A test holds the manual against it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use hv_vss_core::config::Span;
use hv_vss_kvp_core::Pool;
use hv_vss_kvp_pool::DIRECTORY;

/// Asks and steers hv_vss_daemon, which freezes this machine for backups.
#[derive(Debug, Parser)]
#[command(name = "vssctl", version, max_term_width = 80, subcommand_required = true, arg_required_else_help = true)]
pub struct Options {
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// The daemon's configuration file.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The daemon's control socket; by default the configured one.
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What vssctl can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Would a backup work now?
    Check {
        /// Judge without asking the daemon, as if it were just being started.
        #[arg(long)]
        offline: bool,
    },
    /// How does the daemon stand, and how did the last backup end?
    Status,
    /// Let go of everything that is frozen, now.
    Thaw,
    /// List the latest cycles.
    History {
        /// How many.
        #[arg(short = 'n', value_name = "N", default_value_t = 20)]
        last: usize,
    },
    /// Show one cycle, step by step.
    Show {
        /// Its id; by default the one in work, or else the latest backup.
        cycle: Option<String>,
    },
    /// Run a whole cycle without a host.
    Rehearse(Rehearse),
    /// Draw where the time of a cycle went.
    Timeline {
        /// Its id; by default the one in work, or else the latest backup.
        cycle: Option<String>,
        /// Write a picture to this file; "-" is the standard output.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Write off a thaw that a plugin still owes: it is no longer tried, and backups go on.
    Forgive {
        /// The plugin, as status names it.
        plugin: String,
    },
    /// Have the daemon read its configuration again.
    Reload,
    /// Print what the daemon has counted, as OpenMetrics text.
    Metrics,
    /// List the plugins, and why those that don't run don't.
    Plugins,
    /// List the files in hooks.d, and why those that won't run won't.
    Hooks,
    /// Check or show the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at a plugin's file, or try it out.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Show or change the key-value pairs that the host reads and sets.
    Kvp(KvpWish),
    /// Bring an application to rest by one command, and let it go by another.
    AppWatch(AppWatch),
    /// Print a completion script for a shell.
    #[command(hide = true)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// `vssctl kvp`.
#[derive(Debug, Args)]
pub struct KvpWish {
    /// What to do.
    #[command(subcommand)]
    pub command: KvpCommand,
}

/// Where the pools lie.
#[derive(Debug, Args)]
pub struct Pools {
    /// The directory of the pools.
    #[arg(long, value_name = "DIRECTORY", default_value = DIRECTORY)]
    pub directory: PathBuf,
}

/// What `vssctl kvp` can do. A pool is external, guest, auto, auto-external, auto-internal, or its
/// number.
#[derive(Debug, Subcommand)]
pub enum KvpCommand {
    /// List the pairs of a pool, or of all.
    List {
        /// Where.
        #[command(flatten)]
        pools: Pools,
        /// The pool.
        #[arg(value_parser = pool)]
        pool: Option<Pool>,
    },
    /// Print a key's value.
    Get {
        /// Where.
        #[command(flatten)]
        pools: Pools,
        /// The pool.
        #[arg(value_parser = pool)]
        pool: Pool,
        /// The key.
        key: String,
    },
    /// Set a key's value.
    Set {
        /// Where.
        #[command(flatten)]
        pools: Pools,
        /// The pool.
        #[arg(value_parser = pool)]
        pool: Pool,
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Remove a key.
    Delete {
        /// Where.
        #[command(flatten)]
        pools: Pools,
        /// The pool.
        #[arg(value_parser = pool)]
        pool: Pool,
        /// The key.
        key: String,
    },
}

fn pool(text: &str) -> Result<Pool, String> {
    let found = Pool::ALL.into_iter().find(|pool| text == pool.name() || text == pool.number().to_string());
    found.ok_or_else(|| "a pool is external, guest, auto, auto-external, auto-internal, or its number".to_owned())
}

/// `vssctl rehearse`.
#[derive(Debug, Args)]
pub struct Rehearse {
    /// How long everything is held.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = span)]
    pub hold: Duration,
    /// Freeze no filesystem, only bring applications to rest.
    #[arg(long)]
    pub no_freeze: bool,
    /// Run only this script of hooks.d, and no other application.
    #[arg(long, value_name = "HOOK")]
    pub only: Option<String>,
}

/// `vssctl app-watch`.
#[derive(Clone, Debug, Args)]
pub struct AppWatch {
    /// Run by the shell at a FREEZE; the backup fails if it does.
    #[arg(long, value_name = "CMD")]
    pub on_freeze: String,
    /// Run by the shell when it may go on.
    #[arg(long, value_name = "CMD")]
    pub on_thaw: String,
    /// The applications' device.
    #[arg(long, value_name = "PATH", default_value = hv_vss_app::NODE)]
    pub node: PathBuf,
    /// Go on by itself after this long.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = span)]
    pub max_hold: Duration,
}

/// `vssctl config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether a configuration file is right.
    Check {
        /// The file; by default the daemon's.
        file: Option<PathBuf>,
    },
    /// Show every setting, and where its value came from.
    Show,
}

/// `vssctl plugin`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Say what a plugin's file is, loading it in a throw-away process.
    Inspect {
        /// The file.
        file: PathBuf,
    },
    /// Lead a plugin through its whole life, and say what it does wrong.
    Test(PluginTest),
}

/// `vssctl plugin test`.
#[derive(Debug, Args)]
pub struct PluginTest {
    /// The file.
    pub file: PathBuf,
    /// A filesystem that a filesystem plugin may really freeze.
    #[arg(long, value_name = "MOUNT")]
    pub freeze: Option<String>,
    /// A setting for the plugin; by default those of the configuration.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How long each call may take.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span)]
    pub patience: Duration,
}

fn span(text: &str) -> Result<Duration, String> {
    Span::parse(text)
        .map(Span::get)
        .ok_or_else(|| "write a number and ms, s, m or h, such as \"2s\" or \"500ms\"".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_its_help_fits_eighty_columns() {
        fn fits(command: &mut clap::Command) {
            let help = command.render_help().to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
            command.get_subcommands_mut().for_each(fits);
        }
        let mut command = Options::command();
        command.build();
        command.clone().debug_assert();
        fits(&mut command);
    }

    #[test]
    fn json_may_be_said_before_or_after_the_command() {
        assert!(Options::parse_from(["vssctl", "--json", "status"]).json);
        assert!(Options::parse_from(["vssctl", "config", "show", "--json"]).json);
    }

    #[test]
    fn a_hold_needs_its_unit() {
        let held = |text| match Options::try_parse_from(["vssctl", "rehearse", "--hold", text])?.command {
            Command::Rehearse(rehearse) => Ok::<_, clap::Error>(rehearse.hold),
            other => panic!("{other:?}"),
        };
        assert_eq!(held("500ms").unwrap(), Duration::from_millis(500));
        assert!(held("2").unwrap_err().to_string().contains("such as"));
    }
}
