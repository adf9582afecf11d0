//! What kind of file a plugin is, told before the dynamic linker sees it.
//!
//! The linker's own messages are short ("invalid ELF header"), and a truncated file makes it map what is not there and die of SIGBUS. Here each
//! of these becomes a sentence. Only the parts that the linker relies on are looked at.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Why a file can't be a plugin for this machine.
#[derive(Debug)]
pub enum Unloadable {
    /// It can't be read.
    Unreadable(io::Error),
    /// It does not begin as an ELF file does.
    NotElf,
    /// 32-bit on a 64-bit machine or the other way round, or the other byte order.
    OtherFormat,
    /// For another processor; its ELF number.
    OtherMachine(u16),
    /// An ELF file, but a program or an object file.
    NotShared(u16),
    /// Its dynamic section is longer than any linker makes one; its length in bytes.
    Absurd(u64),
    /// Something is said to lie beyond the file's end: what, and the length it would need.
    Truncated {
        /// What lies beyond.
        what: &'static str,
        /// How long the file would have to be, in bytes.
        needed: u64,
        /// How long it is, in bytes.
        length: u64,
    },
}

impl fmt::Display for Unloadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "it can't be read: {error}"),
            Self::NotElf => f.write_str("it is not a shared object: it does not begin as an ELF file does"),
            Self::OtherFormat => f.write_str(
                "it is an ELF file for another kind of machine: its word size or byte order is not this one's",
            ),
            Self::OtherMachine(number) => write!(
                f,
                "it is an ELF file for another processor ({}); this machine needs {}",
                machine(*number),
                machine(MACHINE.unwrap_or(0))
            ),
            Self::NotShared(kind) => {
                let kind = match kind {
                    1 => "an object file: link it with -shared",
                    2 => "a program",
                    4 => "a core dump",
                    _ => "something else",
                };
                write!(f, "it is not a shared object but {kind}")
            }
            Self::Absurd(length) => {
                write!(f, "it is not a shared object that any linker made: its dynamic section has {length} bytes")
            }
            Self::Truncated { what, needed, length } => write!(
                f,
                "it is cut off: its {what} would need at least {needed} bytes, and the file has {length}. Copy it anew"
            ),
        }
    }
}

impl std::error::Error for Unloadable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

/// This machine's ELF number, where we know it.
const MACHINE: Option<u16> = if cfg!(target_arch = "x86_64") {
    Some(62)
} else if cfg!(target_arch = "aarch64") {
    Some(183)
} else {
    None
};

fn machine(number: u16) -> String {
    match number {
        3 => "i386".to_owned(),
        40 => "arm".to_owned(),
        62 => "amd64".to_owned(),
        183 => "arm64".to_owned(),
        243 => "riscv".to_owned(),
        other => format!("number {other}"),
    }
}

/// The longest name or search path that is read, in bytes; no path may be longer.
const LONGEST_TEXT: usize = 4096;
const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const SECTION_HEADER: u64 = 64;
const SHARED: u16 = 3;
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
/// Some ten thousand entries. A file can be said to be, and can sparsely be, larger than memory.
const LONGEST_DYNAMIC: u64 = 256 << 10;
const NEEDED: u64 = 1;
const STRING_TABLE: u64 = 5;
/// Names of more objects that are loaded with this one: filters.
const AUXILIARY: u64 = 0x7fff_fffd;
const FILTER: u64 = 0x7fff_ffff;
/// Where the needed libraries are looked for, in the old way and in the new one.
const OLD_SEARCH_PATH: u64 = 15;
const SEARCH_PATH: u64 = 29;

/// What a shared object asks of the dynamic linker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The libraries it needs (`DT_NEEDED`, filters included).
    pub libraries: Vec<String>,
    /// Where it wants them looked for (`DT_RPATH`, `DT_RUNPATH`), each with colons between its directories.
    pub search_paths: Vec<String>,
}

/// Looks at `path` and says which libraries it needs.
///
/// # Errors
/// When the dynamic linker would choke on it.
pub fn needed_libraries(path: &Path) -> Result<Vec<String>, Unloadable> {
    Ok(wishes(path)?.libraries)
}

/// Looks at `path` and says what it asks of the dynamic linker.
///
/// # Errors
/// When the dynamic linker would choke on it.
pub fn wishes(path: &Path) -> Result<Wishes, Unloadable> {
    let file = File::open(path).map_err(Unloadable::Unreadable)?;
    let length = file.metadata().map_err(Unloadable::Unreadable)?.len();
    Image { file, length }.judge()
}

struct Image {
    file: File,
    length: u64,
}

/// A run of the file that is loaded to an address.
struct Segment {
    offset: u64,
    address: u64,
    length: u64,
}

