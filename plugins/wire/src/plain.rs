//! Words of others (a script, a plugin, the name of a mount) on their way to a log or a terminal: which characters would be obeyed there
//! instead of being shown. One answer for whoever writes either.

/// Whether a log reader or a terminal would obey this character: control characters, invisible ones, and those that turn the direction of
/// writing, so that a line reads as something else than it says.
#[must_use]
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_obeyed_and_what_is_written_is_not() {
        for c in (0..32).chain(0x7f..0xa0).filter_map(char::from_u32) {
            assert!(is_obeyed(c), "{c:?}");
        }
        assert!(['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{2028}', '\u{e0041}'].into_iter().all(is_obeyed));
        assert!(!"/data größer 日本 \u{301} [x] \\ \"".chars().any(is_obeyed));
    }
}
