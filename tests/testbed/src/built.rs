//! Where the programs under test are: beside the test itself, built by one `cargo build --workspace`.

use std::path::{Path, PathBuf};

/// The program or library of this name.
///
/// # Panics
/// When it has not been built.
#[must_use]
#[track_caller]
pub fn built(name: &str) -> PathBuf {
    there(directory().join(name), "cargo build --workspace")
}

/// The library of the example of this name.
///
/// # Panics
/// When it has not been built.
#[must_use]
#[track_caller]
pub fn example(name: &str) -> PathBuf {
    let file = format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    there(directory().join("examples").join(file), "cargo build --workspace --examples")
}

#[track_caller]
fn there(path: PathBuf, command: &str) -> PathBuf {
    assert!(path.exists(), "{} is not there: run `{command}` before the test", path.display());
    path
}

/// `target/debug` or `target/release`: a test runs from `deps` below it, a program from there.
fn directory() -> PathBuf {
    let here = std::env::current_exe().expect("every process has a program");
    let above = here.parent().expect("which lies in a directory");
    match above.file_name() {
        Some(name) if name == "deps" => above.parent().map(Path::to_owned).expect("deps lies in target"),
        _ => above.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_never_built_is_asked_for() {
        let panic = std::panic::catch_unwind(|| built("hv_vss_no_such_program")).expect_err("it is not there");
        assert!(panic.downcast_ref::<String>().expect("words").contains("cargo build --workspace"));
    }
}
