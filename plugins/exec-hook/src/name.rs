//! What a file's name in hooks.d says: when the script runs, or why it never does. Only the name is judged here; the file is judged by
//! `survey.rs`.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// The halves of a cycle, as scripts know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Before the freeze.
    Freeze,
    /// After the thaw.
    Thaw,
}

/// In which halves a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// `NN-name`: `freeze`, and later `thaw` if its freeze was started.
    Both,
    /// `NN-name.pre-freeze`: before the freeze only.
    PreFreeze,
    /// `NN-name.post-thaw`: after the thaw only, whether or not the freeze came to anything.
    PostThaw,
}

/// A name that fits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HookName {
    /// Its place: lower ones freeze first and thaw last.
    pub number: u8,
    /// The whole name of the file.
    pub file: String,
    /// When it runs.
    pub form: Form,
}

/// What a name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is a hook's.
    Hook(HookName),
    /// It is what editors, packages and people leave beside hooks. Why, as half a sentence.
    Skipped(String),
    /// It was probably meant as a hook, and isn't one. Why, as half a sentence.
    Refused(String),
}

/// Ends of names that editors, packages and people give to what is not to run, and those of samples. Case does not matter.
const LEFT_BEHIND: [&str; 48] = [
    "~",
    ".bak",
    ".bk",
    ".backup",
    ".orig",
    ".old",
    ".save",
    ".saved",
    ".copy",
    ".sample",
    ".example",
    ".dist",
    ".swp",
    ".swo",
    ".swx",
    ".tmp",
    ".temp",
    ".part",
    ".new",
    ".rej",
    ".diff",
    ".patch",
    ".disabled",
    ".disable",
    ".off",
    ".inactive",
    ".unused",
    ".broken",
    ".prev",
    ".previous",
    ".rpmnew",
    ".rpmorig",
    ".rpmsave",
    ".pkgnew",
    ".pkgsave",
    ".pacnew",
    ".pacsave",
    ".ucf-old",
    ".ucf-new",
    ".ucf-dist",
    "-old",
    "-bak",
    "-backup",
    "-copy",
    "-disabled",
    "_old",
    "_bak",
    "_disabled",
];
const PRE_FREEZE: &str = ".pre-freeze";
const POST_THAW: &str = ".post-thaw";

impl Form {
    /// The halves in which such a hook runs.
    #[must_use]
    pub const fn phases(self) -> &'static [Phase] {
        match self {
            Self::Both => &[Phase::Freeze, Phase::Thaw],
            Self::PreFreeze => &[Phase::Freeze],
            Self::PostThaw => &[Phase::Thaw],
        }
    }
}

impl fmt::Display for Phase {
    /// The script's argument, and the word of `HV_VSS_PHASE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
        })
    }
}

/// Reads a name.
#[must_use]
pub fn read(name: &OsStr) -> Reading {
    if let Some(why) = left_behind(name.as_bytes()) {
        return Reading::Skipped(why);
    }
    let Some((text, number)) = name.to_str().and_then(|text| Some((text, number(text)?))) else {
        return Reading::Refused(
            "its name is not of the form NN-name, with two digits and then letters, digits, \"_\", \".\" or \"-\": rename it, or end its name in .sample"
                .to_owned(),
        );
    };
    let form = if text.ends_with(PRE_FREEZE) {
        Form::PreFreeze
    } else if text.ends_with(POST_THAW) {
        Form::PostThaw
    } else {
        Form::Both
    };
    Reading::Hook(HookName { number, file: text.to_owned(), form })
}

fn left_behind(name: &[u8]) -> Option<String> {
    if name.starts_with(b".") {
        return Some("a name that begins with a dot is never run".to_owned());
    }
    if name.starts_with(b"README") {
        return Some("a README is never run".to_owned());
    }
    if name.windows(b".dpkg-".len()).any(|part| part == b".dpkg-") {
        return Some("a name with .dpkg- is never run".to_owned());
    }
    if name.starts_with(b"#") {
        return Some("a name that begins with # is never run".to_owned());
    }
    let lower = name.to_ascii_lowercase();
    let end = LEFT_BEHIND.iter().find(|end| lower.ends_with(end.as_bytes()))?;
    Some(format!("a name that ends in {end} is never run"))
}

/// The name without what says in which half of the cycle it runs.
#[must_use]
pub(crate) fn stem(name: &str) -> &str {
    name.strip_suffix(PRE_FREEZE).or_else(|| name.strip_suffix(POST_THAW)).unwrap_or(name)
}

/// Whether two hooks are probably one and a copy of it: they run in the same halves, and their names differ only by an ending.
#[must_use]
pub(crate) fn alike(one: &HookName, other: &HookName) -> bool {
    let longer_by_an_ending =
        |short: &str, long: &str| long.strip_prefix(short).is_some_and(|end| end.starts_with('.'));
    let (a, b) = (stem(&one.file), stem(&other.file));
    let same_but_for_the_ending = || match (a.rsplit_once('.'), b.rsplit_once('.')) {
        (Some((a, _)), Some((b, _))) => a == b,
        _ => false,
    };
    one.form == other.form
        && one.file != other.file
        && (longer_by_an_ending(a, b) || longer_by_an_ending(b, a) || same_but_for_the_ending())
}

