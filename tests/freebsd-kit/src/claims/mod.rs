//! The claims, by what they are about, and how they are counted.

mod blocking;
mod holding;
mod last_wish;
mod plugin;
mod refusals;
mod system;

pub(crate) use blocking::blocking;
pub(crate) use holding::holding;
pub(crate) use last_wish::last_wish;
pub(crate) use plugin::{Plugin, plugin};
pub(crate) use refusals::refusals;
pub(crate) use system::system;

use crate::actor::Actor;
use crate::ground::{Disk, text};

/// What came out so far.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) met: usize,
    pub(crate) failed: usize,
}

impl Report {
    /// Tries one claim and prints its line.
    pub(crate) fn claim(&mut self, claim: &str, holds: impl FnOnce() -> Result<(), String>) {
        match holds() {
            Ok(()) => {
                self.met += 1;
                println!("met     {claim}");
            }
            Err(reason) => {
                self.failed += 1;
                println!("NOT MET {claim}: {reason}");
            }
        }
    }

    /// Prints what this kernel does where nothing of ours depends on it, and kernels may differ.
    pub(crate) fn observe(&mut self, what: &str, seen: impl FnOnce() -> Result<String, String>) {
        match seen() {
            Ok(seen) => println!("seen    {what} {seen}"),
            Err(reason) => {
                self.failed += 1;
                println!("NOT MET {what}: {reason}");
            }
        }
    }
}

/// A process that holds this filesystem.
fn holder_of(disk: &Disk) -> Result<Actor, String> {
    let holder = Actor::start("hold", &[&disk.id.to_string()])?;
    holder.says("held")?;
    Ok(holder)
}

/// Somebody who wants to create a file there.
fn writer_on(disk: &Disk) -> Result<Actor, String> {
    Actor::start("create", &[&text(&disk.file(&format!("file-{}", std::process::id())))])
}

/// A new file can't be created there. The writer is returned: it goes on once the filesystem is resumed.
fn is_frozen(disk: &Disk) -> Result<Actor, String> {
    let writer = writer_on(disk)?;
    writer
        .says_nothing()
        .map_err(|reason| format!("{} should be frozen, but a writer did go on: {reason}", disk.on.display()))?;
    Ok(writer)
}

/// A new file can be created there.
fn is_writable(disk: &Disk) -> Result<(), String> {
    let mut writer = writer_on(disk)?;
    writer.says("created").map_err(|reason| format!("{} should be writable: {reason}", disk.on.display()))?;
    writer.has_ended()
}

/// The writer that was blocked has gone on.
fn went_on(mut writer: Actor) -> Result<(), String> {
    writer.says("created")?;
    writer.has_ended()
}
