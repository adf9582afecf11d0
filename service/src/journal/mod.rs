//! The log: lines wait in memory and are sent without ever blocking; while filesystems are held they only wait.
//!
//! libc's syslog(3), and a stderr that is a file, may wait for the very filesystem we hold: the failure of half our predecessors. So a line is
//! first put into a bounded buffer; it leaves when nothing is held and the reader takes it without making us wait.

mod sink;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

pub use sink::{Destination, Sink};

/// Lines that may wait. A cycle writes some dozens; what is beyond this is counted and said.
const MAX_WAITING: usize = 2_000;
/// The longest line, in bytes: one datagram of every syslogd.
const MAX_LINE: usize = 2_000;

/// The log. Clone it freely: all clones are one.
#[derive(Clone)]
pub struct Journal(Arc<Mutex<Lines>>);

struct Lines {
    waiting: VecDeque<Line>,
    lost: usize,
    held: bool,
    sink: Sink,
    least: Level,
}

/// A line for the log.
pub(crate) struct Line {
    /// How serious it is.
    pub(crate) level: Level,
    /// When it was said; while something is held it may be sent much later.
    pub(crate) at: Instant,
    /// The line, without its end.
    pub(crate) text: String,
}

impl Journal {
    /// A log that goes to `sink`, without what is less serious than `least`.
    #[must_use]
    pub fn new(sink: Sink, least: Level) -> Self {
        Self(Arc::new(Mutex::new(Lines { waiting: VecDeque::new(), lost: 0, held: false, sink, least })))
    }

    /// Takes what this process logs with tracing from now on.
    pub fn listen(&self) {
        let subscriber = tracing_subscriber::registry().with(self.clone());
        // Fails only if there is one already.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }

    /// Says something before (or after) there is a subscriber.
    pub fn say(&self, level: Level, text: &str) {
        self.with(|lines| lines.add(Line { level, at: Instant::now(), text: clean(text.to_owned()) }));
    }

    /// From now on lines only wait: something is being suspended.
    pub fn hold(&self) {
        self.with(|lines| lines.held = true);
    }

    /// Nothing is suspended any more: lines may leave again.
    pub fn let_go(&self) {
        self.with(|lines| lines.held = false);
        self.send();
    }

    /// Sends what the reader takes now.
    pub fn send(&self) {
        self.with(Lines::send);
    }

    fn with(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Lines {
    fn add(&mut self, line: Line) {
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
            self.lost += 1;
        }
        self.waiting.push_back(line);
        self.send();
    }

    fn send(&mut self) {
        if self.held {
            return;
        }
        if self.lost > 0 {
            let text = format!("{} earlier lines of this log were lost: its reader did not take them", self.lost);
            if !self.sink.send(&Line { level: Level::WARN, at: Instant::now(), text }) {
                return;
            }
            self.lost = 0;
        }
        while let Some(line) = self.waiting.front() {
            if !self.sink.send(line) {
                return;
            }
            self.waiting.pop_front();
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        // Other crates' debugging is theirs.
        let ours = event.metadata().target().starts_with("hv_vss");
        self.with(|lines| {
            if level <= lines.least && (ours || level <= Level::WARN) {
                let mut text = Text(String::new());
                event.record(&mut text);
                lines.add(Line { level, at: Instant::now(), text: clean(text.0) });
            }
        });
    }
}

/// What could forge lines or drive a terminal is spelled out.
fn clean(text: String) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if clean.len() > MAX_LINE {
            clean.push_str(" [cut]");
            break;
        }
        if hv_vss_wire::is_obeyed(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String can't fail.
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_held_lines_wait_and_afterwards_all_of_them_leave_in_order() {
        let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let journal = Journal::new(Sink::of_pipe(writer.into(), "test"), Level::INFO);
        let line = |text: &str| Line { level: Level::INFO, at: Instant::now(), text: text.to_owned() };
        journal.hold();
        journal.with(|lines| lines.add(line("first")));
        reader.set_nonblocking(true).unwrap();
        assert!(std::io::Read::read(&mut reader, &mut [0; 8]).is_err(), "nothing leaves while something is held");
        journal.with(|lines| lines.add(line("second")));
        journal.let_go();
        let mut text = [0; 256];
        let read = std::io::Read::read(&mut reader, &mut text).unwrap();
        let text = String::from_utf8_lossy(&text[..read]).into_owned();
        assert!(text.find("first").unwrap() < text.find("second").unwrap(), "{text}");
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_never_makes_us_wait() {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let journal = Journal::new(Sink::of_pipe(writer.into(), "test"), Level::INFO);
        for _ in 0..4 * MAX_WAITING {
            journal.with(|lines| lines.add(Line { level: Level::INFO, at: Instant::now(), text: "x".repeat(500) }));
        }
        journal.with(|lines| {
            assert_eq!(lines.waiting.len(), MAX_WAITING);
            assert!(lines.lost > 0);
        });
        drop(reader);
    }

    #[test]
    fn control_characters_can_not_forge_a_line() {
        assert_eq!(clean("a\nb\x1b[31m\u{202e}c".to_owned()), "a\\nb\\u{1b}[31m\\u{202e}c");
        assert!(clean("x".repeat(5_000)).ends_with("[cut]"));
    }
}
