//! The simulated nodes, as a process of the guest sees them: through real open, poll and ioctl calls.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::{self, Process};
use hv_vss_sim::ground::{Disk, Ground, write_mount_table};
use hv_vss_sim::{Event, Fault, Host, Kind, Moment, Served, Setup, Switches, ic, serve};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const LIMIT: Duration = Duration::from_millis(300);
const SHORT: Duration = Duration::from_millis(100);

/// A machine with two disks, `a` and `b`.
pub(crate) struct Machine {
    // Dropped first to last: the simulator, then the ground.
    pub(crate) host: Host,
    _served: Served,
    pub(crate) dev: PathBuf,
    pub(crate) a: Disk,
    pub(crate) b: Disk,
    ground: Ground,
}

impl Machine {
    pub(crate) fn with(driver: Kind) -> Option<Self> {
        let mut ground = Ground::take()?;
        let disk = |ground: &mut Ground, name: &str| {
            let (image, on) = (ground.directory().join(name).with_extension("img"), ground.directory().join(name));
            ground.disk(name, &image, &on)
        };
        let (a, b) = (disk(&mut ground, "a"), disk(&mut ground, "b"));
        let mut zfs = b.as_ufs();
        zfs.fstype = "zfs".into();
        zfs.fsid = hv_vss_platform::mounts::FsId([9; 8]);
        let mounts = ground.directory().join("mounts");
        write_mount_table(&mounts, &[a.as_ufs(), b.as_ufs(), zfs]);
        let (dev, control) = (ground.subdirectory("dev"), ground.directory().join("control"));
        let setup = Setup {
            nodes: dev.clone(),
            control: control.clone(),
            mounts,
            driver,
            vfsfreeze: true,
            limit: LIMIT,
            ic_log: None,
        };
        let served = serve(setup).expect("the machine comes up");
        Some(Self { host: Host::of(&control), _served: served, dev, a, b, ground })
    }

    pub(crate) fn process(&self) -> Process {
        Process::start(&self.dev)
    }

    pub(crate) fn is_frozen(&self, disk: &Disk) -> bool {
        process::is_frozen(&disk.on)
    }

    /// One more filesystem: its image lies on `a`, and so does the directory it is mounted on.
    fn image_on_a(&mut self) -> Disk {
        let image = self.ground.disk("image", &self.a.on.join("image.img"), &self.a.on.join("image"));
        let table = [self.a.as_ufs(), self.b.as_ufs(), image.as_ufs()];
        write_mount_table(&self.ground.directory().join("mounts"), &table);
        image
    }

    #[track_caller]
    pub(crate) fn becomes_writable(&self, disk: &Disk) {
        let start = Instant::now();
        while self.is_frozen(disk) {
            assert!(start.elapsed() < Duration::from_secs(2), "{} stayed frozen", disk.name);
            sleep(Duration::from_millis(5));
        }
    }
}

macro_rules! machine {
    ($driver:expr) => {
        match Machine::with($driver) {
            Some(machine) => machine,
            None => return,
        }
    };
}

#[test]
fn a_request_wakes_the_poller_and_its_answer_reaches_the_host() {
    for driver in [Kind::Base, Kind::Ours] {
        let machine = machine!(driver);
        let mut daemon = machine.process();
        daemon.says("open hv_fsvss_dev rw", "fd 3");
        daemon.says("poll 3 0", "nothing");
        daemon.tell("poll 3 2000");
        // Long enough for it to be asleep in poll(2).
        sleep(SHORT);
        let sent = machine.host.send(ic::HOT_BACKUP).unwrap();
        assert_eq!(daemon.hear(), "in");
        let message = daemon.ask("read 3");
        let (opt, msgid) = process::request(&message);
        assert_eq!(opt, 1, "{message}");
        sleep(Duration::from_millis(3));
        daemon.says(&format!("write 3 1 0 {msgid}"), "ok");
        let answered = machine.host.answer_to(sent, SHORT).unwrap().expect("an answer");
        assert_eq!((answered.answer.status, answered.answer.vss_flags), (ic::HV_S_OK, Some(5)));
    }
}

