//! What a script wrote, kept within bounds and made fit for a log: a flood neither fills the memory nor the log, and no escape sequence reaches
//! the terminal of whoever reads it.

use std::collections::VecDeque;
use std::fmt::Write;
use std::os::fd::BorrowedFd;

use hv_vss_wire::is_obeyed;
use nix::errno::Errno;
use nix::unistd::read;

/// What is kept of the beginning, in bytes.
const HEAD: usize = 6 << 10;
/// What is kept of the end, in bytes: the reason of a failure is often the last thing said.
const TAIL: usize = 2 << 10;
/// Characters of a line in the log.
const LINE: usize = 400;
/// Characters of the reason for a failure.
const REASON: usize = 400;
/// Bytes read from one pipe before the others have their turn.
const GULP: usize = 64 << 10;
/// A line with one of these says what went wrong.
const FAULTS: [&str; 9] = ["ERROR", "Error", "error:", "FATAL", "fatal:", "PANIC", "failed", "Failed", "FAILED"];
/// Lines that explain the one before, whatever words are in them.
const EXPLANATIONS: [&str; 4] = ["HINT:", "DETAIL:", "CONTEXT:", "STATEMENT:"];

/// The bytes a script wrote to stdout and stderr, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Output {
    /// Adds what was read.
    pub(crate) fn push(&mut self, read: &[u8]) {
        let (head, rest) = read.split_at(read.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let beyond = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..beyond);
        self.dropped += beyond as u64;
    }

    /// The lines for the log, each harmless and of bounded length; where something was left out, a line says how much.
    #[must_use]
    pub(crate) fn lines(&self) -> Vec<String> {
        if self.dropped == 0 {
            let mut all = self.head.clone();
            all.extend(&self.tail);
            return harmless_lines(&all);
        }
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let mut lines = harmless_lines(&self.head);
        lines.push(format!("[{} bytes more are not shown]", self.dropped));
        lines.extend(harmless_lines(&tail));
        lines
    }

    /// What went wrong, for the sentence about a failure: the last line that says so, else the last two lines.
    #[must_use]
    pub(crate) fn reason(&self) -> Option<String> {
        let lines = self.lines();
        let explains = |line: &str| EXPLANATIONS.iter().any(|word| line.contains(word));
        let says_so = |line: &&String| !explains(line) && FAULTS.iter().any(|word| line.contains(word));
        let reason = match lines.iter().rev().find(says_so) {
            Some(line) => line.clone(),
            None => {
                let two = lines[lines.len().saturating_sub(2)..].join(" / ");
                if two.chars().count() > REASON { lines.last().cloned().unwrap_or_default() } else { two }
            }
        };
        (!reason.is_empty()).then(|| cut(&reason))
    }
}

/// The reason as far as there is room for it, with a mark where it was cut.
fn cut(text: &str) -> String {
    match text.char_indices().nth(REASON) {
        Some((end, _)) => format!("{} [...]", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a pipe has a writer left.
#[derive(PartialEq)]
pub(crate) enum Pipe {
    Open,
    Ended,
}

/// Reads what is there, a gulp at most.
pub(crate) fn drain(end: BorrowedFd<'_>, take: &mut dyn FnMut(&[u8])) -> Pipe {
    let mut bytes = [0; 8 << 10];
    let mut taken = 0;
    while taken < GULP {
        match read(end, &mut bytes) {
            Ok(0) => return Pipe::Ended,
            Ok(count) => {
                take(&bytes[..count]);
                taken += count;
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Pipe::Open,
            Err(_) => return Pipe::Ended,
        }
    }
    Pipe::Open
}

fn harmless_lines(bytes: &[u8]) -> Vec<String> {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.trim_ascii().is_empty()).map(harmless).collect()
}

/// One line without anything that a terminal or a log reader would obey: control characters, invisible ones and those that turn the direction of
/// writing are spelled out.
fn harmless(line: &[u8]) -> String {
    let mut out = String::new();
    let mut length = 0;
    for chunk in line.utf8_chunks() {
        for c in chunk.valid().chars() {
            if length == LINE {
                out.push_str(" [...]");
                return out;
            }
            length += 1;
            match c {
                '\t' => out.push(' '),
                _ if is_obeyed(c) => out.extend(c.escape_unicode()),
                _ => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            length += 1;
            // Writing to a string can't fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
        if length > LINE {
            out.push_str(" [...]");
            return out;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Output {
        let mut output = Output::default();
        output.push(bytes);
        output
    }

    #[test]
    fn what_fits_is_shown_whole_however_it_was_cut() {
        let text = b"first\n\n  \r\nsecond\r\nthird";
        for cut in 0..=text.len() {
            let mut output = of(&text[..cut]);
            output.push(&text[cut..]);
            assert_eq!(output.lines(), ["first", "second", "third"], "cut at {cut}");
            assert_eq!(output.reason().as_deref(), Some("second / third"));
        }
        assert_eq!(of(b"").reason(), None);
    }

    #[test]
    fn the_reason_is_the_line_that_says_what_went_wrong() {
        for (said, reason) in [
            (
                "begin\nERROR:  relation \"x\" does not exist\nDETAIL: none\nHINT:  the import failed, see the log\n",
                "ERROR:  relation \"x\" does not exist",
            ),
            (
                "can't reach the server\n[post-thaw] cleanup completed\n",
                "can't reach the server / [post-thaw] cleanup completed",
            ),
            (
                "psql: error: connection to server failed: FATAL:  no such role\nbye\n",
                "psql: error: connection to server failed: FATAL:  no such role",
            ),
            ("ERROR: first\nERROR: second\n", "ERROR: second"),
            ("one line", "one line"),
        ] {
            assert_eq!(of(said.as_bytes()).reason().as_deref(), Some(reason), "{said}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_with_a_mark() {
        let reason = of("ä".repeat(1000).as_bytes()).reason().unwrap();
        assert!(reason.ends_with("ä [...]"), "{reason}");
        assert!(reason.chars().count() <= REASON + 12, "{reason}");
    }

    #[test]
    fn of_a_flood_the_beginning_and_the_end_are_kept_and_the_rest_is_counted() {
        let mut output = of(b"the beginning\n");
        for _ in 0..1000 {
            output.push(&[b'x'; 10_000]);
        }
        output.push(b"\nthe end\n");
        let lines = output.lines();
        assert_eq!(lines[0], "the beginning");
        assert_eq!(output.reason().as_deref(), Some("the end"));
        let told = format!("[{} bytes more are not shown]", 14 + 10_000_000 + 9 - HEAD - TAIL);
        assert!(lines.contains(&told), "{told} in {lines:?}");
        assert!(output.head.len() + output.tail.len() <= HEAD + TAIL);
        assert!(lines.iter().all(|line| line.chars().count() <= LINE + 10));
    }

    #[test]
    fn nothing_a_terminal_would_obey_reaches_the_log() {
        assert_eq!(of(b"\x1b[2Jgone\x07").lines(), ["\\u{1b}[2Jgone\\u{7}"]);
        assert_eq!(of("a\u{9b}b\u{202e}c".as_bytes()).lines(), ["a\\u{9b}b\\u{202e}c"]);
        assert_eq!(of(b"a\xffb\tc").lines(), ["a\\xffb c"]);
        for byte in 0..=255_u8 {
            let shown = of(&[b'a', byte, b'z']).lines().concat();
            assert!(shown.chars().all(|c| !c.is_control()), "{byte:#x}: {shown:?}");
        }
        assert_eq!(of("größer, 日本".as_bytes()).lines(), ["größer, 日本"], "ordinary letters stay as they are");
    }
}
