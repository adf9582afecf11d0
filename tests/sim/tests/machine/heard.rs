//! What the host heard, as the `device` library learns it from either driver.

use std::path::PathBuf;
use std::time::Duration;

use hv_vss_device::{Answer, AnswerError, Application, Device, Message, Operation, Reason, Verdict};
use hv_vss_sim::ground::{Ground, write_mount_table};
use hv_vss_sim::{Host, Kind, Served, Setup, ic, serve};

const LIMIT: Duration = Duration::from_millis(300);

struct Machine {
    // Dropped first to last: the simulator, then the ground.
    host: Host,
    _served: Served,
    dev: PathBuf,
    _ground: Ground,
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
        Some(Self { host: Host::of(&control), _served: served, dev, _ground: ground })
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
