//! Which programs there are to run: cargo builds and names them, kmod brings its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Places;
use crate::arguments::Arguments;
use crate::job::{Job, Kind};

/// The module whose tests need the machine to themselves.
const ALONE: &str = "alone::";

/// All programs, those that take longest first.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) jobs: Vec<Job>,
}

/// The part of cargo's message about a test program that is used here.
struct Artifact {
    package: String,
    manifest: PathBuf,
    source: PathBuf,
    kind: String,
    target: String,
    program: PathBuf,
}

/// Has cargo build the tests, and gives what it says: one message in JSON a line.
pub(crate) fn build(places: &Places, arguments: &Arguments) -> Result<String, String> {
    let mut command = cargo();
    command.args(["test", "--locked", "--no-run", "--message-format=json-render-diagnostics"]);
    choose(&mut command, arguments);
    let output = command.current_dir(&places.root).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cargo can't be run: {error}"))?;
    if !output.status.success() {
        return Err("the tests do not build".to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn choose(command: &mut Command, arguments: &Arguments) {
    if !arguments.names_packages() {
        command.arg("--workspace");
    }
    command.args(&arguments.cargo);
}

impl Plan {
    /// From cargo's messages.
    pub(crate) fn of(places: &Places, messages: &str, arguments: &Arguments) -> Result<Self, String> {
        let words = arguments.for_programs();
        let mut jobs = Vec::new();
        for line in messages.lines().filter(|line| line.starts_with('{')) {
            let message: Value = serde_json::from_str(line).map_err(|error| format!("cargo's message: {error}"))?;
            if let Some(artifact) = Artifact::read(&message) {
                jobs.extend(artifact.jobs(places, &words)?);
            }
        }
        if arguments.has_documentation() {
            jobs.push(documentation(places, arguments));
        }
        if arguments.is_whole() && cfg!(target_os = "linux") {
            jobs.extend(modules(places)?);
        }
        let times = std::fs::read_to_string(places.kept().join("times")).unwrap_or_default();
        jobs.sort_by_key(|job| std::cmp::Reverse(expected_ms(&job.name, &times)));
        Ok(Self { jobs })
    }

    /// Without what builds something while it runs.
    #[cfg(target_os = "linux")]
    pub(crate) fn without_documentation(mut self) -> Self {
        self.jobs.retain(|job| job.name != DOCUMENTATION);
        self
    }
}

/// How long it took the last time; without that, what has often been slow comes first.
fn expected_ms(name: &str, times: &str) -> u64 {
    let known = times.lines().filter_map(|line| line.split_once(' ')).find(|(_, job)| *job == name);
    let slow = ["kmod/", "tests/faults/", "tests/databases/", "orchestrator/", DOCUMENTATION, "tests/stories/"];
    let guess = slow.iter().rev().position(|part| name.starts_with(part)).map_or(0, |at| 10_000 + at as u64);
    known.and_then(|(ms, _)| ms.parse().ok()).unwrap_or(guess)
}

const DOCUMENTATION: &str = "documentation";

impl Artifact {
    fn read(message: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
        let program = text(&message["executable"]).filter(|_| is_test)?;
        let manifest = PathBuf::from(text(&message["manifest_path"])?);
        Some(Self {
            package: package(&text(&message["package_id"])?),
            source: text(&message["target"]["src_path"])?.into(),
            kind: text(&message["target"]["kind"][0])?,
            target: text(&message["target"]["name"])?,
            program: program.into(),
            manifest,
        })
    }

    /// One job for what may run beside others, one for what must run alone.
    fn jobs(&self, places: &Places, words: &[String]) -> Result<Vec<Job>, String> {
        let alone = self.alone(words)?;
        let beside = match alone.is_empty() {
            true => words.to_vec(),
            false => words.iter().cloned().chain(["--skip".to_owned(), ALONE.to_owned()]).collect(),
        };
        let mut jobs = vec![self.job(places, beside, false)];
        if !alone.is_empty() {
            let options = words.iter().filter(|word| ["--nocapture", "--show-output"].contains(&word.as_str()));
            let exactly = ["--exact".to_owned(), "--test-threads=1".to_owned()];
            jobs.push(self.job(places, options.cloned().chain(exactly).chain(alone).collect(), true));
        }
        Ok(jobs)
    }

    fn job(&self, places: &Places, words: Vec<String>, alone: bool) -> Job {
        let directory = self.manifest.parent().unwrap_or(&places.root).to_owned();
        let source = self.source.strip_prefix(&places.root).unwrap_or(&self.source).display().to_string();
        let target = match self.kind.as_str() {
            "test" => format!("--test {}", self.target),
            "bin" => format!("--bin {}", self.target),
            _ => "--lib".to_owned(),
        };
        let profile = places.target.join("debug");
        let libraries = std::env::join_paths([profile.join("deps"), profile]).unwrap_or_default();
        Job {
            name: source,
            command: format!("scripts/test -p {} {target}", self.package),
            kind: Kind::Libtest,
            program: self.program.clone(),
            arguments: words.into_iter().map(OsString::from).collect(),
            environment: vec![
                ("CARGO", std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
                ("CARGO_MANIFEST_DIR", directory.clone().into()),
                ("LD_LIBRARY_PATH", libraries),
            ],
            directory,
            alone,
        }
    }

    /// The names of its tests that need the machine to themselves, of those that were asked for.
    fn alone(&self, words: &[String]) -> Result<Vec<String>, String> {
        let mut list = Command::new(&self.program);
        list.args(words)
            .args(["--list", "--format", "terse"])
            .current_dir(self.manifest.parent().unwrap_or(Path::new("/")));
        let output = list.output().map_err(|error| format!("{}: {error}", self.program.display()))?;
        let names = String::from_utf8_lossy(&output.stdout);
        let tests = names.lines().filter_map(|line| line.strip_suffix(": test"));
        Ok(tests.filter(|test| test.starts_with(ALONE) || test.contains("::alone::")).map(str::to_owned).collect())
    }
}

/// `path+file:///here/tests/stories#hv-vss-stories@0.1.0` and `path+file:///here/name#0.1.0` are both possible.
fn package(id: &str) -> String {
    let (path, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    let name = fragment.split_once('@').map(|(name, _)| name);
    name.or_else(|| path.rsplit('/').next()).unwrap_or(id).to_owned()
}

fn documentation(places: &Places, arguments: &Arguments) -> Job {
    let mut command = cargo();
    command.args(["test", "--locked", "--doc", "--no-fail-fast", "--quiet"]);
    choose(&mut command, arguments);
    command.arg("--").args(arguments.for_programs());
    Job {
        name: DOCUMENTATION.to_owned(),
        command: "scripts/test --doc".to_owned(),
        kind: Kind::Libtest,
        program: command.get_program().into(),
        arguments: command.get_args().map(OsString::from).collect(),
        directory: places.root.clone(),
        environment: Vec::new(),
        alone: false,
    }
}

/// The kernel modules' own tests, in C: a folder of kmod with a GNUmakefile is one.
fn modules(places: &Places) -> Result<Vec<Job>, String> {
    let above = places.root.join("kmod");
    let entries = std::fs::read_dir(&above).map_err(|error| format!("{}: {error}", above.display()))?;
    let folders = entries.flatten().map(|entry| entry.path()).filter(|path| path.join("GNUmakefile").exists());
    let jobs = folders.map(|folder| {
        let name = folder.strip_prefix(&places.root).unwrap_or(&folder).display().to_string();
        Job {
            command: format!("make -C {name} test"),
            kind: Kind::Module,
            program: "make".into(),
            arguments: vec!["-C".into(), folder.into(), "test".into()],
            directory: places.root.clone(),
            environment: ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"].map(|name| (name, OsString::new())).to_vec(),
            alone: false,
            name,
        }
    });
    Ok(jobs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_programs_message_becomes_a_command_that_runs_it_alone() {
        let message = serde_json::json!({
            "reason": "compiler-artifact",
            "package_id": "path+file:///here/tests/stories#hv-vss-stories@0.1.0",
            "manifest_path": "/here/tests/stories/Cargo.toml",
            "target": {"kind": ["test"], "name": "answers", "src_path": "/here/tests/stories/tests/answers.rs"},
            "profile": {"test": true},
            "executable": "/bin/true",
        });
        let places = Places { root: "/here".into(), target: "/here/target".into() };
        let job = Artifact::read(&message).expect("it is one").job(&places, vec![], false);
        assert_eq!(job.name, "tests/stories/tests/answers.rs");
        assert_eq!(job.command, "scripts/test -p hv-vss-stories --test answers");
        assert_eq!(job.directory, Path::new("/here/tests/stories"));
        let library =
            serde_json::json!({"reason": "compiler-artifact", "profile": {"test": false}, "executable": null});
        assert!(Artifact::read(&library).is_none());
    }

    #[test]
    fn a_package_is_named_by_its_id_in_either_form() {
        assert_eq!(package("path+file:///here/trust#hv-vss-trust@0.1.0"), "hv-vss-trust");
        assert_eq!(package("path+file:///here/trust#0.1.0"), "trust");
    }

    #[test]
    fn what_took_long_the_last_time_begins_first() {
        assert!(expected_ms("trust/tests/trust.rs", "70000 trust/tests/trust.rs") > expected_ms("kmod/broker", ""));
        assert!(expected_ms("kmod/broker", "") > expected_ms("tests/stories/tests/answers.rs", ""));
        assert!(expected_ms("tests/stories/tests/answers.rs", "") > expected_ms("trust/tests/trust.rs", ""));
    }
}
