//! Small files that root keeps for itself: read with a bound, removed if there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// Reads a file of fewer than `bound` bytes; none: there is no such file.
///
/// # Errors
/// When it can't be read, or is longer.
pub fn read_within(path: &Path, bound: u64) -> io::Result<Option<Vec<u8>>> {
    // Without waiting, and no link: what lies in its place may be a FIFO, or lead to a device that never ends.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match File::options().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    regular(&file)?;
    let mut bytes = Vec::new();
    if file.take(bound).read_to_end(&mut bytes)? as u64 == bound {
        return Err(io::Error::other(format!("it has {bound} bytes or more, and we never write so many")));
    }
    Ok(Some(bytes))
}

/// What an open file is, if it is a regular one.
pub(crate) fn regular(file: &File) -> io::Result<fs::Metadata> {
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok(metadata),
        false => Err(io::Error::other("it is not a regular file; find out what created it, then remove it")),
    }
}

/// Removes a file; one that is not there is removed already.
///
/// # Errors
/// When the directory can't be written.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_within_its_bound_and_is_gone_once_removed() {
        let path = std::env::temp_dir().join(format!("hv_vss-keep-{}", std::process::id()));
        assert_eq!(read_within(&path, 8).unwrap(), None);
        fs::write(&path, b"1234567").unwrap();
        assert_eq!(read_within(&path, 8).unwrap().as_deref(), Some(&b"1234567"[..]));
        assert!(read_within(&path, 7).unwrap_err().to_string().contains("7 bytes or more"));
        remove(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(read_within(&path, 8).is_err(), "a link was followed");
        remove(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read_within(&path, 8).unwrap_err().to_string().contains("not a regular file"));
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read_within(&path, 8).unwrap(), None);
    }
}
