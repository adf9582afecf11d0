//! The C header and its Rust mirror say the same, the header is clean C11 and C++17, and what version 1 promised has not moved.

use std::fmt::Write;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use hv_vss_plugin::abi;
use hv_vss_testbed::needs;

/// Lists the sizes and offsets of structs as Rust has them, and writes the C program that prints the same.
macro_rules! layouts {
    ($($c:literal $rust:ty { $($member:ident)* })*) => {{
        let (mut rust, mut program) = (String::new(), String::from("#include <stdio.h>\n#include \"hv_vss_plugin.h\"\nint main(void) {\n"));
        $(
            writeln!(rust, "{} {}", $c, size_of::<$rust>()).unwrap();
            writeln!(program, "printf(\"{0} %zu\\n\", sizeof(struct {0}));", $c).unwrap();
            $(
                writeln!(rust, "{}.{} {}", $c, stringify!($member), offset_of!($rust, $member)).unwrap();
                writeln!(program, "printf(\"{0}.{1} %zu\\n\", offsetof(struct {0}, {1}));", $c, stringify!($member)).unwrap();
            )*
        )*
        program.push_str("return 0;\n}\n");
        (rust, program)
    }};
}

fn structs() -> (String, String) {
    layouts! {
        "hv_vss_mount" abi::Mount { size flags fsid fstype on from backing swap }
        "hv_vss_host" abi::Host { size abi log substep time_left_ms cancelled lost started }
        "hv_vss_setting" abi::Setting { size reserved key value }
        "hv_vss_opening" abi::Opening { size setting_count settings json host }
        "hv_vss_step" abi::Step {
            size outcome role mount_count cycle host mounts deadline_ns time_left_ms expiry_ns owed owed_count reserved
            only rehearsal reserved2
        }
        "hv_vss_plugin" abi::Plugin {
            size abi roles flags number reserved name version description open check claim freeze thaw close
            ended
        }
    }
}

/// Version 1, as it was published, on a machine with 64-bit pointers. These lines never change; a later version adds its own.
const VERSION_1: &str = "\
hv_vss_mount.size 0
hv_vss_mount.flags 4
hv_vss_mount.fsid 8
hv_vss_mount.fstype 16
hv_vss_mount.on 24
hv_vss_mount.from 32
hv_vss_mount.backing 40
hv_vss_mount.swap 48
hv_vss_host.size 0
hv_vss_host.abi 4
hv_vss_host.log 8
hv_vss_host.substep 16
hv_vss_host.time_left_ms 24
hv_vss_host.cancelled 32
hv_vss_host.lost 40
hv_vss_setting.size 0
hv_vss_setting.reserved 4
hv_vss_setting.key 8
hv_vss_setting.value 16
hv_vss_opening.size 0
hv_vss_opening.setting_count 4
hv_vss_opening.settings 8
hv_vss_opening.json 16
hv_vss_opening.host 24
hv_vss_step.size 0
hv_vss_step.outcome 4
hv_vss_step.role 8
hv_vss_step.mount_count 12
hv_vss_step.cycle 16
hv_vss_step.host 24
hv_vss_step.mounts 32
hv_vss_step.deadline_ns 40
hv_vss_step.time_left_ms 48
hv_vss_step.expiry_ns 56
hv_vss_step.owed 64
hv_vss_step.owed_count 72
hv_vss_step.reserved 76
hv_vss_plugin.size 0
hv_vss_plugin.abi 4
hv_vss_plugin.roles 8
hv_vss_plugin.flags 12
hv_vss_plugin.number 16
hv_vss_plugin.reserved 20
hv_vss_plugin.name 24
hv_vss_plugin.version 32
hv_vss_plugin.description 40
hv_vss_plugin.open 48
hv_vss_plugin.check 56
hv_vss_plugin.claim 64
hv_vss_plugin.freeze 72
hv_vss_plugin.thaw 80
hv_vss_plugin.close 88
";

/// What was appended since, under the same promise.
const APPENDED: &str = "\
hv_vss_host.started 48
hv_vss_step.only 80
hv_vss_step.rehearsal 88
hv_vss_step.reserved2 92
hv_vss_plugin.ended 96
";

fn include() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

#[track_caller]
fn compile(compiler: &str, options: &[&str], source: &str, name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (file, program) = (directory.join(format!("{name}.source")), directory.join(name));
    std::fs::write(&file, source).expect("the scratch directory can be written");
    let output = Command::new(compiler)
        .args(options)
        .arg("-I")
        .arg(include())
        .arg(&file)
        .args(["-x", "none", "-o"])
        .arg(&program)
        .output()
        .unwrap_or_else(|error| panic!("this test needs a compiler called {compiler}: {error}"));
    assert!(output.status.success(), "{compiler} {options:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    program
}

const STRICT: [&str; 6] = ["-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wstrict-aliasing", "-Werror"];

#[test]
fn the_rust_mirror_has_the_layout_that_a_c_compiler_gives_the_header() {
    let (rust, source) = structs();
    let program = compile("cc", &[&["-std=c11", "-x", "c"][..], &STRICT].concat(), &source, "layout-c");
    let output = Command::new(program).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), rust);
}

