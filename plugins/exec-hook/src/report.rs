//! What is told of a script's end: to the log, to the timeline, and as the sentence about a failure.

use hv_vss_plugin::{Level, Progress, Step};

use crate::name::Phase;
use crate::run::{End, Ended, Remains};

/// The exit status by which a thaw script says that its application was not at rest for the whole hold.
pub(crate) const NOT_AT_REST: i32 = 79;
/// What a reason has room for; the plugin interface lends 1,024 bytes.
const ROOM: usize = 900;

/// The call that is told.
#[derive(Clone, Copy)]
pub(crate) struct Report<'a, 's> {
    pub(crate) step: &'a Step<'s>,
    pub(crate) phase: Phase,
}

impl Report<'_, '_> {
    /// Reports one script's end; the sentence about it, if it did not end well.
    pub(crate) fn ended(&self, file: &str, ended: &Ended, gravity: Level) -> Option<String> {
        let failure = failure(file, self.phase, ended);
        let level = if failure.is_some() { Level::Warn } else { Level::Info };
        for line in ended.output.lines() {
            self.step.log(level, &format!("{file} {}: {line}", self.phase));
        }
        if ended.remains == Remains::Unread {
            let text = format!(
                "{file} {}: too many processes in the background still have their script's output; that of this one is closed, and ends \
                 it when it writes. Send the output of what is to live on somewhere else",
                self.phase
            );
            self.step.log(Level::Warn, &text);
        }
        match &failure {
            None => self.step.substep(file, self.phase.into(), Progress::Ended),
            Some(sentence) => {
                self.step.substep(file, self.phase.into(), Progress::Failed(sentence));
                self.step.log(gravity, sentence);
            }
        }
        failure
    }
}

impl From<Phase> for hv_vss_plugin::Phase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Freeze => Self::Freeze,
            Phase::Thaw => Self::Thaw,
        }
    }
}

/// The sentence about a script that did not end well.
fn failure(file: &str, phase: Phase, ended: &Ended) -> Option<String> {
    let took = ended.took;
    let mut text = match &ended.end {
        End::Well => return None,
        End::Status(NOT_AT_REST) if phase == Phase::Thaw => {
            format!("{file} thaw: its application was not at rest for the whole hold (exit status {NOT_AT_REST})")
        }
        End::Status(code) => format!("{file} {phase} failed with exit status {code} after {took:.1?}"),
        End::Signal(signal) => format!("{file} {phase} was ended by {signal} after {took:.1?}"),
        End::TooLong(limit) => {
            let end = match ended.remains {
                Remains::Killed | Remains::Lingers => "it was killed",
                _ => "it was ended",
            };
            format!("{file} {phase} did not end within {}; {end}", limit.explained(file))
        }
        End::GivenUp => format!("{file} {phase} was ended after {took:.1?}, since the freeze was given up"),
        End::NeverRan(why) => return Some(format!("{file} {phase} did not run: {why}")),
        End::NotStarted => return Some(format!("{file} {phase} was not started, since the freeze was given up")),
    };
    match ended.remains {
        Remains::Others(1) => text.push_str(", and 1 process that it had started goes on"),
        Remains::Others(others) => text.push_str(&format!(", and {others} processes that it had started go on")),
        Remains::Lingers => text.push_str(" and is not gone: it waits for a disk"),
        Remains::Nothing | Remains::Killed | Remains::Unread => {}
    }
    if let Some(reason) = ended.output.reason() {
        text.push_str(&format!("; output: {reason}"));
    }
    Some(text)
}

/// Sentences as one, as far as there is room; how many were left out is said.
pub(crate) fn list(sentences: &[String]) -> String {
    let mut text = String::new();
    for (at, sentence) in sentences.iter().enumerate() {
        if at > 0 && text.len() + sentence.len() > ROOM {
            text.push_str(&format!("; and {} more (see the log)", sentences.len() - at));
            break;
        }
        if at > 0 {
            text.push_str("; ");
        }
        text.push_str(sentence);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_between_sentences_and_counted() {
        let hooks: Vec<String> =
            (0..50).map(|number| format!("{number:02}-hook is refused: {}", "x".repeat(80))).collect();
        let text = list(&hooks);
        assert!(text.len() < 1024, "{}", text.len());
        assert!(text.ends_with("x; and 42 more (see the log)"), "{text}");
        assert_eq!(list(&hooks[..1]), hooks[0]);
    }
}
