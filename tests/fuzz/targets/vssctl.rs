//! Whatever may come from the daemon's socket, shown in every way that vssctl has: no panic, nothing that steers the terminal, nothing wider than
//! it, and pictures without numbers that are none.
//!
//! An even first byte: the rest is an answer's JSON. An odd one: it is taken apart into records.
#![no_main]

use hv_vss_core::control::Reply;
use hv_vss_fuzz::{Bytes, record, several};
use libfuzzer_sys::fuzz_target;
use vssctl::{Paper, shown, timeline};

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let reply = if first % 2 == 0 {
        let Ok(reply) = serde_json::from_slice::<Reply>(rest) else { return };
        reply
    } else {
        let Ok(records) = several(&mut Bytes::new(rest), 3, record) else { return };
        Reply::Records { records, damage: None }
    };
    let width = 48 + usize::from(first / 2) % 73;
    for (colour, unicode) in [(false, false), (false, true), (true, true)] {
        let paper = Paper { width, colour, unicode };
        for text in shown::answer(&reply, 1_795_388_400_000, &paper) {
            harmless(&text, colour);
            // Lists have columns of their own; below some width a terminal has to wrap them.
            fits(&text, width.max(72));
        }
    }
    if let Reply::Records { records, .. } = &reply {
        for record in records {
            let picture = timeline::svg(record);
            assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
            for wrong in ["=\"NaN", "=\"inf", "=\"-inf"] {
                assert!(!picture.contains(wrong), "{wrong} in {picture}");
            }
            fits(&timeline::terminal(record, &Paper { width, colour: false, unicode: true }), width);
            assert!(!picture.chars().any(|c| c.is_control() && c != '\n'), "{picture:?}");
        }
    }
});

/// Only our own colours steer the terminal.
fn harmless(text: &str, colour: bool) {
    let mut rest = text.replace('\n', "");
    if colour {
        for code in ["1", "32", "33", "34", "1;31", "1;32", "2", "0"] {
            rest = rest.replace(&format!("\x1b[{code}m"), "");
        }
    }
    assert!(!rest.chars().any(char::is_control), "{rest:?}");
}

/// No line is wider than the terminal, but for a single word that is: a path is not torn, so that it can be copied.
fn fits(text: &str, width: usize) {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    for line in plain.lines() {
        let columns = line.chars().count();
        let words = line.split(' ').filter(|word| !word.is_empty());
        let longest = words.map(|word| word.chars().count()).max().unwrap_or(0);
        assert!(columns <= width || longest > 12, "{columns} columns in {width}: {line:?} in\n{plain}");
    }
}