#[test]
fn the_nodes_are_opened_by_one_at_a_time_and_free_again_after_a_kill() {
    for driver in [Kind::Base, Kind::Ours] {
        let machine = machine!(driver);
        let (mut first, mut second) = (machine.process(), machine.process());
        first.says("open hv_fsvss_dev rw", "fd 3");
        second.says("open hv_fsvss_dev rw", "errno EBUSY");
        first.kill();
        second.says("open hv_fsvss_dev rw", "fd 3");
    }
}

#[test]
fn a_descriptor_that_a_child_has_inherited_keeps_a_dead_opener_registered() {
    for driver in [Kind::Base, Kind::Ours] {
        let machine = machine!(driver);
        let (mut first, mut second) = (machine.process(), machine.process());
        first.says("open hv_fsvss_dev rw", "fd 3");
        let said = first.ask("lend 3");
        let heir = said.strip_prefix("pid ").and_then(|pid| pid.parse().ok()).expect("the child's pid");
        first.kill();
        second.says("open hv_fsvss_dev rw", "errno EBUSY");
        assert!(machine.host.state().unwrap().driver.daemon_open);
        kill(Pid::from_raw(heir), Signal::SIGKILL).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while machine.host.state().unwrap().driver.daemon_open {
            assert!(Instant::now() < deadline, "it is still registered");
            sleep(Duration::from_millis(2));
        }
        second.says("open hv_fsvss_dev rw", "fd 3");
    }
}

#[test]
fn the_drivers_differ_where_the_daemon_looks() {
    let machine = machine!(Kind::Base);
    let mut daemon = machine.process();
    daemon.says("open hv_fsvss_dev rw", "fd 3");
    daemon.says("unknown 3", "ok");
    daemon.says("read 3", "message 0 1 0");
    daemon.says("write 3 1 0 12345", "ok");
    drop(machine);

    let machine = machine!(Kind::Ours);
    let mut daemon = machine.process();
    daemon.says("open hv_fsvss_dev rw", "fd 3");
    daemon.says("unknown 3", "errno ENOTTY");
    daemon.says("write 3 1 0 12345", "errno ENOENT");
}

#[test]
fn a_late_answer_is_told_apart_by_our_driver_only() {
    for (driver, said) in [(Kind::Base, "ok"), (Kind::Ours, "errno ETIMEDOUT")] {
        let machine = machine!(driver);
        let mut daemon = machine.process();
        daemon.says("open hv_fsvss_dev rw", "fd 3");
        let sent = machine.host.send(ic::FREEZE).unwrap();
        let (_, msgid) = process::request(&daemon.ask("read 3"));
        let answered = machine.host.answer_to(sent, 3 * LIMIT).unwrap().expect("the driver gives up");
        assert_eq!(answered.answer.status, ic::HV_E_FAIL);
        assert!(answered.took >= LIMIT, "after {:?}", answered.took);
        daemon.says(&format!("write 3 2 0 {msgid}"), said);
    }
}

#[test]
fn the_kernels_clock_can_be_ahead_of_the_guests() {
    let machine = machine!(Kind::Base);
    let mut daemon = machine.process();
    daemon.says("open hv_fsvss_dev rw", "fd 3");
    machine.host.set(Switches { clock_shift_ms: Some(3_600_000), ..Switches::default() }).unwrap();
    machine.host.send(ic::HOT_BACKUP).unwrap();
    let (_, msgid) = process::request(&daemon.ask("read 3"));
    let ahead = Duration::from_nanos(msgid - hv_vss_platform::clock::wall_clock_ns());
    assert!(ahead > Duration::from_secs(3590) && ahead < Duration::from_secs(3601), "{ahead:?}");
}

#[test]
fn a_node_that_goes_away_hangs_up_on_its_opener() {
    let machine = machine!(Kind::Ours);
    let mut daemon = machine.process();
    daemon.says("open hv_fsvss_dev rw", "fd 3");
    daemon.tell("poll 3 2000");
    sleep(SHORT);
    machine.host.set(Switches { present: Some(false), ..Switches::default() }).unwrap();
    assert_eq!(daemon.hear(), "in hup");
    daemon.says("read 3", "errno ENXIO");
    assert!(!machine.dev.join("hv_fsvss_dev").exists());

    machine.host.set(Switches { present: Some(true), ..Switches::default() }).unwrap();
    machine.process().says("open hv_fsvss_dev rw", "fd 3");
    daemon.says("read 3", "errno ENXIO");
}

