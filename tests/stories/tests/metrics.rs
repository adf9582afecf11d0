//! What the daemon counts, read by a parser that is not ours: prometheus_client's for OpenMetrics.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Signal, Stage, line, our_driver};
use hv_vss_testbed::needs;

/// Prints each sample as `name{labels} value`, or fails at what is no OpenMetrics.
const PARSE: &str = r#"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
        print(f"{sample.name}{{{labels}}} {sample.value:g}")
"#;

/// The system's own interpreter: that is the one whose packages Debian's are for.
const PYTHON: &str = "/usr/bin/python3";

/// The samples of this text; `None` where the test is skipped.
fn samples(text: &str) -> Option<Vec<String>> {
    needs!(Prometheus);
    let mut parser = Command::new(PYTHON);
    let mut parser =
        parser.args(["-c", PARSE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was there just now");
    parser.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = parser.wait_with_output().expect("it ends");
    assert!(output.status.success(), "this is no OpenMetrics:\n{text}");
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn printed_by_vssctl(guest: &Guest) -> String {
    let vssctl = guest.stage().daemon_program().with_file_name("vssctl");
    let output =
        Command::new(vssctl).arg("--config").arg(guest.stage().home().join("hv_vss.toml")).arg("metrics").output();
    String::from_utf8_lossy(&output.expect("vssctl is built with the daemon").stdout).into_owned()
}

#[track_caller]
fn counts(samples: &[String], expected: &[&str]) {
    for sample in expected {
        assert!(samples.iter().any(|have| have == sample), "{sample} is not among {samples:#?}");
    }
}

our_driver! {
    fn what_is_counted_is_openmetrics_and_true(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        let Some(samples) = samples(&printed_by_vssctl(&guest)) else { return };
        counts(&samples, &[
            "hv_vss_checks_total{result=ok} 1",
            "hv_vss_checks_total{result=failed} 0",
            "hv_vss_backups_total{result=ok} 1",
            "hv_vss_freeze_seconds_count{} 1",
            "hv_vss_frozen_seconds_bucket{le=+Inf} 1",
            "hv_vss_idle{} 1",
            "hv_vss_trouble{} 0",
        ]);
    }

    fn vetoes_are_counted_by_type_and_failed_scripts_too(stage: Stage) {
        let guest = stage.disk("data").mounted(line("zfs", "/tank")).hook("50-app", "").start();
        guest.host_may_not(Check);
        guest.host_may_not(Freeze);
        let Some(samples) = samples(&printed_by_vssctl(&guest)) else { return };
        counts(&samples, &["hv_vss_vetoes_total{type=zfs} 2", "hv_vss_backups_total{result=refused} 1", "hv_vss_trouble{} 1"]);
    }

    fn a_plugin_that_had_to_be_started_again_is_counted(stage: Stage) {
        let guest = stage.disk("data").start();
        let dead = guest.worker_gets("ufs.so", Signal::SIGKILL);
        guest.process_is_gone(dead);
        guest.comes_to_allow_backups();
        let Some(samples) = samples(&printed_by_vssctl(&guest)) else { return };
        counts(&samples, &["hv_vss_plugin_restarts_total{} 1"]);
    }

    fn after_each_cycle_a_text_file_says_the_same_to_a_collector(stage: Stage) {
        let file = stage.scratch("hv_vss.prom");
        let guest = stage.disk("data").configured(&format!("[metrics]\ntextfile = \"{}\"", file.display())).start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        let deadline = Instant::now() + Duration::from_secs(10);
        let text = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text.contains("hv_vss_backups_total{result=\"ok\"} 1") {
                break text;
            }
            assert!(Instant::now() < deadline, "the file says {text:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        let Some(samples) = samples(&text) else { return };
        counts(&samples, &["hv_vss_backups_total{result=ok} 1", "hv_vss_rehearsals_total{} 0"]);
    }
}
