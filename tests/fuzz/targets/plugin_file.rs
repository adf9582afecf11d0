//! Any bytes as a plugin's file: it is told what is wrong with it before the dynamic linker sees it. Any words as the worker's options, and any
//! text as the report of the process that had looked at a file.
#![no_main]

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

use hv_vss_worker::elf::{Unloadable, needed_libraries};
use hv_vss_worker::inspect::Report;
use hv_vss_worker::limits::Limits;
use libfuzzer_sys::fuzz_target;

static PLACE: LazyLock<(PathBuf, Mutex<File>)> = LazyLock::new(|| {
    let path = PathBuf::from(format!("/dev/shm/hv_vss-fuzz-plugin-{}", std::process::id()));
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).expect("a file in memory");
    (path, Mutex::new(file))
});

fuzz_target!(|data: &[u8]| {
    let (path, file) = &*PLACE;
    {
        let mut file = file.lock().expect("one thread");
        file.set_len(0).expect("an empty file");
        file.rewind().expect("its beginning");
        file.write_all(data).expect("room in memory");
    }
    match needed_libraries(path) {
        Ok(names) => {
            assert!(data.starts_with(b"\x7fELF") && data.len() >= 64);
            assert!(names.iter().all(|name| name.len() <= 3 * 256));
        }
        Err(why) => {
            assert!(!why.to_string().is_empty());
            match why {
                Unloadable::Unreadable(error) => panic!("it can be read: {error}"),
                Unloadable::NotElf => assert!(data.len() < 4 || !data.starts_with(b"\x7fELF")),
                Unloadable::Truncated { needed, length, .. } => assert!(needed > length && length == data.len() as u64),
                Unloadable::OtherFormat | Unloadable::OtherMachine(_) | Unloadable::NotShared(_) => {}
                _ => {}
            }
        }
    }
    if let Ok(report) = serde_json::from_slice::<Report>(data) {
        let again = serde_json::to_vec(&report).expect("a report can be written");
        assert_eq!(serde_json::from_slice::<Report>(&again).expect("what we wrote"), report);
    }
    let words = String::from_utf8_lossy(data);
    if let Err(why) = Limits::from_arguments(words.split(' ').map(OsString::from)) {
        assert!(why.contains("option") || why.contains("needs a size"), "{why}");
    }
});