#[test]
fn the_in_base_driver_kills_its_openers_when_it_is_detached() {
    let machine = machine!(Kind::Base);
    let mut daemon = machine.process();
    daemon.says("open hv_fsvss_dev rw", "fd 3");
    machine.host.set(Switches { present: Some(false), ..Switches::default() }).unwrap();
    daemon.was_killed();
}

#[test]
fn one_descriptor_holds_one_filesystem() {
    let machine = machine!(Kind::Ours);
    let (a, b) = (machine.a.clone(), machine.b.clone());
    let mut holder = machine.process();
    holder.says("open ufssuspend rw", "fd 3");
    holder.says("open ufssuspend rw", "fd 4");
    holder.says(&format!("suspend 3 {}", a.fsid), "ok");
    holder.says(&format!("suspend 3 {}", b.fsid), "errno EBUSY");
    holder.says(&format!("suspend 4 {}", a.fsid), "errno EBUSY");
    assert!(machine.is_frozen(&a));
    assert!(!machine.is_frozen(&b), "the second was let go");
    holder.says(&format!("suspend 4 {}", b.fsid), "ok");
    holder.says("resume 3", "ok");
    holder.says("resume 3", "errno ENOENT");
    assert!(!machine.is_frozen(&a));
    assert!(machine.is_frozen(&b));
    holder.says("close 4", "ok");
    machine.becomes_writable(&b);
}

#[test]
fn a_killed_holder_lets_go_of_a_really_frozen_filesystem() {
    let machine = machine!(Kind::Ours);
    let a = machine.a.clone();
    let mut holder = machine.process();
    holder.says("open ufssuspend rw", "fd 3");
    holder.says(&format!("suspend 3 {}", a.fsid), "ok");
    assert!(machine.is_frozen(&a));
    holder.kill();
    machine.becomes_writable(&a);
    let wire = machine.host.log().unwrap();
    let thaws = wire.iter().filter(|entry| matches!(entry.event, Event::Thawed { .. })).count();
    assert_eq!(thaws, 1);
}

#[test]
fn the_resume_of_an_image_does_not_wait_for_the_filesystem_below() {
    let mut machine = machine!(Kind::Ours);
    let (a, image) = (machine.a.clone(), machine.image_on_a());
    let mut holder = machine.process();
    for (fd, disk) in [(3, &image), (4, &a)] {
        holder.says("open ufssuspend rw", &format!("fd {fd}"));
        holder.says(&format!("suspend {fd} {}", disk.fsid), "ok");
    }
    holder.says("resume 3", "ok");
    holder.says("resume 4", "ok");
    assert!(!machine.is_frozen(&image), "the last resume is answered when both are writable");
    assert!(!machine.is_frozen(&a));
    // And a new suspension of either is none of the thaw before it.
    holder.says(&format!("suspend 3 {}", image.fsid), "ok");
    assert!(machine.is_frozen(&image));
    holder.says("resume 3", "ok");
}

#[test]
fn while_the_umount_of_a_held_filesystem_waits_only_inner_first_ends() {
    let mut machine = machine!(Kind::Ours);
    let (a, image) = (machine.a.clone(), machine.image_on_a());
    let mut holder = machine.process();
    let hold_both = |machine: &Machine, holder: &mut Process, fds: [u32; 2]| {
        for (fd, disk) in fds.into_iter().zip([&image, &a]) {
            holder.says("open ufssuspend rw", &format!("fd {fd}"));
            holder.says(&format!("suspend {fd} {}", disk.fsid), "ok");
        }
        machine.host.unmount(image.fsid).unwrap();
    };
    hold_both(&machine, &mut holder, [3, 4]);
    holder.says("resume 3", "ok");
    holder.says("resume 4", "ok");
    hold_both(&machine, &mut holder, [5, 6]);
    holder.tell("resume 6");
    let hangs = || machine.host.state().unwrap().hanging == Some((a.fsid, Moment::Resume));
    let start = Instant::now();
    while !hangs() && start.elapsed() < Duration::from_secs(2) {
        sleep(Duration::from_millis(5));
    }
    // Whatever happens to the caller: nothing is resumed any more.
    let _ = kill(Pid::from_raw(i32::try_from(holder.pid()).unwrap()), Signal::SIGKILL);
    sleep(SHORT);
    let (hung, held) = (hangs(), machine.host.state().unwrap().suspended.len());
    // The holder can be waited for only when the machine is gone.
    drop(machine);
    assert_eq!((hung, held), (true, 2));
}

