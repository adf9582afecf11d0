//! The first line of a script: which program the kernel will start for it, whether there is one, and whether root may run that.
//!
//! What execve(2) refuses here is refused in CHECK, with its cause: a carriage return at the end of the line looks like a missing file to the
//! kernel.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::access::{self, Wanted};
use crate::message;
use crate::settings::HookSettings;
use crate::user::Identity;

/// More than any system reads of a first line.
const LINE: u64 = 4096;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the first bytes of a file say.
#[derive(Debug, PartialEq, Eq)]
enum First {
    /// A compiled program.
    Program,
    /// A script: its interpreter, and the rest of the line.
    Script { interpreter: PathBuf, argument: String },
}

/// Judges what the kernel would start for the file.
///
/// # Errors
/// What is wrong and what to do, as half a sentence.
pub(crate) fn judge(file: &Path, who: Option<&Identity>, settings: &HookSettings) -> Result<(), String> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(LINE).read_to_end(&mut bytes))
        .map_err(|cause| format!("{} can't be read: {cause}", file.display()))?;
    let First::Script { interpreter, argument } = read(&bytes)? else {
        return access::judge(file, Wanted::Execute, who);
    };
    access::judge(file, Wanted::ReadAndExecute, who)?;
    let interpreter = program(&interpreter, who)?;
    if interpreter.file_name().is_some_and(|name| name == "env")
        && let Some(name) = looked_up_by_env(&argument)
    {
        let found = find(&name, settings)?;
        program(&found, who)?;
    }
    Ok(())
}

fn read(bytes: &[u8]) -> Result<First, String> {
    if bytes.is_empty() {
        return Err("it is empty: write a script into it, or remove it".to_owned());
    }
    if bytes.starts_with(b"\x7fELF") {
        return Ok(First::Program);
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        return Err("it begins with a byte order mark (EF BB BF), before its #!: save it without one".to_owned());
    }
    let Some(line) = bytes.strip_prefix(b"#!") else {
        return Err("its first line does not begin with #!: name its interpreter there, as in #!/bin/sh".to_owned());
    };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        return Err(
            "its first line ends with a carriage return (a file with DOS line ends), which would be part of the interpreter's name: \
             remove it, for example with tr -d '\\r'"
                .to_owned(),
        );
    }
    let line = String::from_utf8_lossy(line);
    let line = line.trim();
    let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    if !interpreter.starts_with('/') {
        return Err(format!(
            "its first line names the interpreter \"{interpreter}\", which is no whole path: begin it with \"/\""
        ));
    }
    Ok(First::Script { interpreter: interpreter.into(), argument: argument.trim().to_owned() })
}

/// The program that env(1) looks for, if that can be told.
fn looked_up_by_env(argument: &str) -> Option<String> {
    let Some(split) = argument.strip_prefix("-S") else {
        // The kernel passes all of the rest as one argument.
        let plain = !argument.is_empty() && !argument.starts_with('-') && !argument.contains('=');
        return plain.then(|| argument.to_owned());
    };
    let mut words = split.split_ascii_whitespace().skip_while(|word| word.contains('='));
    words.next().filter(|word| !word.starts_with('-')).map(str::to_owned)
}

fn find(name: &str, settings: &HookSettings) -> Result<PathBuf, String> {
    if name.contains('/') {
        return Ok(PathBuf::from("/").join(name));
    }
    let path = settings.environment.get("PATH").map_or(message::PATH, String::as_str);
    let found = path.split(':').map(|directory| Path::new(directory).join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        format!("its first line looks for \"{name}\", which is in no directory of a hook's PATH ({path}): install it, or name the whole path")
    })
}

/// Judges a program that will be run as the hook's user.
fn program(path: &Path, who: Option<&Identity>) -> Result<PathBuf, String> {
    if !path.exists() {
        return Err(format!("its interpreter {} is not there: install it, or correct the first line", path.display()));
    }
    let owner = who.map(|who| who.uid.as_raw());
    let resolved = hv_vss_trust::program(path, owner).map_err(|distrust| format!("its interpreter: {distrust}"))?;
    if crate::survey::mode(&resolved)? & 0o111 == 0 {
        return Err(format!("its interpreter {} is not executable", path.display()));
    }
    access::judge(&resolved, Wanted::Execute, who).map_err(|why| format!("its interpreter: {why}"))?;
    // Named as it is in the line: /usr/bin/env may be a link.
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(bytes: &[u8], naming: &str) {
        let why = read(bytes).unwrap_err();
        assert!(why.contains(naming), "{why}");
    }

    #[test]
    fn each_kind_of_file_that_execve_refuses_is_named_by_its_cause() {
        refused(b"", "is empty");
        refused(b"echo hello\n", "does not begin with #!");
        refused(b"\n#!/bin/sh\n", "does not begin with #!");
        refused(b"\xef\xbb\xbf#!/bin/sh\n", "byte order mark");
        refused(b"#!/bin/sh\r\necho\r\n", "carriage return");
        refused(b"#!sh\n", "no whole path");
        refused(b"#!\n", "no whole path");
    }

    #[test]
    fn the_interpreter_is_what_stands_before_the_first_space() {
        let script = |line: &[u8]| match read(line).unwrap() {
            First::Script { interpreter, argument } => (interpreter.display().to_string(), argument),
            First::Program => panic!("no script"),
        };
        assert_eq!(script(b"#!/bin/sh"), ("/bin/sh".into(), String::new()));
        assert_eq!(script(b"#! /bin/sh -e \nexit"), ("/bin/sh".into(), "-e".into()));
        assert_eq!(script(b"#!/usr/bin/env bash\n"), ("/usr/bin/env".into(), "bash".into()));
        assert_eq!(read(b"\x7fELF\x02"), Ok(First::Program));
    }

    #[test]
    fn env_looks_for_the_first_word_that_is_no_variable() {
        for (argument, name) in [
            ("bash", Some("bash")),
            ("bash -e", Some("bash -e")),
            ("-S bash -e", Some("bash")),
            ("-S A=b C=d python3 -u", Some("python3")),
            ("-i", None),
            ("-S -i sh", None),
            ("", None),
        ] {
            assert_eq!(looked_up_by_env(argument).as_deref(), name, "{argument}");
        }
    }
}
