//! The driver's conversions between UTF-8 and UTF-16, as its unicode.h makes them, mistakes included.

/// UTF-16 from a text; all of it, however long.
///
/// Traps: the length that the caller tells the host is that of the whole text, not of what fits; a
/// character outside of the Basic Multilingual Plane gets a wrong second half; what is not UTF-8 is
/// taken for Latin-1 or left out.
pub(crate) fn to_utf16(text: &[u8]) -> Vec<u16> {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    let continues = |at: usize| byte(at) & 0xc0 == 0x80;
    let low = |at: usize| u32::from(byte(at) & 0x3f);
    let mut units = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let lead = byte(at);
        let (value, length, least) = match lead {
            0..0x80 => (u32::from(lead), 1, 0),
            _ if lead >= 0xa0 && !continues(at + 1) => (u32::from(lead), 1, 0),
            0x80..0xc0 | 0xf5.. => {
                at += 1;
                continue;
            }
            0xc0..0xe0 => (u32::from(lead & 0x3f) << 6 | low(at + 1), 2, 0x80),
            0xe0..0xf0 => (u32::from(lead & 0x0f) << 12 | low(at + 1) << 6 | low(at + 2), 3, 0x800),
            0xf0.. => (u32::from(lead & 0x03) << 18 | low(at + 1) << 12 | low(at + 2) << 6 | low(at + 3), 4, 0x10000),
        };
        if (1..length).any(|next| !continues(at + next)) {
            at += 1;
            continue;
        }
        at += length;
        if value < least || (length == 3 && value & 0xdf00 == 0xd800) {
            continue;
        }
        if length == 4 {
            let above = value - 0x10000;
            #[allow(clippy::cast_possible_truncation, reason = "as the driver cuts it")]
            units.extend([0xd800 | (above >> 10) as u16, 0xdc00 | (above & 0x3_ffff) as u16]);
        } else {
            units.push(u16::try_from(value).unwrap_or(0xffff));
        }
    }
    units
}

/// UTF-8 from so many units, as much as fits into `room` bytes. Null units are converted like any
/// other: what follows the text's end comes along. Surrogates are left out.
pub(crate) fn to_utf8(units: impl Iterator<Item = u16>, room: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for unit in units {
        let Some(c) = char::from_u32(unit.into()) else { continue };
        let mut bytes = [0; 4];
        let bytes = c.encode_utf8(&mut bytes).as_bytes();
        if text.len() + bytes.len() > room {
            break;
        }
        text.extend_from_slice(bytes);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_basic_plane_comes_through_and_ice_does_not() {
        for text in ["plain", "naïve", "€ 5", "日本"] {
            let units: Vec<u16> = text.encode_utf16().collect();
            assert_eq!(to_utf16(text.as_bytes()), units, "{text}");
            assert_eq!(to_utf8(units.into_iter(), 100), text.as_bytes());
        }
        let ice: Vec<u16> = "\u{1f9ca}".encode_utf16().collect();
        assert_ne!(to_utf16("\u{1f9ca}".as_bytes()), ice);
        assert_eq!(to_utf8(ice.into_iter(), 100), b"");
    }

    #[test]
    fn any_bytes_are_converted_without_an_end_or_a_fault() {
        for lead in 0..=u8::MAX {
            for next in [0, 0x41, 0x80, 0xbf, 0xff] {
                let units = to_utf16(&[lead, next, next, next]);
                assert!(units.len() <= 4);
            }
        }
    }
}
