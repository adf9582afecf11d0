//! What the host heard, as the `device` library learns it from either driver.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hv_vss_device::{Answer, AnswerError, Application, Device, Message, Operation, Reason, Verdict};
use hv_vss_sim::ground::{Ground, write_mount_table};
use hv_vss_sim::{Host, Kind, Served, Setup, ic, serve};

/// Long enough for a busy machine to read a request before the driver gives it up.
const LIMIT: Duration = Duration::from_millis(1_500);

struct Machine {
    // Dropped first to last: the simulator, then the ground.
    host: Host,
    _served: Served,
    dev: PathBuf,
    ground: Ground,
}

impl Machine {
    fn with(driver: Kind) -> Option<Self> {
        let ground = Ground::take()?;
        let (mounts, control) = (ground.directory().join("mounts"), ground.directory().join("control"));
        write_mount_table(&mounts, &[]);
        let dev = ground.subdirectory("dev");
        let setup = Setup {
            nodes: dev.clone(),
            control: control.clone(),
            mounts,
            driver,
            vfsfreeze: false,
            limit: LIMIT,
            ic_log: None,
        };
        let served = serve(setup).expect("the machine comes up");
        Some(Self { host: Host::of(&control), _served: served, dev, ground })
    }

    fn daemon(&self) -> Device {
        Device::open(&self.dev.join("hv_fsvss_dev")).expect("the node is free")
    }

    fn application(&self) -> Device {
        Device::open(&self.dev.join("hv_appvss_dev")).expect("the node is free")
    }
}

/// A request that the host has sent already.
fn request(device: &Device) -> Message {
    device.read().expect("the driver is there").expect("a request waits")
}

#[test]
fn the_daemon_is_told_that_an_application_refused() {
    let Some(machine) = Machine::with(Kind::Ours) else { return };
    let (daemon, app) = (machine.daemon(), machine.application());
    let before = daemon.heard().unwrap().expect("our driver tells");
    assert_eq!((before.total, before.applications, before.requests.len()), (0, 1, 0));
    let myself = Application { number: 1, pid: Some(i32::try_from(std::process::id()).unwrap()) };
    assert_eq!(before.application_processes, [myself]);

    machine.host.send(ic::HOT_BACKUP).unwrap();
    let check = request(&app);
    app.answer(&check, Verdict::Fail).unwrap();
    assert!(daemon.read().unwrap().is_none(), "the daemon is not asked");

    let after = daemon.heard().unwrap().expect("our driver tells");
    let told = after.since(before.total).next().expect("one request is over");
    assert_eq!((told.msgid, told.number, told.operation), (check.msgid, 1, Operation::Check));
    assert_eq!((told.answer, told.reason), (Answer::Fail, Reason::ApplicationRefused(myself)));
    assert_eq!(after.of(check.msgid), Some(told));
    let apps = app.heard().unwrap().expect("our driver tells");
    let nameless = Application { number: 1, pid: None };
    assert_eq!(apps.requests[0].reason, Reason::ApplicationRefused(nameless));
    assert!(apps.application_processes.is_empty());
}

#[test]
fn a_late_answer_is_told_on_both_nodes() {
    let Some(machine) = Machine::with(Kind::Ours) else { return };
    let (daemon, app) = (machine.daemon(), machine.application());
    let sent = machine.host.send(ic::HOT_BACKUP).unwrap();
    let late = request(&app);
    machine.host.answer_to(sent, 3 * LIMIT).unwrap().expect("the driver gives up");
    app.answer(&late, Verdict::Success).expect("an application's late WRITE succeeds");
    assert_eq!(app.heard().unwrap().unwrap().late, Some(late.msgid));
    assert_eq!(daemon.heard().unwrap().unwrap().late, None);

    drop(app);
    let sent = machine.host.send(ic::FREEZE).unwrap();
    let late = request(&daemon);
    machine.host.answer_to(sent, 3 * LIMIT).unwrap().expect("the driver gives up");
    assert!(matches!(daemon.answer(&late, Verdict::Success), Err(AnswerError::TooLate)));
    let heard = daemon.heard().unwrap().unwrap();
    assert_eq!(heard.late, Some(late.msgid));
    let reasons: Vec<_> = heard.requests.iter().map(|request| request.reason).collect();
    assert!(matches!(reasons[..], [Reason::ApplicationTimeout(_), Reason::DaemonTimeout]), "{reasons:?}");
}

