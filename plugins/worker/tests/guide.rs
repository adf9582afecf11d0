//! docs/plugin-guide.md and hv_vss_plugin(3), followed to the letter in an empty directory with nothing but the header: what they show
//! compiles, loads and keeps every promise, in C and in Rust; and the manual leaves nothing of the header out.

mod stage;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use hv_vss_worker::conformance::{Trial, Verdict, run};
use hv_vss_worker::inspect::in_throwaway_process;
use stage::*;

/// An empty directory, removed in the end.
struct Empty(PathBuf);

impl Empty {
    fn new(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("guide-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        Self(directory)
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The contents of the guide's code block of this language that contains `part`.
#[track_caller]
fn block(language: &str, part: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/plugin-guide.md");
    let guide = fs::read_to_string(&path).expect("the guide");
    let fence = format!("```{language}\n");
    let mut blocks = guide.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .find(|block| block.contains(part))
        .unwrap_or_else(|| panic!("the guide has no {language} block with {part}"))
        .to_owned()
}

/// The application of the guide: answers `pause` and `resume` on a socket.
fn queued_listens_on(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("a socket");
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut answers = connection.try_clone().expect("a second handle");
                for line in BufReader::new(connection).lines().map_while(Result::ok) {
                    let answer = match line.as_str() {
                        "pause" => "paused\n",
                        "resume" => "resumed\n",
                        _ => "what?\n",
                    };
                    if answers.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

/// The guide's plugin, with its application running.
#[track_caller]
fn queued_keeps_every_promise(file: &Path, directory: &Path) {
    let socket = directory.join("queued.sock");
    queued_listens_on(&socket);
    keeps_every_promise(file, "queued", ("socket", &socket.display().to_string()));
}

#[track_caller]
fn keeps_every_promise(file: &Path, name: &str, (key, value): (&str, &str)) {
    let program = Path::new(env!("CARGO_BIN_EXE_hv_vss_worker"));
    let inspected = in_throwaway_process(program, file, SOON).expect("the worker starts");
    assert_eq!(inspected.about.map(|about| about.name), Some(name.into()), "{:?}", inspected.problems);

    let report = run(&Trial {
        program: program.into(),
        file: file.into(),
        options: vec![],
        config: [(key.to_owned(), value.into())].into_iter().collect(),
        mounts: vec![mount("/data", 1)],
        freezable: None,
        patience: SOON,
    });
    assert!(report.findings.iter().all(|finding| finding.verdict == Verdict::Kept), "{report}");
}

#[test]
fn the_plugin_in_c_is_made_by_the_guides_own_command_and_keeps_every_promise() {
    let empty = Empty::new("c");
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/include/hv_vss_plugin.h");
    fs::copy(header, empty.0.join("hv_vss_plugin.h")).expect("the header");
    fs::write(empty.0.join("queued.c"), block("c", "/* queued.c:")).expect("the source");
    let command = block("sh", "cc ");
    let output = Command::new("sh").arg("-ec").arg(&command).current_dir(&empty.0).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{command}: {said}");
    queued_keeps_every_promise(&empty.0.join("queued.so"), &empty.0);
}

#[test]
fn the_plugin_in_rust_is_made_from_the_guides_two_files_and_keeps_every_promise() {
    let empty = Empty::new("rust");
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api").canonicalize().expect("the SDK");
    let manifest = block("toml", "name = \"queued\"").replace("../hv_vss/plugins/api", &sdk.display().to_string());
    // Not part of the workspace that this directory happens to lie in.
    fs::write(empty.0.join("Cargo.toml"), format!("{manifest}\n[workspace]\n")).expect("the manifest");
    fs::create_dir_all(empty.0.join("src")).expect("a directory");
    fs::write(empty.0.join("src/lib.rs"), block("rust", "export_plugin!(Queued)")).expect("the source");
    built_by_cargo(&empty);
    queued_keeps_every_promise(&empty.0.join("target/debug/libqueued.so"), &empty.0);
}

#[test]
fn the_guides_observer_is_made_from_its_own_text_and_keeps_every_promise() {
    let empty = Empty::new("observer");
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api").canonicalize().expect("the SDK");
    let manifest = block("toml", "name = \"queued\"").replace("../hv_vss/plugins/api", &sdk.display().to_string());
    let manifest = manifest.replace("queued", "pager");
    fs::write(empty.0.join("Cargo.toml"), format!("{manifest}\n[workspace]\n")).expect("the manifest");
    fs::create_dir_all(empty.0.join("src")).expect("a directory");
    fs::write(empty.0.join("src/lib.rs"), block("rust", "export_plugin!(observer: Pager)")).expect("the source");
    built_by_cargo(&empty);
    let program = Path::new(env!("CARGO_BIN_EXE_hv_vss_worker"));
    let report = run(&Trial {
        program: program.into(),
        file: empty.0.join("target/debug/libpager.so"),
        options: vec![],
        config: serde_json::Map::new(),
        mounts: vec![mount("/data", 1)],
        freezable: None,
        patience: SOON,
    });
    assert!(report.findings.iter().all(|finding| finding.verdict == Verdict::Kept), "{report}");
    assert!(report.about.is_some_and(|about| about.observer));
}

#[track_caller]
fn built_by_cargo(empty: &Empty) {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["build", "--offline", "--quiet", "--target-dir", "target"])
        .env_remove("CARGO_BUILD_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .current_dir(&empty.0)
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

fn manual() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man/hv_vss_plugin.3");
    fs::read_to_string(path).expect("the manual page")
}

fn header() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/include/hv_vss_plugin.h")
}

#[test]
fn the_manuals_example_compiles_and_keeps_every_promise() {
    let manual = manual();
    let example = manual.split(".Sh EXAMPLES").nth(1).expect("examples");
    let example = example.split(".Bd -literal -offset indent\n").nth(1).and_then(|rest| rest.split(".Ed").next());
    let empty = Empty::new("manual");
    fs::copy(header(), empty.0.join("hv_vss_plugin.h")).expect("the header");
    fs::write(empty.0.join("stop.c"), example.expect("a literal block").replace("\\e", "\\")).expect("the source");
    let command = manual.lines().find_map(|line| line.strip_prefix(".Dl cc ")).expect("how to compile it");
    let command = format!("cc -Wall -Wextra -Werror -I. {command}");
    let output = Command::new("sh").arg("-ec").arg(&command).current_dir(&empty.0).output().expect("a shell");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));

    let mut server = Command::new("sleep").arg("600").spawn().expect("a server");
    let pid = server.id().to_string();
    let result = std::panic::catch_unwind(|| keeps_every_promise(&empty.0.join("stop.so"), "stop", ("pid", &pid)));
    server.kill().expect("it was ours");
    server.wait().expect("it has ended");
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn the_manual_names_every_number_and_member_of_the_header() {
    let (manual, header) = (manual(), fs::read_to_string(header()).expect("the header"));
    // Outside of comments: the names before " = ", and what ends a declaration.
    let code = header.lines().filter(|line| !line.trim_start().starts_with(['*', '/']));
    let mut names = Vec::new();
    for line in code {
        let line = line.split("/*").next().unwrap_or_default().trim();
        if let Some((name, _)) = line.split_once(" = ") {
            names.push(name);
        } else if let Some(declared) = line.strip_suffix(';') {
            let name = declared.rsplit([' ', '\t', '*']).next().unwrap_or_default();
            names.push(name.split(['[', ')']).next().unwrap_or_default());
        }
    }
    names.retain(|name| name.starts_with("HV_VSS_") || name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    names.retain(|name| !name.is_empty());
    assert!(names.len() > 50, "the header was not understood: {names:?}");
    let words: Vec<_> = manual.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let missing: Vec<_> = names.iter().filter(|name| !words.contains(name)).collect();
    assert!(missing.is_empty(), "the manual does not name {missing:?}");
}
