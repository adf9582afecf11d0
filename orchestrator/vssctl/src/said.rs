//! What a command has to say: for a human, for a program, and as an exit code.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use super::client::Unreached;
use hv_vss_core::config::ConfigError;

/// What a command has to say.
pub(super) struct Said {
    /// For a human; ends in a newline.
    pub(super) text: String,
    /// For a program.
    pub(super) json: Value,
    pub(super) exit: Exit,
}

/// The exit codes of vssctl(8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// 0: all is well, or it is done.
    Well,
    /// 1: it is not well, or was refused.
    Unwell,
    /// 2: nobody could be asked.
    CannotTell,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Well => 0,
            Exit::Unwell => 1,
            Exit::CannotTell => 2,
        })
    }
}

/// Why a command came to nothing: always a sentence.
#[derive(Debug)]
pub(super) enum Failure {
    /// The daemon can't be asked.
    Unreached(Unreached),
    /// It was asked, and refused.
    Refused(String),
    /// The configuration can't be used.
    Config(ConfigError),
    /// Something else can't be done.
    Other(String),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) => Exit::Unwell,
            Self::Unreached(_) | Self::Config(_) | Self::Other(_) => Exit::CannotTell,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreached(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Refused(sentence) | Self::Other(sentence) => f.write_str(sentence),
        }
    }
}

impl From<Unreached> for Failure {
    fn from(error: Unreached) -> Self {
        Self::Unreached(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl Said {
    /// `value` for programs, `text` for humans.
    pub(super) fn new(text: String, value: &impl Serialize, exit: Exit) -> Self {
        // What is put here is our own types, whose keys are text.
        Self { text, json: serde_json::to_value(value).unwrap_or_default(), exit }
    }

    /// The sentence has gone to the standard error output; a program gets it as JSON, too.
    pub(super) fn failed(failure: &Failure) -> Self {
        Self { text: String::new(), json: json!({ "error": failure.to_string() }), exit: failure.exit() }
    }

    pub(super) fn as_json(&self) -> String {
        format!("{:#}\n", self.json)
    }
}
