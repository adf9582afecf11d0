//! A server that writes each line it gets to a file, and stops writing while a backup is taken: what an application with its own files can do
//! instead of a script.
//!
//!     quiet_server NODE FILE < lines
//!
//! Lines that come during the hold wait in memory. It says `resting` and `working` on stdout.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use hv_vss_app::{App, Event};

/// What is written to, unless the application is at rest.
struct Store {
    file: File,
    at_rest: bool,
    waiting: Vec<String>,
}

impl Store {
    fn add(&mut self, line: String) -> io::Result<()> {
        if self.at_rest {
            self.waiting.push(line);
            return Ok(());
        }
        writeln!(self.file, "{line}")
    }

    /// Everything written so far is on disk, and nothing more will be.
    fn rest(&mut self) -> io::Result<()> {
        self.at_rest = true;
        self.file.sync_all()
    }

    fn work(&mut self) -> io::Result<()> {
        self.at_rest = false;
        for line in std::mem::take(&mut self.waiting) {
            writeln!(self.file, "{line}")?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(node), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: quiet_server NODE FILE < lines".into());
    };
    let file = OpenOptions::new().create(true).append(true).open(file)?;
    let store = Arc::new(Mutex::new(Store { file, at_rest: false, waiting: Vec::new() }));
    let writer = Arc::clone(&store);
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if let Err(error) = writer.lock().unwrap_or_else(PoisonError::into_inner).add(line) {
                eprintln!("quiet_server: {error}");
            }
        }
    });
    let mut app = App::open_at(Path::new(&node))?;
    loop {
        let event = app.wait()?;
        let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Check(check) => check.accept()?,
            Event::Freeze(freeze) => {
                store.rest()?;
                println!("resting");
                if let Err(error) = freeze.release() {
                    eprintln!("quiet_server: {error}");
                    store.work()?;
                }
            }
            Event::Thaw(_) => {
                store.work()?;
                println!("working");
            }
            Event::Gone(why) => return Err(why.into()),
        }
    }
}
