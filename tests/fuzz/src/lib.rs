//! What several targets share: values made of the fuzzer's bytes, so that it need not find a whole mount table letter by letter.
//!
//! Nothing here judges. When the bytes are used up everything is small and empty, and a target ends.

use arbitrary::{Result, Unstructured};
use hv_vss_core::record::{Aftermath, Consequence, CycleResult, Ending, Kind, Record, StepRecord, What};
use hv_vss_platform::mounts::{FsId, Mount};

/// The bytes of one input.
pub type Bytes<'a> = Unstructured<'a>;

/// Words that mean something somewhere, so that they meet.
const WORDS: [&str; 32] = [
    "",
    "/",
    "/usr",
    "/usr/home",
    "/data",
    "/data/img",
    "/data/x.img",
    "/a b",
    "//",
    "/..",
    ".",
    "ufs",
    "zfs",
    "msdosfs",
    "tmpfs",
    "nullfs",
    "devfs",
    "10-a",
    "10-mysql.sh",
    "99-z.post-thaw",
    "00-x.pre-freeze",
    "README",
    "exec_hook",
    "postgres",
    "FREEZE",
    "THAW",
    "done as asked",
    "é",
    "\u{202e}x",
    "\x1b[2J",
    "a very long sentence that says what went wrong, in which file, and what to do about it, now",
    "/dev/ada0p2",
];

/// A word that is known, or one that is made up.
///
/// # Errors
/// When the bytes are used up.
pub fn word(bytes: &mut Bytes<'_>) -> Result<String> {
    match bytes.int_in_range(0..=WORDS.len() + 2)? {
        at if at < WORDS.len() => Ok(WORDS[at].to_owned()),
        at if at == WORDS.len() => Ok("x".repeat(usize::from(bytes.arbitrary::<u8>()?))),
        _ => {
            let length = bytes.int_in_range(0..=24)?;
            Ok(String::from_utf8_lossy(bytes.bytes(bytes.len().min(length))?).into_owned())
        }
    }
}

/// A path as the kernel tells it: from the root on.
///
/// # Errors
/// When the bytes are used up.
fn path(bytes: &mut Bytes<'_>) -> Result<String> {
    Ok(format!("/{}", word(bytes)?.trim_start_matches('/')))
}

/// A line of a mount table. Few ids, so that some are one filesystem.
///
/// # Errors
/// When the bytes are used up.
pub fn mount(bytes: &mut Bytes<'_>) -> Result<Mount> {
    Ok(Mount {
        fsid: FsId([bytes.int_in_range(0..=7)?; 8]),
        fstype: word(bytes)?,
        on: path(bytes)?,
        from: word(bytes)?,
        read_only: bytes.ratio(1, 4)?,
        backing: if bytes.ratio(1, 3)? { Some(path(bytes)?) } else { None },
        swap: if bytes.ratio(1, 8)? { Some(path(bytes)?) } else { None },
    })
}

/// At most so many of them.
///
/// # Errors
/// When the bytes are used up.
pub fn several<T>(bytes: &mut Bytes<'_>, most: usize, one: impl Fn(&mut Bytes<'_>) -> Result<T>) -> Result<Vec<T>> {
    let count = bytes.int_in_range(0..=most)?;
    (0..count).map(|_| one(bytes)).collect()
}

/// Milliseconds of a record: most often plausible ones, else any number that JSON can hold.
fn ms(bytes: &mut Bytes<'_>) -> Result<f64> {
    Ok(match bytes.int_in_range(0..=9)? {
        0 => f64::from_bits(bytes.arbitrary()?),
        1 => -f64::from(bytes.arbitrary::<u16>()?),
        2 => f64::from(bytes.arbitrary::<u32>()?) * 1e9,
        _ => f64::from(bytes.arbitrary::<u16>()?) / 8.0,
    })
}

/// Numbers that no JSON can hold become 0.
fn told_ms(bytes: &mut Bytes<'_>) -> Result<f64> {
    Ok(Some(ms(bytes)?).filter(|ms| ms.is_finite()).unwrap_or(0.0))
}

/// Something that went wrong on the way out.
fn aftermath(bytes: &mut Unstructured) -> arbitrary::Result<Aftermath> {
    let what = *bytes.choose(&[Consequence::NotThawed, Consequence::ThawFailed, Consequence::Lost])?;
    let since_ms = f64::from(bytes.arbitrary::<u32>()?);
    Ok(Aftermath { what, who: word(bytes)?, since_ms, sentence: word(bytes)? })
}

fn step(bytes: &mut Bytes<'_>) -> Result<StepRecord> {
    let what = [
        What::Survey,
        What::Flush,
        What::Scan,
        What::FreezeApp,
        What::FreezeScript,
        What::FreezeFilesystem,
        What::Hold,
        What::ThawFilesystem,
        What::ThawApp,
        What::ThawScript,
        What::Answer,
    ];
    Ok(StepRecord {
        what: *bytes.choose(&what)?,
        name: word(bytes)?,
        from_ms: told_ms(bytes)?,
        to_ms: if bytes.ratio(4, 5)? { Some(told_ms(bytes)?) } else { None },
        failure: if bytes.ratio(1, 4)? { Some(word(bytes)?) } else { None },
    })
}

/// A cycle's record, as a file or a socket could hold it.
///
/// # Errors
/// When the bytes are used up.
pub fn record(bytes: &mut Bytes<'_>) -> Result<Record> {
    let results = [
        None,
        Some(CycleResult::Ok),
        Some(CycleResult::Refused),
        Some(CycleResult::Failed),
        Some(CycleResult::Expired),
        Some(CycleResult::Died),
    ];
    let made = Record {
        version: 1,
        cycle: word(bytes)?,
        kind: *bytes.choose(&[Kind::Check, Kind::Backup, Kind::Rehearsal, Kind::OutOfPlace])?,
        began_ms: if bytes.ratio(1, 4)? { bytes.arbitrary()? } else { 1_795_388_390_123 },
        budget_ms: if bytes.ratio(1, 4)? { bytes.arbitrary()? } else { 14_000 },
        ending: Ending {
            result: *bytes.choose(&results)?,
            sentence: word(bytes)?,
            aftermath: several(bytes, 4, aftermath)?,
            remarks: several(bytes, 2, word)?,
        },
        answers: Vec::new(),
        steps: several(bytes, 24, step)?,
        frozen_ms: if bytes.ratio(1, 2)? { Some(bytes.arbitrary()?) } else { None },
    };
    // It comes from a file or over a socket, and so as text.
    let text = serde_json::to_string(&made).expect("a record can be written");
    Ok(serde_json::from_str(&text).expect("what we wrote"))
}