#[test]
fn a_threaded_caller_or_one_with_a_disk_file_open_would_deadlock() {
    let machine = machine!(Kind::Ours);
    let (a, b) = (machine.a.clone(), machine.b.clone());
    let suspend = format!("suspend 3 {}", a.fsid);
    let on_a = a.on.join("log");
    let on_b = b.on.join("log");
    let in_memory = machine.ground.directory().join("log");

    let mut holder = machine.process();
    holder.says("open ufssuspend rw", "fd 3");
    let on_that = "open for writing on that filesystem";
    for (path, access, why) in [(&on_a, "w", on_that), (&on_b, "w", "is a disk file"), (&b.on, "r", "is a disk file")] {
        holder.says(&format!("open {} {access}", path.display()), "fd 4");
        holder.says(&suspend, "errno EDEADLK");
        holder.says("close 4", "ok");
        let refusal = machine.host.state().unwrap().refusals.pop().expect("it is on record");
        assert!(refusal.contains(why), "{refusal}");
    }
    holder.says(&format!("open {} w", in_memory.display()), "fd 4");
    holder.says(&suspend, "ok");
    holder.says("resume 3", "ok");
    holder.says("thread", "ok");
    holder.says(&suspend, "errno EDEADLK");
}

#[test]
fn each_rule_of_the_suspend_device_has_its_errno() {
    let machine = machine!(Kind::Ours);
    let a = machine.a.clone();
    let mut holder = machine.process();
    holder.says("open ufssuspend rw", "fd 3");
    holder.says("suspend 3 ffffffffffffffff", "errno ENOENT");
    holder.says("suspend 3 0909090909090909", "errno EINVAL");
    holder.says("unknown 3", "errno ENXIO");
    machine.host.set(Switches { jail: Some(true), ..Switches::default() }).unwrap();
    holder.says(&format!("suspend 3 {}", a.fsid), "errno EPERM");
}

#[test]
fn while_one_suspend_hangs_every_other_and_every_resume_waits() {
    let machine = machine!(Kind::Ours);
    let (a, b) = (machine.a.clone(), machine.b.clone());
    let mut holder = machine.process();
    holder.says("open ufssuspend rw", "fd 3");
    holder.says(&format!("suspend 3 {}", a.fsid), "ok");
    machine.host.fault(b.fsid, Moment::Suspend, Some(Fault::Hang)).unwrap();
    let mut stuck = machine.process();
    stuck.says("open ufssuspend rw", "fd 3");
    stuck.tell(&format!("suspend 3 {}", b.fsid));
    sleep(SHORT);
    holder.tell("resume 3");
    sleep(SHORT);
    assert!(machine.is_frozen(&a), "the resume waits for the lock that the stuck suspend holds");
    machine.host.fault(b.fsid, Moment::Suspend, None).unwrap();
    assert_eq!(holder.hear(), "ok");
    assert_eq!(stuck.hear(), "ok");
    assert!(!machine.is_frozen(&a));
    assert!(machine.is_frozen(&b));
}

#[test]
fn the_end_of_the_machine_leaves_nothing_frozen() {
    let machine = machine!(Kind::Ours);
    let a = machine.a.clone();
    let mut holder = machine.process();
    holder.says("open ufssuspend rw", "fd 3");
    holder.says(&format!("suspend 3 {}", a.fsid), "ok");
    let Machine { _served, ground, .. } = machine;
    drop(_served);
    assert!(!process::is_frozen(&a.on));
    drop(holder);
    drop(ground);
    assert!(fs::symlink_metadata(&a.image).is_err(), "and nothing is left of the ground");
}
