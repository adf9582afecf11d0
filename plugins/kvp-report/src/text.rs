//! What of a text reaches the host. The way there is narrower than the pool: FreeBSD's driver makes UTF-16 of a value, writes at most
//! [`MOST_UNITS`] of it, but tells the host the length of all of it, and gets characters outside of the Basic Multilingual Plane wrong
//! (sys/dev/hyperv/utilities/{hv_kvp.c,unicode.h}). So a text is made to fit before it is written, whole characters only.

/// The size of a value in the pool's file, in bytes; the last one is a null byte.
pub(crate) const VALUE_SIZE: usize = 2048;
/// The size of a key in the pool's file, in bytes; the last one is a null byte.
pub(crate) const KEY_SIZE: usize = 512;
/// How many UTF-16 units of a value the driver passes on: HV_KVP_EXCHANGE_MAX_VALUE_SIZE / 2 - 2.
const MOST_UNITS: usize = VALUE_SIZE / 2 - 2;
/// Ends a text that was cut.
const CUT: char = '…';

/// The text on one line, as much of it as reaches the host; one that was cut ends in "…".
pub(crate) fn fitting(text: &str) -> String {
    let passable = |c: char| match c {
        c if c.is_control() => ' ',
        c if c.len_utf16() > 1 => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    let text: String = text.chars().map(passable).collect();
    if fits(&text) {
        return text;
    }
    // The last of the units is the mark's.
    let mut cut = String::new();
    for c in text.chars().take(MOST_UNITS - 1) {
        if cut.len() + c.len_utf8() + CUT.len_utf8() >= VALUE_SIZE {
            break;
        }
        cut.push(c);
    }
    cut.push(CUT);
    cut
}

/// All characters left are one unit each.
fn fits(text: &str) -> bool {
    text.len() < VALUE_SIZE && text.chars().nth(MOST_UNITS).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_any_length_and_alphabet_fits_is_cut_between_characters_and_says_so() {
        for c in ['x', 'é', '€', '\u{1f9ca}'] {
            for length in 0..2200 {
                let text: String = std::iter::repeat_n(c, length).collect();
                let fitting = fitting(&text);
                assert!(
                    fitting.len() < VALUE_SIZE && fitting.encode_utf16().count() <= MOST_UNITS,
                    "{length} times {c}"
                );
                let whole = length <= MOST_UNITS && length * c.len_utf8() < VALUE_SIZE;
                match fitting.strip_suffix(CUT) {
                    None => assert_eq!(fitting.chars().count(), length, "{c}"),
                    Some(kept) => {
                        assert!(!whole || c == '\u{1f9ca}', "{length} times {c} would have fitted");
                        // Nothing more would have: not even one character.
                        let more = format!("{kept}{}{CUT}", kept.chars().next().unwrap());
                        assert!(!fits(&more), "{length} times {c}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_the_driver_would_spoil_or_end_at_is_replaced() {
        assert_eq!(fitting("two\nlines\0and\tmore"), "two lines and more");
        assert_eq!(fitting("ice \u{1f9ca}, naïve €"), "ice \u{fffd}, naïve €");
    }
}
