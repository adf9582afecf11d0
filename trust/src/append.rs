//! Adding to a file that root keeps for itself: lines are added whole or not at all.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::keep::regular;

/// Adds `lines` (each with its line feed) to the file `path`, which is made with mode 0600 if it is missing. Gives the file's length
/// afterwards, in bytes. An unfinished last line, left by a crash, is ended first.
///
/// `path` lies in a directory that [`directory`](crate::directory) gave. Nothing is synced.
///
/// # Errors
/// What the system says; the file is then as it was. Also when it is not a regular file.
pub fn append(path: &Path, lines: &[u8]) -> io::Result<u64> {
    // Without waiting: a FIFO in its place would block the open.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags.bits());
    let mut file = options.open(path)?;
    let length = regular(&file)?.len();
    let mut last = [b'\n'];
    if let Some(at) = length.checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    file.seek(SeekFrom::Start(length))?;
    let added: Vec<u8> = if last == [b'\n'] { lines.to_vec() } else { [b"\n", lines].concat() };
    match file.write_all(&added) {
        Ok(()) => Ok(length + added.len() as u64),
        Err(error) => {
            // Half a line would be read as damage.
            let _ = file.set_len(length);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lines_are_added_and_an_unfinished_one_is_ended_first() {
        let path = std::env::temp_dir().join(format!("hv_vss-append-{}", std::process::id()));
        assert_eq!(append(&path, b"one\n").unwrap(), 4);
        fs::write(&path, b"one\nhal").unwrap();
        assert_eq!(append(&path, b"two\n").unwrap(), 12);
        assert_eq!(fs::read(&path).unwrap(), b"one\nhal\ntwo\n");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_fifo_or_a_link_in_its_place_is_an_error_at_once() {
        let path = std::env::temp_dir().join(format!("hv_vss-append-odd-{}", std::process::id()));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(append(&path, b"x\n").is_err());
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(append(&path, b"x\n").is_err());
        fs::remove_file(&path).unwrap();
    }
}
