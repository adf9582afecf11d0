//! What text is put on: so wide, with or without colours, with or without characters beyond ASCII. Everything that is shown to a human goes
//! through here, so that nothing a script or a plugin said can steer the terminal.

use std::ffi::OsString;
use std::io::IsTerminal;

/// What text is put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    /// Columns.
    pub width: usize,
    /// Colours may be used.
    pub colour: bool,
    /// More than ASCII may be used.
    pub unicode: bool,
}

/// How a word is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// A heading.
    Heading,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// Beside the point.
    Faint,
}

/// What a terminal is taken to be wide, if it doesn't tell, and what everything is at home in.
pub(super) const USUAL_WIDTH: usize = 80;
/// Wider than this no line is comfortable to read.
const WIDEST: usize = 120;
/// Narrower than this no table is possible; the terminal will then wrap.
const NARROWEST: usize = 48;

impl Paper {
    /// The standard output, as it is now.
    #[must_use]
    pub fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let columns = terminal
            .then(|| terminal_size::terminal_size_of(std::io::stdout()))
            .flatten()
            .map(|(terminal_size::Width(columns), _)| usize::from(columns));
        Self::choose(terminal, columns, &|name| std::env::var_os(name))
    }

    fn choose(terminal: bool, columns: Option<usize>, variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let said = |name: &str| variable(name).filter(|value| !value.is_empty());
        let locale = said("LC_ALL").or_else(|| said("LC_CTYPE")).or_else(|| said("LANG")).unwrap_or_default();
        let locale = locale.to_string_lossy().to_ascii_uppercase();
        let told = said("COLUMNS").and_then(|columns| columns.to_str()?.parse().ok());
        Self {
            width: told.or(columns).unwrap_or(USUAL_WIDTH).clamp(NARROWEST, WIDEST),
            colour: terminal && said("NO_COLOR").is_none() && said("TERM").is_none_or(|term| term != "dumb"),
            unicode: locale.contains("UTF-8") || locale.contains("UTF8"),
        }
    }

    /// `text` in this ink.
    #[must_use]
    pub fn ink(&self, ink: Ink, text: &str) -> String {
        let text = harmless(text);
        if !self.colour {
            return text;
        }
        let code = match ink {
            Ink::Heading => "1",
            Ink::Good => "32",
            Ink::Warn => "33",
            Ink::Bad => "1;31",
            Ink::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// `text` in lines that fit, each begun with `indent` columns; the first is begun by whoever calls.
    #[must_use]
    pub fn wrap(&self, indent: usize, text: &str) -> String {
        let room = self.width.saturating_sub(indent).max(20);
        let mut wrapped = String::new();
        let mut column = 0;
        for word in harmless(text).split(' ') {
            let length = columns(word);
            if column > 0 && column + 1 + length > room {
                wrapped.push('\n');
                wrapped.extend(std::iter::repeat_n(' ', indent));
                column = 0;
            } else if column > 0 {
                wrapped.push(' ');
                column += 1;
            }
            wrapped.push_str(word);
            column += length;
        }
        wrapped
    }

    /// `text` in a column so wide: filled up with blanks, or cut with a mark that says so.
    #[must_use]
    pub fn cell(&self, width: usize, text: &str) -> String {
        let cut = self.cut(width, text);
        let fill = width.saturating_sub(columns(&cut));
        cut + &" ".repeat(fill)
    }

    /// `text`, cut to this width.
    #[must_use]
    pub fn cut(&self, width: usize, text: &str) -> String {
        let text = harmless(text);
        if columns(&text) <= width {
            return text;
        }
        let mark = if self.unicode { "…" } else { "~" };
        text.chars().take(width.saturating_sub(1)).collect::<String>() + mark
    }
}

/// How many columns a text takes. Names of mounts, plugins and scripts are the only ones that are not ours; wide characters in them shift a table by
/// a column and do no other harm.
pub(super) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// The text without anything that could steer a terminal: what a script printed comes this way.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|c| if hv_vss_wire::is_obeyed(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paper = Paper { width: 48, colour: false, unicode: false };

    #[test]
    fn colours_are_for_terminals_whose_user_did_not_decline() {
        let with = |terminal, name: &str, value: &str| {
            let value = |asked: &str| (asked == name).then(|| value.into());
            Paper::choose(terminal, None, &value).colour
        };
        assert!(with(true, "TERM", "xterm"));
        assert!(with(true, "NO_COLOR", ""), "an empty NO_COLOR declines nothing");
        assert!(!with(false, "TERM", "xterm"));
        assert!(!with(true, "NO_COLOR", "1"));
        assert!(!with(true, "TERM", "dumb"));
    }

    #[test]
    fn the_locale_decides_on_characters_and_columns_on_the_width() {
        let with = |pairs: &[(&str, &str)], columns| {
            let value = |asked: &str| pairs.iter().find(|(name, _)| *name == asked).map(|(_, value)| value.into());
            Paper::choose(true, columns, &value)
        };
        assert!(with(&[("LANG", "C.UTF-8")], None).unicode);
        assert!(!with(&[("LC_ALL", "C"), ("LANG", "C.UTF-8")], None).unicode);
        assert_eq!(with(&[], None).width, 80);
        assert_eq!(with(&[], Some(100)).width, 100);
        assert_eq!(with(&[("COLUMNS", "72")], Some(100)).width, 72);
        assert_eq!(with(&[("COLUMNS", "7")], None).width, NARROWEST);
    }

    #[test]
    fn lines_break_between_words_and_go_on_where_they_began() {
        let text = "one two three four five six seven eight nine ten eleven";
        let wrapped = PLAIN.wrap(10, text);
        assert!(wrapped.lines().all(|line| columns(line) <= 48), "{wrapped}");
        assert!(
            wrapped.lines().skip(1).all(|line| line.starts_with("          ") && !line.ends_with(' ')),
            "{wrapped}"
        );
        assert_eq!(wrapped.split_whitespace().collect::<Vec<_>>().join(" "), text);
    }

    #[test]
    fn what_a_script_said_can_not_steer_the_terminal() {
        let said = ["a\x1b[2Jb\nc", "\x1b]0;x\x07", "\u{9b}31m", "/etc\u{202e}fdp.", "a\u{2028}b"];
        for shown in said.iter().flat_map(|said| [PLAIN.wrap(0, said), PLAIN.cell(9, said), PLAIN.ink(Ink::Bad, said)])
        {
            assert!(!shown.contains(['\x1b', '\x07', '\u{9b}', '\u{202e}', '\u{2028}']), "{shown:?}");
        }
    }

    #[test]
    fn a_cell_is_exactly_as_wide_as_asked_and_a_cut_is_marked() {
        assert_eq!(PLAIN.cell(6, "abc"), "abc   ");
        assert_eq!(PLAIN.cell(6, "abcdefgh"), "abcde~");
    }
}