/// The number, if the whole name fits.
fn number(name: &str) -> Option<u8> {
    let (digits, rest) = name.split_once('-')?;
    if digits.len() != 2 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (first, others) = stem(rest).as_bytes().split_first()?;
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let fits = word(first) && others.iter().all(|byte| word(byte) || *byte == b'.' || *byte == b'-');
    digits.parse().ok().filter(|_| fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(name: &str) -> Option<HookName> {
        match read(OsStr::new(name)) {
            Reading::Hook(hook) => Some(hook),
            Reading::Skipped(_) | Reading::Refused(_) => None,
        }
    }

    fn skipped(name: &str) -> bool {
        matches!(read(OsStr::new(name)), Reading::Skipped(_))
    }

    fn refused(name: &str) -> bool {
        matches!(read(OsStr::new(name)), Reading::Refused(_))
    }

    #[test]
    fn all_hundred_numbers_are_numbers() {
        for number in 0..100 {
            let name = format!("{number:02}-x");
            assert_eq!(hook(&name), Some(HookName { number, file: name.clone(), form: Form::Both }));
        }
    }

    #[test]
    fn the_end_of_the_name_says_when_it_runs_and_an_ending_such_as_sh_says_nothing() {
        for (name, form) in [
            ("10-mysql.sh", Form::Both),
            ("10-mysql.pre-freeze", Form::PreFreeze),
            ("10-mysql.sh.post-thaw", Form::PostThaw),
            ("10-pre-freeze", Form::Both),
            ("10-mysql.pre-freeze.sh", Form::Both),
            ("10-_under.score-1", Form::Both),
        ] {
            assert_eq!(hook(name).map(|hook| hook.form), Some(form), "{name}");
        }
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        for name in [
            "mysql",
            "1-mysql",
            "100-mysql",
            "10mysql",
            "10_mysql",
            "10-",
            "10-.pre-freeze",
            "10-.hidden",
            "10--x",
            "10-my sql",
            "10-x;rm",
            "10-müller",
            "-10-x",
            "+1-x",
            "1x-x",
            "10-x\n",
            "10-x$y",
            "x10-y",
            "",
        ] {
            assert!(refused(name), "{name:?}");
        }
        assert!(matches!(read(OsStr::from_bytes(b"10-\xff")), Reading::Refused(_)));
    }

    #[test]
    fn each_single_character_is_allowed_or_refused_by_the_rule() {
        for byte in 1..128_u8 {
            let c = char::from(byte);
            let inside = c.is_ascii_alphanumeric() || "_.-".contains(c);
            // "10-x~" is what an editor leaves behind.
            let name = format!("10-x{c}y");
            assert_eq!(hook(&name).is_some(), inside, "{name:?}");
            let first = c.is_ascii_alphanumeric() || c == '_';
            let name = format!("10-{c}");
            assert_eq!(hook(&name).is_some(), first, "{name:?}");
        }
    }

    #[test]
    fn names_that_differ_only_by_an_ending_are_alike() {
        let are = |a: &str, b: &str| alike(&hook(a).unwrap(), &hook(b).unwrap());
        for (a, b) in [("10-x", "10-x.sh"), ("10-x.sh", "10-x.py"), ("10-x.sh", "10-x.sh.2"), ("10-x", "10-x.20261130")]
        {
            assert!(are(a, b) && are(b, a), "{a} {b}");
            let with = |name: &str| format!("{name}.pre-freeze");
            assert!(are(&with(a), &with(b)), "{a} {b} before the freeze");
        }
        for (a, b) in [
            ("10-x.pre-freeze", "10-x.post-thaw"),
            ("10-x", "10-x.post-thaw"),
            ("10-x", "10-xy"),
            ("10-x", "20-x"),
            ("10-x.a", "10-y.a"),
        ] {
            assert!(!are(a, b) && !are(b, a), "{a} {b}");
        }
    }

    #[test]
    fn what_editors_and_packages_leave_is_skipped_before_anything_else_is_judged() {
        for name in [
            "README",
            "README.md",
            "READMEs",
            ".10-x",
            ".",
            "10-x~",
            "10-x.bak",
            "10-x.orig",
            "10-x.sample",
            "10-x.dist",
            ".10-x.swp",
            "10-x.swp",
            "10-x.rpmnew",
            "10-x.rpmorig",
            "10-x.rpmsave",
            "10-x.dpkg-dist",
            "10-x.dpkg-old",
            "10-x.pkgnew",
            "10-x.pkgsave",
            "10-x.disabled",
            "10-x.OLD",
            "10-x.sh.save",
            "10-x.off",
            "10-x-old",
            "10-x.inactive",
            "#10-x#",
            "whatever~",
            "no number.bak",
        ] {
            assert!(skipped(name), "{name:?}");
        }
        assert!(!skipped("10-x.sample.sh"), "only the end counts");
    }
}
