//! Write a plugin for hv_vss in safe Rust.
//!
//! A plugin brings one application, or one kind of filesystem, to rest while a backup is taken. It is a `cdylib` in the plugin directory; it
//! runs in a process of its own, on one thread. This is a complete one:
//!
//! ```
//! use hv_vss_plugin::{About, Failure, Opening, Plugin, Step, export_plugin};
//!
//! struct Queue {
//!     paused: bool,
//! }
//!
//! impl Plugin for Queue {
//!     const ABOUT: About = About::application("queue", env!("CARGO_PKG_VERSION"), "Pauses the mail queue");
//!
//!     fn open(opening: Opening<'_>) -> Result<Self, Failure> {
//!         opening.config.refuse_unknown(&[])?;
//!         Ok(Self { paused: false })
//!     }
//!
//!     fn check(&mut self, _step: &Step<'_>) -> Result<(), Failure> {
//!         Ok(())
//!     }
//!
//!     fn freeze(&mut self, step: &Step<'_>) -> Result<(), Failure> {
//!         if step.cancelled() {
//!             return Err(Failure::Refused("given up before the queue was paused".into()));
//!         }
//!         self.paused = true;
//!         Ok(())
//!     }
//!
//!     fn thaw(&mut self, _step: &Step<'_>) -> Result<(), Failure> {
//!         self.paused = false;
//!         Ok(())
//!     }
//! }
//!
//! export_plugin!(Queue);
//! # fn main() {}
//! ```
//!
//! In its `Cargo.toml`: `[lib] crate-type = ["cdylib"]`, and the library's name is the plugin's file name. Put the `.so` into the plugin
//! directory, owned by root and writable by nobody else, and ask `vssctl plugin inspect FILE` what hv_vss thinks of it.
//!
//! An [`Observer`] brings nothing to rest: it is told of each cycle when that is over, and is exported with `export_plugin!(observer: TYPE)`.
//!
//! What every plugin must keep to stands at the top of the C header, `include/hv_vss_plugin.h`: threads, time, and what may not be done
//! while something is frozen. A panic in any method is caught and becomes [`Failure::Broken`]; a plugin built with `panic = "abort"` takes
//! its process down instead, which fails the backup in the same way.

#![warn(missing_docs)]

pub mod abi;
mod config;
#[doc(hidden)]
pub mod export;
mod step;

pub use config::Config;
pub use step::{Host, Level, Mount, Outcome, Phase, Progress, Role, Step};

/// What a plugin is: the fixed part of its table.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Short: `postgres`.
    pub name: &'static str,
    /// The plugin's own version.
    pub version: &'static str,
    /// One line.
    pub description: &'static str,
    /// It suspends filesystems: [`Plugin::claim`] is asked about each mount.
    pub filesystem: bool,
    /// It brings an application to rest.
    pub application: bool,
    /// What it holds stays held when its process ends; see `HV_VSS_HOLDS_SURVIVE_EXIT` in the header.
    pub holds_survive_exit: bool,
    /// 1 to 99: lower ones freeze first and thaw last. 0: the configuration's, else 50.
    pub number: u8,
}

impl About {
    /// A plugin for an application, with the default number.
    #[must_use]
    pub const fn application(name: &'static str, version: &'static str, description: &'static str) -> Self {
        let (filesystem, application, holds_survive_exit, number) = (false, true, false, 0);
        Self { name, version, description, filesystem, application, holds_survive_exit, number }
    }

    /// A plugin for a filesystem, with the default number.
    #[must_use]
    pub const fn filesystem(name: &'static str, version: &'static str, description: &'static str) -> Self {
        Self { filesystem: true, application: false, ..Self::application(name, version, description) }
    }

    /// An [`Observer`].
    #[must_use]
    pub const fn observer(name: &'static str, version: &'static str, description: &'static str) -> Self {
        Self { filesystem: false, application: false, ..Self::application(name, version, description) }
    }

    /// The same with another number.
    #[must_use]
    pub const fn with_number(self, number: u8) -> Self {
        Self { number, ..self }
    }
}

