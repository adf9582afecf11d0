//! Small files that root keeps for itself: read with a bound, removed if there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Reads a file of fewer than `bound` bytes; none: there is no such file.
///
/// # Errors
/// When it can't be read, or is longer.
pub fn read_within(path: &Path, bound: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    if file.take(bound).read_to_end(&mut bytes)? as u64 == bound {
        return Err(io::Error::other(format!("it has {bound} bytes or more, and we never write so many")));
    }
    Ok(Some(bytes))
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
        remove(&path).unwrap();
        assert_eq!(read_within(&path, 8).unwrap(), None);
    }
}