impl Image {
    fn judge(&self) -> Result<Wishes, Unloadable> {
        let mut magic = [0; 4];
        let found = self.file.read_at(&mut magic, 0).map_err(Unloadable::Unreadable)?;
        if found < magic.len() || &magic != b"\x7fELF" {
            return Err(Unloadable::NotElf);
        }
        let header = self.bytes("header", 0, HEADER)?;
        let native_order = if cfg!(target_endian = "little") { 1 } else { 2 };
        // We read the 64-bit form. hv_vss runs on amd64 and arm64, where a 32-bit plugin is of no use.
        if header[4] != 2 || header[5] != native_order {
            return Err(Unloadable::OtherFormat);
        }
        let kind = u16_at(&header, 16);
        let number = u16_at(&header, 18);
        if MACHINE.is_some_and(|ours| ours != number) {
            return Err(Unloadable::OtherMachine(number));
        }
        if kind != SHARED {
            return Err(Unloadable::NotShared(kind));
        }

        let mut loaded = Vec::new();
        let mut dynamic = None;
        let table = u64_at(&header, 32);
        for index in 0..u64::from(u16_at(&header, 56)) {
            let at = table.saturating_add(index * PROGRAM_HEADER);
            let entry = self.bytes("table of segments", at, PROGRAM_HEADER)?;
            let segment =
                Segment { offset: u64_at(&entry, 8), address: u64_at(&entry, 16), length: u64_at(&entry, 32) };
            self.must_hold("contents", segment.offset, segment.length)?;
            match u32_at(&entry, 0) {
                LOAD => loaded.push(segment),
                DYNAMIC => dynamic = Some(segment),
                _ => {}
            }
        }
        // The linker does not need the sections, but they are the last thing in the file: without them the copy was not whole.
        let sections = u64_at(&header, 40);
        if sections != 0 {
            self.must_hold("table of sections", sections, u64::from(u16_at(&header, 60)) * SECTION_HEADER)?;
        }
        match dynamic {
            Some(dynamic) => self.wishes(&dynamic, &loaded),
            None => Ok(Wishes::default()),
        }
    }

    fn wishes(&self, dynamic: &Segment, loaded: &[Segment]) -> Result<Wishes, Unloadable> {
        if dynamic.length > LONGEST_DYNAMIC {
            return Err(Unloadable::Absurd(dynamic.length));
        }
        let table = self.bytes("dynamic section", dynamic.offset, dynamic.length)?;
        let entries: Vec<_> = table.chunks_exact(16).map(|entry| (u64_at(entry, 0), u64_at(entry, 8))).collect();
        let mut wishes = Wishes::default();
        let Some((_, strings)) = entries.iter().find(|(tag, _)| *tag == STRING_TABLE) else { return Ok(wishes) };
        for (tag, name) in &entries {
            let kind = match *tag {
                NEEDED | AUXILIARY | FILTER => &mut wishes.libraries,
                OLD_SEARCH_PATH | SEARCH_PATH => &mut wishes.search_paths,
                _ => continue,
            };
            let address = strings.saturating_add(*name);
            let holds =
                |segment: &&Segment| address.checked_sub(segment.address).is_some_and(|within| within < segment.length);
            let Some(segment) = loaded.iter().find(holds) else { continue };
            kind.push(self.text(segment.offset + (address - segment.address))?);
        }
        Ok(wishes)
    }

    /// The text that begins there and ends with a null byte.
    fn text(&self, at: u64) -> Result<String, Unloadable> {
        let mut bytes = [0; LONGEST_TEXT];
        let count = self.file.read_at(&mut bytes, at).map_err(Unloadable::Unreadable)?;
        match bytes[..count].iter().position(|byte| *byte == 0) {
            Some(end) => Ok(String::from_utf8_lossy(&bytes[..end]).into_owned()),
            None => {
                let needed = at.saturating_add(LONGEST_TEXT as u64);
                Err(Unloadable::Truncated { what: "text for the linker", needed, length: self.length })
            }
        }
    }

    fn must_hold(&self, what: &'static str, offset: u64, length: u64) -> Result<(), Unloadable> {
        let needed = offset.saturating_add(length);
        if needed > self.length { Err(Unloadable::Truncated { what, needed, length: self.length }) } else { Ok(()) }
    }

    fn bytes(&self, what: &'static str, offset: u64, length: u64) -> Result<Vec<u8>, Unloadable> {
        self.must_hold(what, offset, length)?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, offset).map_err(Unloadable::Unreadable)?;
        Ok(bytes)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes[at..].first_chunk().map_or(0, |field| u16::from_ne_bytes(*field))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |field| u32::from_ne_bytes(*field))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |field| u64::from_ne_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_file_that_says_to_be_all_dynamic_section_is_refused_and_not_read() {
        let path = std::env::temp_dir().join(format!("hv_vss-sparse-{}", std::process::id()));
        let length = 1_u64 << 42;
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, if cfg!(target_endian = "little") { 1 } else { 2 }]);
        bytes[16..18].copy_from_slice(&SHARED.to_ne_bytes());
        bytes[18..20].copy_from_slice(&MACHINE.unwrap_or(0).to_ne_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_ne_bytes());
        bytes[56..58].copy_from_slice(&1_u16.to_ne_bytes());
        bytes[64..68].copy_from_slice(&DYNAMIC.to_ne_bytes());
        bytes[64 + 32..64 + 40].copy_from_slice(&length.to_ne_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let sparse = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        // A filesystem that has no such large files has no such plugin either.
        if sparse.set_len(length).is_ok() {
            let refused = needed_libraries(&path);
            assert!(matches!(refused, Err(Unloadable::Absurd(told)) if told == length), "{refused:?}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