#[test]
fn cxx17_takes_the_header_and_gives_it_the_same_layout() {
    needs!(Cxx);
    let (rust, source) = structs();
    let program = compile("c++", &[&["-std=c++17", "-x", "c++"][..], &STRICT].concat(), &source, "layout-cxx");
    let output = Command::new(program).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), rust);
}

#[test]
fn every_number_of_the_header_is_the_mirrors() {
    let numbers: [(&str, i64); 28] = [
        ("HV_VSS_PLUGIN_ABI", abi::PLUGIN_ABI.into()),
        ("HV_VSS_DONE", abi::DONE.into()),
        ("HV_VSS_REFUSED", abi::REFUSED.into()),
        ("HV_VSS_BROKEN", abi::BROKEN.into()),
        ("HV_VSS_CLAIM_FREEZE", abi::CLAIM_FREEZE.into()),
        ("HV_VSS_CLAIM_IGNORE", abi::CLAIM_IGNORE.into()),
        ("HV_VSS_CLAIM_VETO", abi::CLAIM_VETO.into()),
        ("HV_VSS_CLAIM_NOT_MINE", abi::CLAIM_NOT_MINE.into()),
        ("HV_VSS_ROLE_FILESYSTEM", abi::ROLE_FILESYSTEM.into()),
        ("HV_VSS_ROLE_APPLICATION", abi::ROLE_APPLICATION.into()),
        ("HV_VSS_ROLE_OBSERVER", abi::ROLE_OBSERVER.into()),
        ("HV_VSS_HOLDS_SURVIVE_EXIT", abi::HOLDS_SURVIVE_EXIT.into()),
        ("HV_VSS_OUTCOME_OK", abi::OUTCOME_OK.into()),
        ("HV_VSS_OUTCOME_ABORTED", abi::OUTCOME_ABORTED.into()),
        ("HV_VSS_OUTCOME_EXPIRED", abi::OUTCOME_EXPIRED.into()),
        ("HV_VSS_OUTCOME_RECOVERED", abi::OUTCOME_RECOVERED.into()),
        ("HV_VSS_OUTCOME_RESTORED", abi::OUTCOME_RESTORED.into()),
        ("HV_VSS_LOG_DEBUG", abi::LOG_DEBUG.into()),
        ("HV_VSS_LOG_INFO", abi::LOG_INFO.into()),
        ("HV_VSS_LOG_WARN", abi::LOG_WARN.into()),
        ("HV_VSS_LOG_ERROR", abi::LOG_ERROR.into()),
        ("HV_VSS_PHASE_FREEZE", abi::PHASE_FREEZE.into()),
        ("HV_VSS_PHASE_THAW", abi::PHASE_THAW.into()),
        ("HV_VSS_SUBSTEP_PLANNED", abi::SUBSTEP_PLANNED.into()),
        ("HV_VSS_SUBSTEP_STARTED", abi::SUBSTEP_STARTED.into()),
        ("HV_VSS_SUBSTEP_ENDED", abi::SUBSTEP_ENDED.into()),
        ("HV_VSS_MOUNT_READ_ONLY", abi::MOUNT_READ_ONLY.into()),
        ("HV_VSS_HAS(struct hv_vss_step, &step, owed)", 1),
    ];
    let mut source = String::from("#include <stdio.h>\n#include \"hv_vss_plugin.h\"\nint main(void) {\n");
    source.push_str("struct hv_vss_step step = { .size = sizeof(step) };\n(void)step;\n");
    let mut rust = String::new();
    for (name, number) in numbers {
        writeln!(source, "printf(\"%ld\\n\", (long)({name}));").unwrap();
        writeln!(rust, "{number}").unwrap();
    }
    source.push_str("return 0;\n}\n");
    let program = compile("cc", &["-std=c11", "-Wall", "-Wextra", "-Werror", "-x", "c"], &source, "numbers");
    let output = Command::new(program).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), rust);

    // And none was forgotten: each number the header defines is in the list above.
    let header = std::fs::read_to_string(include().join("hv_vss_plugin.h")).unwrap();
    let defined = header.lines().map(str::trim_start).filter_map(|line| {
        let name = line.split([' ', '\t', ',']).next()?;
        (name.starts_with("HV_VSS_") && line[name.len()..].starts_with(" = ")).then_some(name)
    });
    for name in defined {
        assert!(numbers.iter().any(|(known, _)| *known == name), "{name} has no mirror");
    }
}

#[test]
#[cfg(target_pointer_width = "64")]
fn nothing_that_version_1_promised_has_moved() {
    let (rust, _) = structs();
    let now: Vec<_> = rust.lines().collect();
    for promised in VERSION_1.lines().chain(APPENDED.lines()) {
        assert!(now.contains(&promised), "version 1 promised {promised}");
    }
}
