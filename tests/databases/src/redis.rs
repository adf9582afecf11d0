//! Redis: a small server, its load, and the judgement of one that was started from a copy.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::{Found, Load, Server, directory_of, text};

/// Writers, each with a connection.
pub const WRITERS: u64 = 3;

/// What the server keeps its data in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Every write, in the append-only file.
    Appending,
    /// Everything, in a dump from time to time.
    Dumps,
}

/// Data, and where its server listens.
#[derive(Clone)]
pub struct Instance {
    /// The data directory.
    pub data: PathBuf,
    /// A directory for the socket, which is not frozen.
    pub run: PathBuf,
    /// How it keeps its data.
    pub keeps: Keeps,
}

impl Instance {
    /// New or there already: an empty directory is a new one.
    #[must_use]
    #[track_caller]
    pub fn at(data: &Path, run: &Path, keeps: Keeps) -> Self {
        directory_of("redis", run);
        directory_of("redis", data);
        Self { data: data.to_owned(), run: run.to_owned(), keeps }
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("socket")
    }

    /// Starts the server with a default server's settings, and these, and waits until it is ready.
    ///
    /// # Panics
    /// When it doesn't get ready.
    #[track_caller]
    pub fn start(&self, more: &[&str]) -> Server {
        let (data, socket) = (text(&self.data), text(&self.socket()));
        let appendonly = if self.keeps == Keeps::Appending { "yes" } else { "no" };
        let words =
            ["redis-server", "--port", "0", "--unixsocket", &socket, "--dir", &data, "--appendonly", appendonly];
        let words = words.iter().chain(more).map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut server = Server::start("redis", &words, &self.run.join("log"), Signal::SIGKILL);
        server.says("eady to accept connections");
        crate::becomes_true("the socket is there", || self.socket().exists());
        server
    }

    /// A client.
    #[must_use]
    #[track_caller]
    pub fn session(&self) -> Client {
        let stream = UnixStream::connect(self.socket()).unwrap_or_else(|error| panic!("redis: {error}"));
        Client(BufReader::new(stream))
    }

    /// Each number is a transaction over two keys.
    #[must_use]
    pub fn load(&self) -> Load {
        let instance = self.clone();
        Load::start(WRITERS, move |writer| {
            let mut session = instance.session();
            Box::new(move |number| {
                let (set, last, number) = (format!("set:{writer}"), format!("last:{writer}"), number.to_string());
                session.ask(&["MULTI"])?;
                session.ask(&["SADD", &set, &number])?;
                session.ask(&["SET", &last, &number])?;
                let said = session.ask(&["EXEC"])?;
                if said == ["1", "OK"] { Ok(()) } else { Err(format!("number {number}: {said:?}")) }
            })
        })
    }

    /// The append-only file that is being written.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn append_only_file(&self) -> PathBuf {
        let directory = self.data.join("appendonlydir");
        let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let files = entries.flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> = files.filter(|path| text(path).ends_with(".incr.aof")).collect();
        files.sort();
        files.pop().expect("an append-only file")
    }
}

/// A connection that speaks Redis's own protocol.
pub struct Client(BufReader<UnixStream>);

impl Client {
    /// The answer to this command, an array's elements one by one.
    ///
    /// # Errors
    /// When the connection is gone, or the server says that it is an error.
    pub fn ask(&mut self, words: &[&str]) -> Result<Vec<String>, String> {
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| request.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        self.0.get_mut().write_all(request.as_bytes()).map_err(|error| format!("redis does not listen: {error}"))?;
        let mut answer = Vec::new();
        self.read(&mut answer)?;
        Ok(answer)
    }

    /// The same of a command that has to work.
    ///
    /// # Panics
    /// When it doesn't.
    #[track_caller]
    pub fn tell(&mut self, words: &[&str]) -> Vec<String> {
        self.ask(words).unwrap_or_else(|why| panic!("{words:?}: {why}"))
    }

    /// One field of INFO.
    ///
    /// # Panics
    /// When there is no such field.
    #[must_use]
    #[track_caller]
    pub fn info(&mut self, field: &str) -> String {
        let said = self.tell(&["INFO"]).join("\n");
        let found = said.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.unwrap_or_else(|| panic!("INFO has no {field}")).trim().to_owned()
    }

    fn read(&mut self, answer: &mut Vec<String>) -> Result<(), String> {
        let gone = |error: std::io::Error| format!("redis does not answer: {error}");
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(gone)?;
        let (kind, rest) = line.trim_end().split_at_checked(1).ok_or("redis has hung up")?;
        match kind {
            "-" => return Err(rest.to_owned()),
            "*" => {
                let count = rest.parse::<usize>().map_err(|_| format!("no length: {line}"))?;
                (0..count).try_for_each(|_| self.read(answer))?;
            }
            "$" if rest == "-1" => answer.push(String::new()),
            "$" => {
                let length = rest.parse::<usize>().map_err(|_| format!("no string: {line}"))?;
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).map_err(gone)?;
                answer.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
            _ => answer.push(rest.to_owned()),
        }
        Ok(())
    }
}

/// What the server holds of each writer.
#[must_use]
#[track_caller]
pub fn found(client: &mut Client) -> Vec<Found> {
    let numbers = |writer: u64| {
        let members = client.tell(&["SMEMBERS", &format!("set:{writer}")]);
        members.iter().map(|member| member.parse().unwrap_or_else(|_| panic!("no number: {member}"))).collect()
    };
    (0..WRITERS).map(numbers).collect()
}

/// What is wrong: halves of transactions.
#[must_use]
#[track_caller]
pub fn halves(client: &mut Client, found: &[Found]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (writer, found) in found.iter().enumerate() {
        let last = client.tell(&["GET", &format!("last:{writer}")]).concat();
        let max = found.last().map(u64::to_string).unwrap_or_default();
        if last != max {
            wrong.push(format!("writer {writer} is at {last} in one key, at {max} in the other"));
        }
    }
    wrong
}

/// What is wrong with the loading that a started server's log tells of.
#[must_use]
pub fn judge_loading(log: &str, keeps: Keeps) -> Vec<String> {
    let mut wrong = Vec::new();
    let loaded = if keeps == Keeps::Appending { "DB loaded from append only file" } else { "DB loaded from disk" };
    if !log.contains(loaded) && !log.contains("DB loaded from incr file") {
        wrong.push(format!("the log does not say \"{loaded}\""));
    }
    let bad = ["runcat", "short read", "ncomplete", "Bad file format", "Unexpected", "orrupt"];
    wrong.extend(log.lines().filter(|line| bad.iter().any(|bad| line.contains(bad))).map(str::to_owned));
    wrong
}