/// Why a call did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It can't be done now, for a reason an administrator can act on. A sentence: who, what, what to do.
    Refused(String),
    /// The plugin itself failed. A sentence.
    Broken(String),
}

/// A filesystem plugin's verdict on one mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// I will freeze it.
    Freeze,
    /// It needs no freezing; a sentence says why.
    Ignore(String),
    /// It can't be frozen, and a backup without it would be wrong; a sentence says why, and what to do.
    Veto(String),
    /// Ask the next plugin.
    NotMine,
}

/// What [`Plugin::open`] is given.
pub struct Opening<'a> {
    /// The plugin's own settings.
    pub config: Config,
    /// The worker's functions.
    pub host: Host<'a>,
}

/// A plugin. The methods are called on one thread, one at a time, in the order that the header draws.
pub trait Plugin: Sized + 'static {
    /// What it is.
    const ABOUT: About;

    /// Called once, first: read the settings, connect, allocate. Here time and memory may be taken.
    ///
    /// # Errors
    /// When the plugin can't work so; nothing else is called then.
    fn open(opening: Opening<'_>) -> Result<Self, Failure>;

    /// Could it take part in a freeze now? Changes nothing.
    ///
    /// # Errors
    /// When it could not: the backup does not start.
    fn check(&mut self, step: &Step<'_>) -> Result<(), Failure>;

    /// Whose is this mount? Only asked of filesystem plugins. Decide from what is given: no input or output.
    fn claim(&mut self, step: &Step<'_>, mount: &Mount<'_>) -> Claim {
        let _ = (step, mount);
        Claim::NotMine
    }

    /// Come to rest, and stay so after returning.
    ///
    /// # Errors
    /// The backup fails. [`thaw`](Self::thaw) comes all the same, so there is no need to tidy up.
    fn freeze(&mut self, step: &Step<'_>) -> Result<(), Failure>;

    /// Let go. Must work without having been frozen, and twice.
    ///
    /// # Errors
    /// `Refused`: still held, may be asked again. `Broken`: can't tell.
    fn thaw(&mut self, step: &Step<'_>) -> Result<(), Failure>;

    /// The last call.
    fn close(self) {}
}

/// A plugin that holds nothing and is told how cycles ended. Nobody waits for it: whatever it does, takes or says, no backup is another for it.
pub trait Observer: Sized + 'static {
    /// What it is: [`About::observer`].
    const ABOUT: About;

    /// Called once, first: read the settings, connect, allocate. It may be asked by `vssctl check`, too, so change nothing yet.
    ///
    /// # Errors
    /// When the observer can't work so; nothing else is called then.
    fn open(opening: Opening<'_>) -> Result<Self, Failure>;

    /// A cycle or a CHECK is over, and nothing is frozen. `record` is a JSON object; the header says what is in it, and when it comes again.
    /// After [`Step::cancelled`] has become true, end soon: what is still at work when the first filesystem is suspended is killed.
    ///
    /// # Errors
    /// The sentence is logged.
    fn ended(&mut self, step: &Step<'_>, record: &str) -> Result<(), Failure>;

    /// The last call.
    fn close(self) {}
}

/// Makes a type that implements [`Plugin`] the plugin of this library: exports the one symbol that the worker looks for. For an [`Observer`] write
/// `export_plugin!(observer: TYPE)`.
#[macro_export]
macro_rules! export_plugin {
    (observer: $observer:ty) => {
        $crate::export_plugin!(@table $crate::export::Table::of_observer::<$observer>);
    };
    ($plugin:ty) => {
        $crate::export_plugin!(@table $crate::export::Table::of::<$plugin>);
    };
    (@table $table:expr) => {
        /// The one symbol the worker looks for.
        #[allow(unsafe_code, reason = "the symbol's name is the ABI's")]
        #[unsafe(no_mangle)]
        pub extern "C" fn hv_vss_plugin_v1() -> *const $crate::abi::Plugin {
            static TABLE: ::std::sync::OnceLock<$crate::export::Table> = ::std::sync::OnceLock::new();
            TABLE.get_or_init($table).as_ptr()
        }
    };
}
