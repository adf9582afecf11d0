//! A conversation with a server through its own command line client, which stays: one process for a whole test, not one for each statement.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A client that is connected.
pub struct Session {
    client: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// What makes the client print [`END`].
    full_stop: &'static str,
}

/// The line after an answer.
const END: &str = "@end";

impl Session {
    /// A client that reads statements, prints results as bare lines, and prints `@end` when it reads `full_stop`.
    ///
    /// # Panics
    /// When it can't be started.
    #[track_caller]
    pub(crate) fn start(mut client: Command, full_stop: &'static str) -> Self {
        let started = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("can't start {client:?}: {error}"));
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stdout.take().expect("piped"));
        Self { client: child, to, from, full_stop }
    }

    /// The lines of the answer to this statement, or what went wrong.
    ///
    /// # Errors
    /// When the client has ended: its connection is gone, or the statement failed.
    pub fn ask(&mut self, statement: &str) -> Result<Vec<String>, String> {
        let asked = writeln!(self.to, "{statement};\n{}", self.full_stop).and_then(|()| self.to.flush());
        asked.map_err(|error| format!("the client does not listen: {error}"))?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match self.from.read_line(&mut line) {
                Ok(0) => return Err(format!("the client has ended; it said {lines:?} {}", self.last_words())),
                Ok(_) if line.trim_end() == END => return Ok(lines),
                Ok(_) => lines.push(line.trim_end().to_owned()),
                Err(error) => return Err(format!("the client does not answer: {error}")),
            }
        }
    }

    /// What it said on its standard error output, which it has closed.
    fn last_words(&mut self) -> String {
        let mut words = String::new();
        let said = self.client.stderr.as_mut().map(|stderr| stderr.read_to_string(&mut words));
        said.map_or(String::new(), |_| words)
    }

    /// The same of a statement that has to work.
    ///
    /// # Panics
    /// When it doesn't.
    #[track_caller]
    pub fn tell(&mut self, statement: &str) -> Vec<String> {
        self.ask(statement).unwrap_or_else(|why| panic!("{statement}: {why}"))
    }

    /// Sends a statement and waits for nothing.
    ///
    /// # Panics
    /// When the client is gone.
    #[track_caller]
    pub fn begin(&mut self, statement: &str) {
        writeln!(self.to, "{statement};").and_then(|()| self.to.flush()).expect("the client listens");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
