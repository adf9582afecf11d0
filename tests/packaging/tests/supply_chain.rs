//! `make deny`: what hv_vss is made of is as deny.toml has it, and each rule finds what breaks it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use hv_vss_packaging::source;
use hv_vss_testbed::needs;
use serde_json::{Value, json};

/// What cargo says of the packages; the same for all tests.
static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let said = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(source("."))
        .output()
        .unwrap();
    serde_json::from_slice(&said.stdout).unwrap()
});

/// The policy, the lock file and what cargo says of the packages, to be spoilt by a test.
struct Supply {
    directory: PathBuf,
    policy: String,
    lock: String,
    metadata: Value,
}

impl Supply {
    fn real(test: &str) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("supply-{test}"));
        fs::create_dir_all(&directory).unwrap();
        let read = |name| fs::read_to_string(source(name)).unwrap();
        Self { directory, policy: read("deny.toml"), lock: read("Cargo.lock"), metadata: METADATA.clone() }
    }

    fn package(&mut self, name: &str) -> &mut Value {
        let packages = self.metadata["packages"].as_array_mut().unwrap();
        packages
            .iter_mut()
            .find(|package| package["name"] == name)
            .unwrap_or_else(|| panic!("{name} is not among them"))
    }

    /// Whether all is well, and what was said.
    fn judged(&self) -> (bool, String) {
        let path = |name| self.directory.join(name);
        fs::write(path("deny.toml"), &self.policy).unwrap();
        fs::write(path("Cargo.lock"), &self.lock).unwrap();
        fs::write(path("metadata.json"), self.metadata.to_string()).unwrap();
        let mut script = Command::new(source("scripts/supply-chain"));
        let output = script.args(["deny.toml", "Cargo.lock", "metadata.json"].map(path)).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), said)
    }

    #[track_caller]
    fn is_found(&self, words: &str) {
        let (well, said) = self.judged();
        assert!(!well && said.contains(words), "\"{words}\" is not in: {said}");
    }
}

#[test]
fn what_we_are_made_of_is_as_the_policy_has_it() {
    needs!(Python);
    let (well, said) = Supply::real("well").judged();
    assert!(well && said.contains("advisories and withdrawn versions were not looked at"), "{said}");
}

#[test]
fn a_licence_that_is_not_allowed_by_its_name_is_found_and_a_choice_needs_only_one() {
    needs!(Python);
    let mut supply = Supply::real("licence");
    for (licence, well) in [
        ("GPL-3.0-only", false),
        ("MIT AND GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only/MIT", true),
        ("(GPL-3.0-only OR MIT) AND Unicode-3.0", true),
        ("(GPL-3.0-only OR MIT) AND Unicode-DFS-2016", false),
        ("MIT WITH Some-exception", false),
    ] {
        supply.package("tokio")["license"] = json!(licence);
        let (is_well, said) = supply.judged();
        assert_eq!(is_well, well, "{licence}: {said}");
        assert!(well || said.contains(&format!(": {licence}, of which deny.toml allows nothing")), "{said}");
    }
    supply.package("tokio")["license"] = Value::Null;
    supply.is_found("names no licence");
}

#[test]
fn a_second_version_is_found_unless_the_policy_says_why_and_an_excuse_that_is_not_needed_is_found_too() {
    needs!(Python);
    let mut supply = Supply::real("duplicate");
    let mut second = supply.package("tokio").clone();
    second["version"] = json!("0.9.0");
    supply.metadata["packages"].as_array_mut().unwrap().push(second);
    supply.is_found("tokio is there in 2 versions: 0.9.0, ");
    let excuse = |reason: &str| format!("\n[[bans.skip]]\ncrate = \"tokio@0.9\"\nreason = \"{reason}\"\n");
    let policy = supply.policy.clone();
    supply.policy = policy.clone() + &excuse("a test");
    let (well, said) = supply.judged();
    assert!(well, "{said}");
    supply.policy = policy.clone() + &excuse("");
    supply.is_found("without a reason");
    supply = Supply { policy: policy + &excuse("a test"), ..Supply::real("duplicate") };
    supply.is_found("deny.toml skips tokio@0.9, which is no duplicate any more");
}

#[test]
fn a_crate_from_elsewhere_without_a_version_or_without_a_checksum_is_found() {
    needs!(Python);
    let mut supply = Supply::real("source");
    supply.package("tokio")["source"] = json!("git+https://example.org/tokio#0123");
    supply.is_found("comes from git+https://example.org/tokio#0123, which deny.toml does not allow");
    supply.package("tokio")["source"] = Value::Null;
    supply.is_found("comes from a path outside of this workspace");
    let mut supply = Supply::real("source");
    let ours = supply.package("hv-vss-daemon")["dependencies"].as_array_mut().unwrap();
    ours.iter_mut().find(|dependency| dependency["name"] == "tokio").unwrap()["req"] = json!("*");
    supply.is_found("hv-vss-daemon takes any version of tokio");
    let mut supply = Supply::real("source");
    let line = supply.lock.lines().find(|line| line.starts_with("checksum = ")).unwrap().to_owned();
    supply.lock = supply.lock.replacen(&line, "", 1);
    supply.is_found("has no checksum in Cargo.lock");
}