#[test]
fn requests_beyond_the_last_sixteen_are_counted_as_missed() {
    let Some(machine) = Machine::with(Kind::Ours) else { return };
    let daemon = machine.daemon();
    for _ in 0..20 {
        machine.host.send(ic::THAW).unwrap();
        daemon.answer(&request(&daemon), Verdict::Success).unwrap();
    }
    let heard = daemon.heard().unwrap().unwrap();
    assert_eq!((heard.total, heard.requests.len(), heard.missed(0), heard.missed(4)), (20, 16, 4, 0));
    assert!(heard.requests.iter().all(|request| request.answer == Answer::Success && request.reason == Reason::Done));
}

#[test]
fn with_the_driver_in_base_it_is_not_known() {
    let Some(machine) = Machine::with(Kind::Base) else { return };
    let daemon = machine.daemon();
    machine.host.send(ic::THAW).unwrap();
    daemon.answer(&request(&daemon), Verdict::Success).unwrap();
    assert_eq!(daemon.heard().unwrap(), None);
    assert_eq!(machine.application().heard().unwrap(), None);
}

/// The complete application of hv_vss(4), which ends when a WRITE fails; but it takes `slow` for each request.
fn the_manuals_application(machine: &Machine, slow: Duration) -> Child {
    let broker = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kmod/broker");
    let manual = fs::read_to_string(broker.join("hv_vss.4")).expect("the manual is there");
    let from_here = manual.split_once("#include <sys/types.h>\n").expect("it has an example").1;
    let example = from_here.split_once("\n.Ed").expect("the example ends").0;
    let waits = format!("usleep({});\n\t\tswitch (m.opt) {{", slow.as_micros());
    let node = machine.dev.join("hv_appvss_dev");
    let source = example
        .replace("/dev/hv_appvss_dev", node.to_str().expect("a plain path"))
        .replace("<dev/hyperv/hv_snapshot.h>", "\"hv_snapshot.h\"\n#include <unistd.h>")
        .replace("switch (m.opt) {", &waits);
    let (file, program) = (machine.ground.directory().join("example.c"), machine.ground.directory().join("example"));
    fs::write(&file, format!("#include <sys/types.h>\n{source}\n")).expect("there is room");
    let mut compiler = Command::new("cc");
    compiler.arg("-D_GNU_SOURCE").arg("-I").arg(&broker).arg("-o").arg(&program).arg(&file);
    assert!(compiler.status().expect("there is a C compiler").success());
    Command::new(&program).spawn().expect("the example runs")
}

#[test]
fn the_manuals_application_survives_a_late_answer_with_either_driver() {
    for driver in [Kind::Ours, Kind::Base] {
        let Some(machine) = Machine::with(driver) else { return };
        let _daemon = machine.daemon();
        let mut example = the_manuals_application(&machine, 2 * LIMIT);
        let patience = Instant::now() + Duration::from_secs(10);
        while machine.host.state().unwrap().driver.apps_open == 0 {
            assert!(Instant::now() < patience, "the example does not open its node");
            sleep(Duration::from_millis(10));
        }
        for _ in 0..2 {
            let sent = machine.host.send(ic::HOT_BACKUP).unwrap();
            let answered = machine.host.answer_to(sent, 3 * LIMIT).unwrap().expect("the driver gives up");
            assert_eq!(answered.answer.status, ic::HV_E_FAIL);
            // By then its answer has come, and was late.
            sleep(2 * LIMIT);
            assert!(example.try_wait().unwrap().is_none(), "{driver:?}: the example has ended");
        }
        example.kill().unwrap();
        example.wait().unwrap();
    }
}
