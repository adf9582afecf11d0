//! What a worker says: bytes in, one judged message after the other out. Decides only: socket, process and the killing are `attend`'s.
//!
//! A vendor's code runs in that process, and may say anything, any number of times, of any length. What is passed on from here is bounded in each
//! of these, so that whoever hears it needs no bounds of his own; whoever breaks the rules of the conversation gets no second hearing.

use std::collections::BTreeSet;

use hv_vss_wire::{About, Answer, Claim, Event, FrameError, Frames, Level, Progress, WIRE_VERSION};

use super::Said;

/// A sentence or a log line is cut to this many bytes, as the worker itself does.
const SENTENCE: usize = 4 << 10;
/// A name is cut to this many bytes: that of a script is a file's.
const NAME: usize = 255;
/// Log lines between two calls; what is beyond is not passed on, and counted. The worker allows half of this in one call.
const MOST_LINES: u32 = 4_000;
/// Sub-steps between two calls: three for each script of a hooks.d with well over a thousand.
const MOST_SUBSTEPS: u32 = 5_000;
/// Messages of any kind between two calls.
const MOST_MESSAGES: u32 = 100_000;

/// One worker's side of the conversation.
#[derive(Default)]
pub struct Hearing {
    frames: Frames,
    /// The calls that are not answered yet.
    open: BTreeSet<u64>,
    introduced: Introduced,
    /// An answer that comes after a remark of ours.
    later: Option<Heard>,
    /// Since a call was last made or answered.
    lines: u32,
    substeps: u32,
    messages: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Introduced {
    #[default]
    NotYet,
    Loaded,
    Unfit,
}

/// A message that may be passed on.
#[derive(Debug)]
pub enum Heard {
    /// The answer to the call with this number.
    Answered(u64, Answer),
    /// What was told without being asked.
    Told(Said),
}

impl Hearing {
    /// A call is made: one answer to it is expected.
    pub fn asked(&mut self, id: u64) {
        self.open.insert(id);
        (self.substeps, self.messages) = (0, 0);
    }

    /// Adds what was read.
    pub fn push(&mut self, read: &[u8]) {
        self.frames.push(read);
    }

    /// The next message that may be passed on.
    ///
    /// # Errors
    /// Why this worker is to be killed, as the end of "was killed, since". It is not to be heard any more.
    pub fn hear(&mut self) -> Result<Option<Heard>, String> {
        if let Some(later) = self.later.take() {
            return Ok(Some(later));
        }
        loop {
            let event = match self.frames.next::<Event>() {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(None),
                Err(error @ (FrameError::TooLong(_) | FrameError::Garbage(_))) => {
                    return Err(format!("it sent {error}"));
                }
            };
            self.messages += 1;
            if self.messages > MOST_MESSAGES {
                return Err("it talks without end".to_owned());
            }
            if let Some(heard) = self.judge(event)? {
                return Ok(Some(heard));
            }
        }
    }

    fn judge(&mut self, event: Event) -> Result<Option<Heard>, String> {
        let said = match event {
            Event::Answer { id, mut answer } => {
                if !self.open.remove(&id) {
                    return Err("it answered a question that nobody had asked".to_owned());
                }
                bound_answer(&mut answer);
                let dropped = self.lines.saturating_sub(MOST_LINES);
                (self.lines, self.substeps, self.messages) = (0, 0, 0);
                let answered = Heard::Answered(id, answer);
                if dropped == 0 {
                    return Ok(Some(answered));
                }
                self.later = Some(answered);
                Said::Log(Level::Warn, format!("{dropped} log lines were dropped, since too many came at once"))
            }
            Event::Loaded { wire, .. } if wire != WIRE_VERSION => {
                return Err(format!(
                    "the worker program speaks version {wire} of our conversation and this daemon {WIRE_VERSION}: install both from one build"
                ));
            }
            Event::Loaded { .. } | Event::Unfit { .. } if self.introduced != Introduced::NotYet => {
                return Err("it introduced itself a second time".to_owned());
            }
            Event::Loaded { mut about, .. } => {
                self.introduced = Introduced::Loaded;
                bound_about(&mut about);
                Said::Loaded(about)
            }
            Event::Unfit { mut reason } => {
                self.introduced = Introduced::Unfit;
                cut(&mut reason, SENTENCE);
                Said::Unfit(reason)
            }
            Event::Log { level, mut text } => {
                if self.has_said_enough() {
                    return Ok(None);
                }
                cut(&mut text, SENTENCE);
                Said::Log(level, text)
            }
            Event::Substep { mut name, phase, mut progress } => {
                self.substeps += 1;
                if self.substeps > MOST_SUBSTEPS {
                    return Err("it reports sub-steps without end".to_owned());
                }
                cut(&mut name, NAME);
                if let Progress::Ended { failure: Some(failure) } = &mut progress {
                    cut(failure, SENTENCE);
                }
                Said::Substep(name, phase, progress)
            }
            Event::Process { mut name, phase, pid, mut mark } => {
                self.substeps += 1;
                if self.substeps > MOST_SUBSTEPS {
                    return Err("it reports sub-steps without end".to_owned());
                }
                cut(&mut name, NAME);
                cut(&mut mark, NAME);
                Said::Process { script: name, phase, pid, mark }
            }
            Event::LetGo => {
                if self.has_said_enough() {
                    return Ok(None);
                }
                Said::LetGo
            }
        };
        Ok(Some(Heard::Told(said)))
    }

