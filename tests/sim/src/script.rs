//! Scripts for the host: one step a line, to play hosts that crash, hang, lie and stutter.
//!
//! ```text
//! # a comment
//! negotiate                  offers versions, waits for the answer
//! check | freeze | thaw | dm-info       sends the request, waits for the answer
//! send check                 sends without waiting (also: send raw 0100...)
//! raw 0100...                sends these bytes, waits for the answer
//! await                      waits for all that were sent and not awaited
//! sleep 1500                 milliseconds
//! patience 500               how long later steps wait for an answer, milliseconds
//! clock 10000                the guest's kernel has its wall clock this many milliseconds ahead (or behind: -10000)
//! limit 2000                 the driver's time limit, milliseconds
//! unplug | plug              the device goes and comes
//! ```

use std::time::Duration;

use crate::control::Switches;
use crate::host::{Answered, Host, HostError, PATIENCE, Sent};
use crate::ic;

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Offer versions and wait.
    Negotiate,
    /// Send a message and wait for its answer.
    Ask(Message),
    /// Send a message.
    Send(Message),
    /// Wait for what was sent.
    Await,
    /// Do nothing for so long.
    Sleep(Duration),
    /// Wait no longer than this for an answer.
    Patience(Duration),
    /// Set switches of the machine.
    Set(Switches),
}

/// What a script can send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A VSS request.
    Operation(u8),
    /// Any bytes.
    Raw(Vec<u8>),
}

/// What one step that waited ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The script's word for it.
    pub name: String,
    /// None: no answer in time.
    pub answered: Option<Answered>,
}

/// Reads a script.
///
/// # Errors
/// A sentence with the number of the line that is not understood.
pub fn read(text: &str) -> Result<Vec<Step>, String> {
    let lines = (1..).zip(text.lines()).map(|(at, line)| (at, line.split('#').next().unwrap_or("").trim()));
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(at, line)| step(line).map_err(|why| format!("line {at} of the script: {why}")))
        .collect()
}

fn step(line: &str) -> Result<Step, String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    let ms =
        || rest.parse().map(Duration::from_millis).map_err(|_| format!("\"{rest}\" is not a number of milliseconds"));
    Ok(match word {
        "negotiate" => Step::Negotiate,
        "await" => Step::Await,
        "send" => Step::Send(message(rest)?),
        "sleep" => Step::Sleep(ms()?),
        "patience" => Step::Patience(ms()?),
        "limit" => {
            let limit_ms = rest.parse().map_err(|_| format!("\"{rest}\" is not a number of milliseconds"))?;
            Step::Set(Switches { limit_ms: Some(limit_ms), ..Switches::default() })
        }
        "clock" => {
            let shift = rest.parse().map_err(|_| format!("\"{rest}\" is not a number of milliseconds"))?;
            Step::Set(Switches { clock_shift_ms: Some(shift), ..Switches::default() })
        }
        "plug" => Step::Set(Switches { present: Some(true), ..Switches::default() }),
        "unplug" => Step::Set(Switches { present: Some(false), ..Switches::default() }),
        _ => Step::Ask(message(line)?),
    })
}

fn message(text: &str) -> Result<Message, String> {
    Ok(match text {
        "check" => Message::Operation(ic::HOT_BACKUP),
        "freeze" => Message::Operation(ic::FREEZE),
        "thaw" => Message::Operation(ic::THAW),
        "dm-info" => Message::Operation(ic::GET_DM_INFO),
        other => match other.strip_prefix("raw ") {
            Some(hex) => Message::Raw(ic::from_hex(hex)?),
            None => return Err(format!("\"{other}\" is no step")),
        },
    })
}

/// Plays a script; `tell` hears of each outcome as it comes.
///
/// # Errors
/// When the simulator can't be reached.
pub fn play(host: &Host, steps: &[Step], mut tell: impl FnMut(&Outcome)) -> Result<Vec<Outcome>, HostError> {
    let mut patience = PATIENCE;
    let mut open: Vec<(String, Sent)> = Vec::new();
    let mut outcomes = Vec::new();
    let mut end = |name: String, answered| {
        let outcome = Outcome { name, answered };
        tell(&outcome);
        outcomes.push(outcome);
    };
    for step in steps {
        match step {
            Step::Negotiate => {
                let sent = host.offer()?;
                end("negotiate".into(), host.answer_to(sent, patience)?);
            }
            Step::Ask(message) => {
                let (name, sent) = post(host, message)?;
                end(name, host.answer_to(sent, patience)?);
            }
            Step::Send(message) => open.push(post(host, message)?),
            Step::Await => {
                for (name, sent) in open.drain(..) {
                    end(name, host.answer_to(sent, patience)?);
                }
            }
            Step::Sleep(span) => std::thread::sleep(*span),
            Step::Patience(span) => patience = *span,
            Step::Set(switches) => host.set(switches.clone())?,
        }
    }
    Ok(outcomes)
}

fn post(host: &Host, message: &Message) -> Result<(String, Sent), HostError> {
    match message {
        Message::Operation(operation) => Ok((ic::name(&ic::request(*operation, 0)), host.send(*operation)?)),
        Message::Raw(bytes) => Ok((ic::name(bytes), host.send_raw(bytes)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_line_by_line() {
        let steps = read("# two at once\nsend freeze\nfreeze  # the second\n\nsleep 15\nawait\nraw 00ff\n").unwrap();
        let freeze = Message::Operation(ic::FREEZE);
        assert_eq!(
            steps,
            [
                Step::Send(freeze.clone()),
                Step::Ask(freeze),
                Step::Sleep(Duration::from_millis(15)),
                Step::Await,
                Step::Ask(Message::Raw(vec![0, 255])),
            ]
        );
    }

    #[test]
    fn a_line_that_is_no_step_is_named() {
        assert_eq!(read("check\nfreez\n").unwrap_err(), "line 2 of the script: \"freez\" is no step");
        assert_eq!(read("sleep long").unwrap_err(), "line 1 of the script: \"long\" is not a number of milliseconds");
    }
}
