//! The state directory: judged before it is used, and the history in it.

use std::fs;
use std::path::{Path, PathBuf};

use hv_vss_core::history::{History, MOST_BYTES};

/// Reads the file; one that is not there is an empty one.
#[must_use]
pub fn history(path: &Path) -> History {
    match hv_vss_trust::read_within(path, MOST_BYTES) {
        Ok(Some(bytes)) => History::parse(&String::from_utf8_lossy(&bytes)),
        Ok(None) => History::default(),
        Err(error) => {
            let mut unread = History::default();
            unread.damage = Some(format!("can't read the history {}: {error}", path.display()));
            unread
        }
    }
}

/// Makes the state directory, if it is not there yet, and judges it: what an attacker could put there would be believed by the next daemon, and
/// what is written there could be led elsewhere. Gives back its resolved path, the one to use.
///
/// # Errors
/// A sentence; a file in its place is one.
pub fn directory(path: &Path) -> Result<PathBuf, String> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => hv_vss_trust::directory(path).map_err(|distrust| distrust.to_string()),
        Err(error) if path.exists() && !path.is_dir() => {
            Err(format!("{} is not a directory ({error}); move it away", path.display()))
        }
        Err(error) => Err(format!("can't make the directory {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("hv_vss-{name}-{}", std::process::id()))
    }

    #[test]
    fn no_history_is_an_empty_one_and_one_too_long_is_left_alone() {
        let path = place("history");
        assert_eq!(history(&path).damage, None);
        fs::File::create(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(history(&path).damage.unwrap().contains("never write so many"));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_state_directory_is_named_and_a_directory_is_fine() {
        let path = place("state");
        fs::write(&path, b"x").unwrap();
        assert!(directory(&path).unwrap_err().contains("is not a directory"));
        fs::remove_file(&path).unwrap();
        for _ in 0..2 {
            // Whoever runs this test may not be root, and then a directory of theirs is made and not trusted.
            let judged = directory(&path);
            assert!(path.is_dir());
            match nix::unistd::geteuid().is_root() {
                true => assert_eq!(judged, Ok(fs::canonicalize(&path).unwrap())),
                false => assert!(judged.unwrap_err().contains("not to root")),
            }
        }
        fs::remove_dir(&path).unwrap();
    }
}
