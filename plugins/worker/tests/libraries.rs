//! What a plugin brings along is judged as the plugin itself is, before any of it has run: the directories it has the linker look in, the
//! libraries that lie there, and theirs.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod stage;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use hv_vss_testbed::needs;
use stage::*;

const NOBODY: u32 = 65534;

/// A directory for libraries, removed again.
struct Libraries(PathBuf);

impl Libraries {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A library that leaves a mark as soon as it is loaded.
    fn library(&self, name: &str, link: &[String]) -> PathBuf {
        let source = self.0.join("library.c");
        let mark = self.mark();
        let text = format!(
            "#include <fcntl.h>\n__attribute__((constructor)) static void runs(void) {{ (void)open(\"{}\", O_CREAT | O_WRONLY, 0600); }}\n\
             int brought(void) {{ return 0; }}\n",
            mark.display()
        );
        fs::write(&source, text).unwrap();
        let library = self.0.join(name);
        compile(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).args(link));
        library
    }

    fn mark(&self) -> PathBuf {
        self.0.join("it-ran")
    }

    /// Whether the library was loaded since this was asked last.
    fn ran(&self) -> bool {
        fs::remove_file(self.mark()).is_ok()
    }

    fn mode(&self, bits: u32) {
        fs::set_permissions(&self.0, Permissions::from_mode(bits)).unwrap();
    }
}

impl Drop for Libraries {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn compile(command: &mut Command) {
    assert!(command.status().expect("a C compiler, as cc").success(), "{command:?}");
}

/// The test plugin, linked with `libbrought.so` from there, which is looked for along `search`.
#[track_caller]
fn plugin(from: &Libraries, search: &str) -> PathBuf {
    linked(&[
        format!("-L{}", from.0.display()),
        "-Wl,--no-as-needed".into(),
        "-lbrought".into(),
        format!("-Wl,-rpath,{search}"),
    ])
}

#[track_caller]
fn linked(options: &[String]) -> PathBuf {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    plugin_with(&options)
}

#[track_caller]
fn is_refused(plugin: &Path, words: &[&str]) {
    let why = Stage::around(plugin, &[]).unfit();
    for word in words.iter().copied().chain([plugin.to_str().unwrap()]) {
        assert!(why.contains(word), "\"{word}\" is not in: {why}");
    }
}

#[track_caller]
fn is_loaded(plugin: &Path) {
    assert_eq!(Stage::around(plugin, &[]).open(&[]), done());
}

#[test]
fn a_library_is_loaded_only_while_nobody_else_could_have_put_it_there_and_else_none_of_it_runs() {
    needs!(Root);
    let libraries = Libraries::new("writable");
    let library = libraries.library("libbrought.so", &[]);
    for tags in ["-Wl,--enable-new-dtags", "-Wl,--disable-new-dtags"] {
        let directory = libraries.0.display().to_string();
        let plugin = linked(&[
            tags.to_owned(),
            format!("-L{directory}"),
            "-Wl,--no-as-needed".into(),
            "-lbrought".into(),
            format!("-Wl,-rpath,{directory}"),
        ]);
        libraries.mode(0o777);
        is_refused(&plugin, &[&directory, "written to by", "chmod go-w"]);
        assert!(!libraries.ran(), "{tags}: it was loaded all the same");
        libraries.mode(0o755);
        chown(&library, Some(NOBODY), Some(NOBODY)).unwrap();
        is_refused(&plugin, &["libbrought.so", "belongs to uid 65534", "chown root"]);
        assert!(!libraries.ran(), "{tags}: it was loaded all the same");
        // The counter-proof: it would have run.
        chown(&library, Some(0), Some(0)).unwrap();
        is_loaded(&plugin);
        assert!(libraries.ran(), "{tags}: it was not loaded at all");
    }
}

#[test]
fn a_librarys_own_search_path_is_judged_too() {
    needs!(Root);
    let (far, near) = (Libraries::new("far"), Libraries::new("near"));
    far.library("libfar.so", &[]);
    let far_directory = far.0.display().to_string();
    near.library(
        "libbrought.so",
        &[
            format!("-L{far_directory}"),
            "-Wl,--no-as-needed".into(),
            "-lfar".into(),
            format!("-Wl,-rpath,{far_directory}"),
        ],
    );
    let plugin = plugin(&near, &near.0.display().to_string());
    far.mode(0o777);
    is_refused(&plugin, &["libbrought.so", &far_directory, "chmod go-w"]);
    assert!(!near.ran() && !far.ran());
    far.mode(0o755);
    is_loaded(&plugin);
    assert!(near.ran() && far.ran());
}

#[test]
fn a_search_path_that_is_not_there_must_be_one_that_only_root_could_make() {
    needs!(Root);
    let libraries = Libraries::new("not-there");
    libraries.library("libbrought.so", &[]);
    let whole = libraries.0.display().to_string();
    is_refused(&plugin(&libraries, &format!("/tmp/hv_vss-nobody-made-this/lib:{whole}")), &["/tmp", "written to by"]);
    is_loaded(&plugin(&libraries, &format!("/usr/lib/hv_vss-nobody-made-this:{whole}")));
}

#[test]
fn what_depends_on_where_a_process_happens_to_be_is_refused_and_origin_is_understood() {
    needs!(Root);
    let libraries = Libraries::new("kinds");
    let library = libraries.library("libbrought.so", &[]);
    let whole = libraries.0.display().to_string();
    for relative in [format!("lib:{whole}"), format!(":{whole}"), format!("./lib:{whole}")] {
        is_refused(&plugin(&libraries, &relative), &["relative to whatever directory"]);
    }
    is_refused(&plugin(&libraries, &format!("/usr/$LIB:{whole}")), &["only $ORIGIN is understood"]);
    let inside = format!("$ORIGIN/{}", libraries.0.file_name().unwrap().display());
    is_loaded(&plugin(&libraries, &inside));
    // Without a name of its own a library is needed by the path it was linked by.
    let by_path = linked(&["-Wl,--no-as-needed".into(), library.display().to_string()]);
    is_loaded(&by_path);
    chown(&library, Some(NOBODY), Some(NOBODY)).unwrap();
    is_refused(&plugin(&libraries, &inside), &["belongs to uid 65534"]);
    is_refused(&by_path, &["belongs to uid 65534"]);
}
