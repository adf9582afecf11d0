//! One list of all that happened, from everybody's own record, in the order of the machine's one clock.

use std::fs;
use std::path::Path;

use hv_vss_platform::clock::wall_clock_ns;
use hv_vss_stories::{Event, Guest, Monotonic};

pub(crate) struct Timeline {
    began: Monotonic,
    events: Vec<(Monotonic, String)>,
}

impl Timeline {
    pub(crate) fn from(began: Monotonic) -> Self {
        Self { began, events: Vec::new() }
    }

    pub(crate) fn add(&mut self, at: Monotonic, what: String) {
        if at >= self.began {
            self.events.push((at, what));
        }
    }

    /// What the host said and heard, and what the kernel froze.
    pub(crate) fn add_wire(&mut self, guest: &Guest) {
        for entry in guest.host().log().unwrap_or_else(|error| panic!("{error}")) {
            let what = match entry.event {
                Event::ToGuest { name, .. } => format!("host     asks: {name}"),
                Event::ToHost { name, status, .. } => {
                    let verdict = if status == 0 { "success" } else { "failure" };
                    format!("host     hears: {name}, {verdict}")
                }
                Event::Frozen { on } => format!("kernel   has frozen {on}"),
                Event::Thawed { on } => format!("kernel   has thawed {on}"),
                Event::Panic { text } => format!("kernel   panic: {text}"),
                Event::Note { .. } => continue,
            };
            self.add(Monotonic::from_ns(entry.at_ns), what);
        }
    }

    /// What the scripts wrote down: "NAME PHASE begins|ends WALLCLOCK".
    pub(crate) fn add_scripts(&mut self, times: &Path) {
        let text = fs::read_to_string(times).unwrap_or_else(|error| panic!("can't read {}: {error}", times.display()));
        let (wall, here) = (wall_clock_ns(), hv_vss_platform::clock::now().as_ns());
        for line in text.lines() {
            let (what, at) = line.rsplit_once(' ').unwrap_or_else(|| panic!("a script wrote \"{line}\""));
            let at: u64 = at.parse().unwrap_or_else(|_| panic!("a script wrote \"{line}\""));
            self.add(Monotonic::from_ns(here.saturating_sub(wall.saturating_sub(at))), format!("script   {what}"));
        }
    }

    /// When each writer stopped, and when it went on: the writes around the time in which all was frozen.
    pub(crate) fn add_writers(&mut self, guest: &Guest, from: Monotonic, until: Monotonic) {
        for writer in guest.writers().iter() {
            let record = writer.record();
            let last = record.iter().rev().find(|written| written.done <= from);
            let first = record.iter().find(|written| written.done >= until);
            let (last, first) = last.zip(first).unwrap_or_else(|| panic!("{} has no record of it", writer.disk));
            self.add(last.done, format!("writer   on {}: its last write before", writer.disk));
            self.add(first.done, format!("writer   on {}: its next write is done", writer.disk));
        }
    }

    pub(crate) fn print(&mut self) {
        self.events.sort_by_key(|(at, _)| *at);
        for (at, what) in &self.events {
            println!("   {:>8.1} ms  {what}", self.began.until(*at).as_secs_f64() * 1000.0);
        }
    }
}
