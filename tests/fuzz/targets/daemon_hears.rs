//! Whatever a plugin's process may say to the orchestrator, cut in whatever way the socket cuts it: what is passed on is bounded, each call has at
//! most one answer, and the cuts change nothing.
#![no_main]

use std::collections::BTreeSet;

use hv_vss_daemon::child::{Heard, Hearing, Said};
use hv_vss_fuzz::{Bytes, several, word};
use hv_vss_wire::{About, Answer, Claim, Event, Level, Phase, Progress, WIRE_VERSION, encode};
use libfuzzer_sys::fuzz_target;

enum Deed {
    /// A call is made.
    Ask(u64),
    /// The host writes this.
    Write(Vec<u8>),
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::new(data);
    let mut deeds = Vec::new();
    while let Ok(deed) = deed(&mut bytes) {
        deeds.push(deed);
        if bytes.is_empty() {
            break;
        }
    }
    let whole = hear(&deeds, usize::MAX);
    assert_eq!(hear(&deeds, 1), whole, "where the stream is cut makes no difference");
});

fn deed(bytes: &mut Bytes<'_>) -> arbitrary::Result<Deed> {
    Ok(match bytes.int_in_range(0..=7)? {
        0 | 1 => Deed::Ask(bytes.int_in_range(0..=5)?),
        2 => {
            let length = bytes.int_in_range(0..=40)?;
            Deed::Write(bytes.bytes(bytes.len().min(length))?.to_vec())
        }
        3 => {
            let text = word(bytes)?;
            let length = u32::try_from(text.len()).unwrap_or(0).to_le_bytes();
            Deed::Write([length.as_slice(), text.as_bytes()].concat())
        }
        _ => Deed::Write(encode(&event(bytes)?).unwrap_or_default()),
    })
}

fn event(bytes: &mut Bytes<'_>) -> arbitrary::Result<Event> {
    let long = |bytes: &mut Bytes<'_>| -> arbitrary::Result<String> {
        Ok(word(bytes)?.repeat(if bytes.ratio(1, 8)? { 300 } else { 1 }))
    };
    Ok(match bytes.int_in_range(0..=5)? {
        0 => Event::Loaded {
            wire: if bytes.ratio(1, 8)? { 2 } else { WIRE_VERSION },
            about: About {
                name: long(bytes)?,
                version: long(bytes)?,
                description: long(bytes)?,
                abi: 1,
                filesystem: bytes.arbitrary()?,
                application: bytes.arbitrary()?,
                observer: bytes.arbitrary()?,
                holds_survive_exit: bytes.arbitrary()?,
                number: bytes.arbitrary()?,
            },
        },
        1 => Event::Unfit { reason: long(bytes)? },
        2 => Event::Log {
            level: *bytes.choose(&[Level::Debug, Level::Info, Level::Warn, Level::Error])?,
            text: long(bytes)?,
        },
        3 => Event::LetGo,
        4 => Event::Substep {
            name: long(bytes)?,
            phase: *bytes.choose(&[Phase::Freeze, Phase::Thaw])?,
            progress: match bytes.int_in_range(0..=3)? {
                0 => Progress::Planned,
                1 => Progress::Started,
                2 => Progress::Ended { failure: None },
                _ => Progress::Ended { failure: Some(long(bytes)?) },
            },
        },
        _ => Event::Answer { id: bytes.int_in_range(0..=5)?, answer: answer(bytes)? },
    })
}

fn answer(bytes: &mut Bytes<'_>) -> arbitrary::Result<Answer> {
    let claim = |bytes: &mut Bytes<'_>| -> arbitrary::Result<Claim> {
        Ok(match bytes.int_in_range(0..=3)? {
            0 => Claim::Freeze,
            1 => Claim::NotMine,
            2 => Claim::Ignore { reason: word(bytes)?.repeat(200) },
            _ => Claim::Veto { reason: word(bytes)?.repeat(200) },
        })
    };
    Ok(match bytes.int_in_range(0..=2)? {
        0 => Answer::Refused { reason: word(bytes)? },
        1 => Answer::Broken { reason: word(bytes)?.repeat(200) },
        _ => Answer::Done { claims: several(bytes, 4, claim)?, held: bytes.arbitrary()? },
    })
}

/// Everything that comes out, as text.
fn hear(deeds: &[Deed], cut: usize) -> Vec<String> {
    let mut hearing = Hearing::default();
    let mut open = BTreeSet::new();
    let mut told = Vec::new();
    for deed in deeds {
        let written = match deed {
            Deed::Ask(id) => {
                open.insert(*id);
                hearing.asked(*id);
                continue;
            }
            Deed::Write(written) => written,
        };
        for part in written.chunks(cut.min(written.len()).max(1)) {
            hearing.push(part);
            loop {
                match hearing.hear() {
                    Ok(Some(heard)) => {
                        bounded(&heard, &mut open);
                        told.push(format!("{heard:?}"));
                    }
                    Ok(None) => break,
                    Err(why) => {
                        assert!(!why.is_empty() && why.len() < 1_000, "{why}");
                        told.push(why);
                        return told;
                    }
                }
            }
        }
    }
    told
}

fn bounded(heard: &Heard, open: &mut BTreeSet<u64>) {
    const LINE: usize = 4096;
    match heard {
        Heard::Answered(id, answer) => {
            assert!(open.remove(id), "an answer to a call that is not open");
            match answer {
                Answer::Refused { reason } | Answer::Broken { reason } => assert!(reason.len() <= LINE),
                Answer::Done { claims, .. } => claims.iter().for_each(|claim| match claim {
                    Claim::Ignore { reason } | Claim::Veto { reason } => assert!(reason.len() <= LINE),
                    Claim::Freeze | Claim::NotMine => {}
                }),
            }
        }
        Heard::Told(Said::Loaded(about)) => {
            assert!(about.name.len() <= 255 && about.version.len() <= 255 && about.description.len() <= 255);
            assert!(about.number.is_none_or(|number| number <= 99));
        }
        Heard::Told(Said::Unfit(text) | Said::Log(_, text)) => assert!(text.len() <= LINE),
        Heard::Told(Said::Substep(name, _, progress)) => {
            assert!(name.len() <= 255);
            if let Progress::Ended { failure: Some(failure) } = progress {
                assert!(failure.len() <= LINE);
            }
        }
        Heard::Told(Said::Process { script, mark, .. }) => assert!(script.len() <= 255 && mark.len() <= 255),
        Heard::Told(Said::LetGo) => {}
        Heard::Told(Said::Unheard | Said::Gone(_)) => panic!("a host can't tell of its own end"),
    }
}