    fn has_said_enough(&mut self) -> bool {
        self.lines = self.lines.saturating_add(1);
        self.lines > MOST_LINES
    }
}

fn bound_about(about: &mut About) {
    for text in [&mut about.name, &mut about.version, &mut about.description] {
        cut(text, NAME);
    }
    // The worker refuses what is beyond; one that lies is put last.
    about.number = about.number.map(|number| number.min(99));
}

fn bound_answer(answer: &mut Answer) {
    match answer {
        Answer::Refused { reason } | Answer::Broken { reason } => cut(reason, SENTENCE),
        Answer::Done { claims, .. } => {
            for claim in claims {
                match claim {
                    Claim::Ignore { reason } | Claim::Veto { reason } => cut(reason, SENTENCE),
                    Claim::Freeze | Claim::NotMine => {}
                }
            }
        }
    }
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
    }
}

#[cfg(test)]
mod tests {
    use hv_vss_wire::{Phase, encode};

    use super::*;

    fn about() -> About {
        About {
            name: "n".repeat(1_000),
            version: "1".into(),
            description: "é".repeat(1_000),
            abi: 1,
            filesystem: true,
            application: false,
            observer: false,
            holds_survive_exit: false,
            number: Some(200),
        }
    }

    fn loaded() -> Event {
        Event::Loaded { wire: WIRE_VERSION, about: about() }
    }

    fn answer(id: u64) -> Event {
        Event::Answer { id, answer: Answer::done() }
    }

    fn after(hearing: &mut Hearing, event: &Event) -> Result<Option<Heard>, String> {
        hearing.push(&encode(event).unwrap());
        hearing.hear()
    }

    #[test]
    fn each_call_has_one_answer_and_a_second_one_is_a_reason_to_kill() {
        let mut hearing = Hearing::default();
        hearing.asked(1);
        assert!(matches!(after(&mut hearing, &answer(1)), Ok(Some(Heard::Answered(1, _)))));
        assert!(after(&mut hearing, &answer(1)).unwrap_err().contains("nobody had asked"));
    }

    #[test]
    fn a_plugin_is_introduced_once_and_with_names_of_bounded_length() {
        let mut hearing = Hearing::default();
        let Ok(Some(Heard::Told(Said::Loaded(about)))) = after(&mut hearing, &loaded()) else { panic!("not loaded") };
        assert_eq!((about.name.len(), about.description.len(), about.number), (255, 254, Some(99)));
        assert!(after(&mut hearing, &loaded()).unwrap_err().contains("second time"));
        assert!(after(&mut hearing, &Event::Unfit { reason: "x".into() }).is_err());
    }

    #[test]
    fn log_lines_beyond_measure_are_not_passed_on_and_the_answer_behind_them_is() {
        let mut hearing = Hearing::default();
        hearing.asked(1);
        let line = Event::Log { level: Level::Info, text: "x".repeat(SENTENCE + 4) };
        let mut passed = 0;
        for _ in 0..MOST_LINES + 100 {
            if let Some(Heard::Told(Said::Log(_, text))) = after(&mut hearing, &line).unwrap() {
                assert_eq!(text.len(), SENTENCE);
                passed += 1;
            }
        }
        assert_eq!(passed, MOST_LINES);
        let remark = after(&mut hearing, &answer(1)).unwrap();
        let Some(Heard::Told(Said::Log(Level::Warn, remark))) = remark else { panic!("{remark:?}") };
        assert!(remark.starts_with("100 log lines were dropped"), "{remark}");
        assert!(matches!(hearing.hear(), Ok(Some(Heard::Answered(1, _)))));
        assert!(matches!(after(&mut hearing, &line), Ok(Some(Heard::Told(Said::Log(..))))));
    }

    #[test]
    fn whoever_reports_without_end_is_to_be_killed() {
        let substep = Event::Substep { name: "s".into(), phase: Phase::Freeze, progress: Progress::Planned };
        for (event, why) in [(substep, "sub-steps without end"), (Event::LetGo, "talks without end")] {
            let mut hearing = Hearing::default();
            hearing.push(&encode(&event).unwrap().repeat(MOST_MESSAGES as usize + 1));
            let why_killed = loop {
                match hearing.hear() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("heard to the end"),
                    Err(why) => break why,
                }
            };
            assert!(why_killed.contains(why), "{why_killed}");
        }
    }
}
