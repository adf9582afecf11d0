//! What of a text reaches the host. The way there is narrower than the pool.
//!
//! FreeBSD's driver makes UTF-16 of a text and writes at most half a field of it, less two units.
//! It tells the host the length of all of it, though, and gets characters outside of the Basic
//! Multilingual Plane wrong (sys/dev/hyperv/utilities/{hv_kvp.c,unicode.h}). So a text is made to
//! fit before the driver has it, whole characters only.

use crate::records::{KEY_SIZE, VALUE_SIZE};

/// Ends a text that was cut.
const CUT: char = '…';

/// A value on one line, as much of it as reaches the host. One that was cut ends in "…".
#[must_use]
pub fn fitting(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut(&one_line, VALUE_SIZE)
}

/// A key on one line, likewise.
#[must_use]
pub fn fitting_key(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut(&one_line, KEY_SIZE)
}

/// What the driver passes on of a field of `size` bytes, as it stands in a pool: any bytes.
#[must_use]
pub fn passed_on(bytes: &[u8], size: usize) -> String {
    cut(&String::from_utf8_lossy(bytes), size)
}

/// As much of a text as fits into a field of `size` bytes and passes the driver.
fn cut(text: &str, size: usize) -> String {
    let passable = |c: char| if c.len_utf16() > 1 { char::REPLACEMENT_CHARACTER } else { c };
    let text: String = text.chars().map(passable).collect();
    if fits(&text, size) {
        return text;
    }
    // The last of the units is the mark's.
    let mut cut = String::new();
    for c in text.chars().take(most_units(size) - 1) {
        if cut.len() + c.len_utf8() + CUT.len_utf8() >= size {
            break;
        }
        cut.push(c);
    }
    cut.push(CUT);
    cut
}

/// How many UTF-16 units of a field the driver passes on.
const fn most_units(size: usize) -> usize {
    size / 2 - 2
}

/// Whether the driver passes all of this on from a field of `size` bytes.
pub(crate) fn holds(text: &str, size: usize) -> bool {
    text.chars().all(|c| c.len_utf16() == 1) && fits(text, size)
}

/// All characters left are one unit each.
fn fits(text: &str, size: usize) -> bool {
    text.len() < size && text.chars().nth(most_units(size)).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_any_length_and_alphabet_fits_is_cut_between_characters_and_says_so() {
        for (size, fitting) in [(VALUE_SIZE, fitting as fn(&str) -> String), (KEY_SIZE, fitting_key)] {
            for c in ['x', 'é', '€', '\u{1f9ca}'] {
                (0..size + 150).for_each(|length| fits_and_says_so(size, fitting, c, length));
            }
        }
    }

    fn fits_and_says_so(size: usize, fitting: fn(&str) -> String, c: char, length: usize) {
        let text: String = std::iter::repeat_n(c, length).collect();
        let fitting = fitting(&text);
        let units = fitting.encode_utf16().count();
        assert!(fitting.len() < size && units <= most_units(size), "{length} times {c}");
        let whole = length <= most_units(size) && length * c.len_utf8() < size;
        match fitting.strip_suffix(CUT) {
            None => assert_eq!(fitting.chars().count(), length, "{c}"),
            Some(kept) => {
                assert!(!whole || c == '\u{1f9ca}', "{length} times {c} would have fitted");
                // Nothing more would have: not even one character.
                let more = format!("{kept}{}{CUT}", kept.chars().next().unwrap());
                assert!(!fits(&more, size), "{length} times {c}");
            }
        }
    }

    #[test]
    fn what_the_driver_would_spoil_or_end_at_is_replaced() {
        assert_eq!(fitting("two\nlines\0and\tmore"), "two lines and more");
        assert_eq!(fitting("ice \u{1f9ca}, naïve €"), "ice \u{fffd}, naïve €");
    }

    #[test]
    fn what_another_program_wrote_keeps_its_lines_and_what_is_no_utf_8_is_replaced() {
        assert_eq!(passed_on(b"two\nlines \xff", VALUE_SIZE), "two\nlines \u{fffd}");
    }
}
