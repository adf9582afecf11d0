//! vssctl(8): what an administrator asks the daemon, and what can be said without one.
//!
//! Each command makes a [`Said`] from what the daemon, a file or a plugin tells; [`run`] alone prints. How things are worded and drawn (`*_text`,
//! [`timeline`]) is pure: values in, text out.

mod app_watch;
mod check;
mod client;
mod commands;
mod config;
mod cycles;
mod hooks;
mod kvp;
mod options;
mod paper;
mod plugin_file;
mod said;
#[cfg(test)]
mod samples;
mod settings;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod shown;
mod status;
pub mod timeline;
mod when;

use std::io::Write;
use std::process::ExitCode;

pub use options::{AppWatch, Command, ConfigCommand, Options, PluginCommand, PluginTest, Rehearse};
pub use paper::Paper;
use said::{Exit, Said};

/// Does what the command line says; the program's exit code.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let said = commands::perform(options, &Paper::of_stdout()).unwrap_or_else(|failure| {
        // A syntax error is shown with its line, which is one of several.
        let sentence = format!("{failure:#}");
        eprintln!("vssctl: {}", sentence.lines().map(paper::harmless).collect::<Vec<_>>().join("\n"));
        Said::failed(&failure)
    });
    let text = if options.json { said.as_json() } else { said.text };
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => said.exit.into(),
        // Whoever read has seen enough (`vssctl history | head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => said.exit.into(),
        Err(error) => {
            eprintln!("vssctl: can't write to the standard output: {error}");
            Exit::CannotTell.into()
        }
    }
}
