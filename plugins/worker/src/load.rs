//! From a file to a plugin's table: trusted, well formed, loaded, complete. Each step that fails gives one sentence that names the file.
#![allow(unsafe_code, reason = "loads code, and reads a table that the code hands out")]

use std::ffi::{CStr, c_char};
use std::path::Path;

use hv_vss_plugin::abi;
use hv_vss_wire::About;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::link::one_line;
use crate::{elf, libraries};

/// The table in front of any version: no such plugin is smaller, and none of ours will be as large.
const SMALLEST_TABLE: usize = 8;
const LARGEST_TABLE: usize = 64 << 10;

/// A plugin whose table is whole.
pub struct Loaded {
    /// Its table, as far as this worker knows it; what the plugin's own is too short for is zero.
    pub table: abi::Plugin,
    /// The length of the plugin's own table, in bytes.
    pub table_size: usize,
    /// What it says of itself.
    pub about: About,
}

/// Checks the file and loads it. It is never unloaded: the process ends with it.
///
/// A process that is not root loads what its user could run anyway: that is a vendor who tries a plugin, not hv_vss_daemon.
///
/// # Errors
/// A sentence that names the file and what is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, String> {
    match hv_vss_trust::regular_file(path, None) {
        Ok(resolved) => {
            libraries::judge(&resolved).map_err(|why| format!("{} is not loaded: it {why}", resolved.display()))?;
            load_trusted(&resolved)
        }
        Err(_) if path.is_file() && !nix::unistd::geteuid().is_root() => load_trusted(path),
        Err(distrust) => Err(distrust.to_string()),
    }
}

/// Loads a file that was found trustworthy, with all it brings along; `path` is the resolved one.
///
/// # Errors
/// A sentence that names the file and what is wrong with it.
pub fn load_trusted(path: &Path) -> Result<Loaded, String> {
    let name = path.display();
    elf::needed_libraries(path).map_err(|why| format!("{name} is no plugin: {why}"))?;

    // SAFETY: this runs the constructors of a file that root alone can write. They may do anything; that is why this process exists.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| format!("{name} can't be loaded: {}", cause(&error)))?;
    // SAFETY: a symbol of this name has this type, by the header that defines both.
    let entry = unsafe { library.get::<abi::Entry>(abi::ENTRY_SYMBOL.as_bytes()) }.map(|symbol| *symbol);
    // Unloading would run destructors and leave our table's pointers dangling.
    std::mem::forget(library);
    let entry = entry.map_err(|_| {
        format!(
            "{name} is no plugin: it does not export {} (is the function declared HV_VSS_EXPORT, or extern \"C\"?)",
            abi::ENTRY_SYMBOL
        )
    })?;
    // SAFETY: the header's type; it must do nothing but return the table.
    let declared = unsafe { entry() };
    // SAFETY: what the header promises of that pointer.
    unsafe { copied(declared) }.map_err(|why| format!("{name} is no plugin: {why}"))
}

/// libloading puts the linker's own message behind a general one.
fn cause(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// From a table to what this worker makes of it.
///
/// # Errors
/// A sentence, when it is no table, or lacks what every plugin must have.
///
/// # Safety
/// `declared` is null, or points to a table whose first four bytes are its length.
#[doc(hidden)]
pub unsafe fn copied(declared: *const abi::Plugin) -> Result<Loaded, String> {
    if declared.is_null() {
        return Err(format!("{}() returned no table", abi::ENTRY_SYMBOL));
    }
    if !declared.is_aligned() {
        return Err(format!("{}() returned an address that can't be that of a table", abi::ENTRY_SYMBOL));
    }
    // SAFETY: the size is the first member of every version.
    let size = unsafe { (*declared).size } as usize;
    if !(SMALLEST_TABLE..=LARGEST_TABLE).contains(&size) {
        return Err(format!(
            "its table says that it is {size} bytes long: `size` must be sizeof(struct hv_vss_plugin), which is {} here",
            size_of::<abi::Plugin>()
        ));
    }
    let mut table = EMPTY;
    // SAFETY: the plugin's table has `size` bytes and ours has as many as a table of ours; the smaller of both is copied.
    unsafe {
        std::ptr::copy_nonoverlapping(
            declared.cast::<u8>(),
            (&raw mut table).cast::<u8>(),
            size.min(size_of::<abi::Plugin>()),
        );
    }
    let about = about(&table)?;
    Ok(Loaded { table, table_size: size, about })
}

const EMPTY: abi::Plugin = abi::Plugin {
    size: 0,
    abi: 0,
    roles: 0,
    flags: 0,
    number: 0,
    reserved: 0,
    name: std::ptr::null(),
    version: std::ptr::null(),
    description: std::ptr::null(),
    open: None,
    check: None,
    claim: None,
    freeze: None,
    thaw: None,
    close: None,
    ended: None,
};

/// The required members that a table does not have, by their names in the header.
#[must_use]
pub fn missing_members(table: &abi::Plugin) -> Vec<&'static str> {
    let filesystem = table.roles & abi::ROLE_FILESYSTEM != 0;
    let observer = table.roles & abi::ROLE_OBSERVER != 0;
    let present = [
        ("abi", table.abi != 0),
        ("roles", table.roles & (abi::ROLE_FILESYSTEM | abi::ROLE_APPLICATION | abi::ROLE_OBSERVER) != 0),
        ("name", !table.name.is_null()),
        ("version", !table.version.is_null()),
        ("open", table.open.is_some()),
        ("check", table.check.is_some() || observer),
        ("claim", table.claim.is_some() || !filesystem),
        ("freeze", table.freeze.is_some() || observer),
        ("thaw", table.thaw.is_some() || observer),
        ("close", table.close.is_some()),
        ("ended", table.ended.is_some() || !observer),
    ];
    present.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect()
}

fn about(table: &abi::Plugin) -> Result<About, String> {
    let missing = missing_members(table);
    if !missing.is_empty() {
        let members = if missing.len() == 1 { "member" } else { "members" };
        return Err(format!("its table lacks the required {members} {}", missing.join(", ")));
    }
    if table.roles & abi::ROLE_OBSERVER != 0 && table.roles & (abi::ROLE_FILESYSTEM | abi::ROLE_APPLICATION) != 0 {
        let why = "it is an observer and has another role beside that: nobody may wait for an observer, so make two plugins of it";
        return Err(why.to_owned());
    }
    let number = match table.number {
        0 => None,
        number @ 1..=99 => u8::try_from(number).ok(),
        number => return Err(format!("it asks for the number {number}: 1 to 99 are possible, or 0 for the default")),
    };
    let text = |pointer: *const c_char| {
        if pointer.is_null() {
            return String::new();
        }
        // SAFETY: a C string that stays valid as long as the plugin is loaded, says the header.
        one_line(&unsafe { CStr::from_ptr(pointer) }.to_string_lossy())
    };
    let about = About {
        name: text(table.name),
        version: text(table.version),
        description: text(table.description),
        abi: table.abi,
        filesystem: table.roles & abi::ROLE_FILESYSTEM != 0,
        application: table.roles & abi::ROLE_APPLICATION != 0,
        observer: table.roles & abi::ROLE_OBSERVER != 0,
        holds_survive_exit: table.flags & abi::HOLDS_SURVIVE_EXIT != 0,
        number,
    };
    if about.name.is_empty() {
        return Err("its name is empty".to_owned());
    }
    Ok(about)
}
