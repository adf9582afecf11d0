//! One system call as strace prints it: `PID SECONDS name(arguments) = result <took>`, in two lines when another process came in between.

use std::collections::HashMap;

/// A system call, or the end of a process (`exit`).
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The thread.
    pub tid: i32,
    /// When it began, in seconds since 1970.
    pub began: f64,
    /// When it returned; none: not while it was traced.
    pub ended: Option<f64>,
    /// Its name.
    pub name: String,
    /// What stands between the parentheses.
    pub arguments: String,
}

/// What a descriptor is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// A socket, a pipe.
    Channel,
    /// epoll, eventfd, timerfd, signalfd, pidfd: no file of any disk. By strace's name for it.
    Kernel(String),
    /// Whatever has a path.
    Path(String),
}

impl Call {
    /// The descriptor that is its first argument, by number and by what it is of.
    #[must_use]
    pub fn descriptor(&self) -> Option<(i32, Descriptor)> {
        let (number, rest) = self.arguments.split_once('<')?;
        let number = number.parse().ok()?;
        let name = rest.split(['>']).next()?;
        let kind = match name {
            _ if name.starts_with("socket:[") || name.starts_with("pipe:[") || name.starts_with("UNIX") => {
                Descriptor::Channel
            }
            _ if name.starts_with("anon_inode:") => Descriptor::Kernel(name["anon_inode:".len()..].to_owned()),
            _ => Descriptor::Path(name.to_owned()),
        };
        Some((number, kind))
    }

    /// The first path among its arguments.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.arguments.split('"').nth(1)
    }

    /// The argument at this place, for those that hold no comma themselves.
    #[must_use]
    pub fn argument(&self, at: usize) -> &str {
        self.arguments.split(", ").nth(at).unwrap_or_default()
    }
}

/// Reads what strace wrote.
///
/// # Panics
/// At a line that is none of strace's: a call must not be overlooked.
#[must_use]
pub fn read(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: HashMap<i32, usize> = HashMap::new();
    for line in text.lines() {
        let parsed = parts(line).unwrap_or_else(|| panic!("not a line of strace's: {line}"));
        let (tid, at, what) = parsed;
        if what.starts_with("---") {
            continue;
        }
        if what.starts_with("+++") {
            // Whatever it was in the midst of, exit_group(2) most of all, ends with it.
            calls
                .iter_mut()
                .filter(|call| call.tid == tid && call.ended.is_none())
                .for_each(|call| call.ended = Some(at));
            calls.push(Call { tid, began: at, ended: Some(at), name: "exit".into(), arguments: what.to_owned() });
            continue;
        }
        if let Some(resumed) = what.strip_prefix("<... ") {
            // Without a beginning it was under way when strace attached: it may have begun at any time before.
            let ended = ended(at, 0.0);
            match unfinished.remove(&tid) {
                Some(call) => {
                    let rest = resumed.split_once("resumed>").map_or("", |(_, rest)| rest);
                    calls[call].ended = ended;
                    calls[call].arguments.push_str(until_result(rest));
                }
                None => {
                    let name = resumed.split(' ').next().unwrap_or_default().to_owned();
                    calls.push(Call { tid, began: 0.0, ended, name, arguments: String::new() });
                }
            }
            continue;
        }
        let (name, rest) = what.split_once('(').unwrap_or_else(|| panic!("not a call: {line}"));
        let call = |ended, arguments: &str| Call {
            tid,
            began: at,
            ended,
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        };
        if let Some(arguments) = rest.strip_suffix(" <unfinished ...>").or(rest.strip_suffix("<unfinished ...>")) {
            unfinished.insert(tid, calls.len());
            calls.push(call(None, arguments));
        } else {
            let took = rest.rsplit_once(" <").and_then(|(_, took)| took.strip_suffix('>')?.parse().ok());
            calls.push(call(took.and_then(|took| ended(at, took)), until_result(rest)));
        }
    }
    calls
}

fn ended(at: f64, took: f64) -> Option<f64> {
    Some(at + took)
}

/// The arguments alone.
fn until_result(rest: &str) -> &str {
    rest.rsplit_once(" = ").map_or(rest, |(arguments, _)| arguments).trim_end().trim_end_matches(')')
}

fn parts(line: &str) -> Option<(i32, f64, &str)> {
    let (tid, rest) = line.split_once(' ')?;
    let (at, what) = rest.trim_start().split_once(' ')?;
    Some((tid.parse().ok()?, at.parse().ok()?, what.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
10  1.000100 epoll_wait(5<anon_inode:[eventpoll]>,  <unfinished ...>
11  1.000200 close(9</some/where>) = 0 <0.000010>
10  1.000300 <... epoll_wait resumed>[], 1024, 100) = 0 <0.000200>
12  1.000350 <... poll resumed>) = 1 ([{fd=3, revents=POLLIN}]) <9.1>
11  1.000400 --- SIGUSR1 {si_signo=SIGUSR1} ---
11  1.000500 +++ exited with 0 +++
";

    #[test]
    fn a_call_in_two_lines_is_one_and_lasts_until_the_second() {
        let calls = read(TRACE);
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["epoll_wait", "close", "poll", "exit"]);
        assert_eq!((calls[0].began, calls[0].ended), (1.0001, Some(1.0003)));
        assert_eq!(calls[0].descriptor(), Some((5, Descriptor::Kernel("[eventpoll]".into()))));
        assert_eq!(calls[0].argument(3), "100");
    }

    #[test]
    fn a_descriptor_is_known_by_its_number_and_by_what_it_is_of() {
        assert_eq!(read(TRACE)[1].descriptor(), Some((9, Descriptor::Path("/some/where".into()))));
        assert_eq!(
            read("1 1.0 read(3<socket:[77]>, \"\"..., 9) = 9 <0.1>")[0].descriptor(),
            Some((3, Descriptor::Channel))
        );
    }

    #[test]
    fn an_exit_lasts_until_the_process_is_gone() {
        let calls = read("1 1.0 exit_group(0)  = ?\n1 3.5 +++ exited with 0 +++");
        assert_eq!((calls[0].name.as_str(), calls[0].ended), ("exit_group", Some(3.5)));
    }

    #[test]
    fn a_call_that_was_under_way_when_the_tracing_began_has_no_beginning() {
        assert_eq!((read(TRACE)[2].name.as_str(), read(TRACE)[2].began), ("poll", 0.0));
    }

    #[test]
    #[should_panic(expected = "not a line of strace's")]
    fn a_line_that_is_not_understood_is_not_overlooked() {
        let _ = read("something else");
    }
}
