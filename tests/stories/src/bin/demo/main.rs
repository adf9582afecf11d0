//! `make demo`: one whole backup of a guest, shown step by step and judged from outside; then a veto and the way out of it.
//!
//! What is real: the daemon, its plugins and hooks, the device nodes it opens, the filesystems that stand still, the images that are copied.
//! What is simulated: the Hyper-V host, and FreeBSD's suspend device in front of Linux filesystems.

mod images;
mod timeline;
mod veto;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hv_vss_stories::{Guest, Kind, Monotonic, Operation, Stage};
use timeline::Timeline;

/// Long enough to see that nobody writes.
const WHILE: Duration = Duration::from_millis(400);

fn main() -> ExitCode {
    if let Some(reason) = hv_vss_stories::missing() {
        println!("demo: failed: it {reason}");
        return ExitCode::FAILURE;
    }
    let start = Instant::now();
    // A claim that doesn't hold panics with its reason; the guest is taken down on the way.
    match catch_unwind(AssertUnwindSafe(show)) {
        Ok(()) => {
            println!("\ndemo: ok ({:.1} s)", start.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(_) => {
            println!("\ndemo: failed: the reason is above");
            ExitCode::FAILURE
        }
    }
}

fn show() {
    backup();
    veto::show();
}

fn stage() -> Stage {
    Stage::take(Kind::Ours).expect("this machine can")
}

/// Names of the three disks and what is said of them.
const DISKS: [(&str, &str); 3] = [
    ("data", "a filesystem"),
    ("mail", "a filesystem mounted on a directory of \"data\""),
    ("vm", "a filesystem in an image file that lies on \"data\""),
];

fn backup() {
    println!("== A guest with three filesystems, two hooks, a daemon, and somebody writing everywhere");
    let stage = stage();
    let times = stage.scratch("times");
    let timed = format!("at() {{ echo \"$1 $(date +%s%N)\" >> {}; }}", times.display());
    let stage = stage
        .disk("data")
        .disk_within("data", "mail")
        .disk_on_an_image_in("data", "vm")
        .hook(
            "10-database.sh",
            &format!("{timed}\nat \"10-database.sh $1 begins\"\nsleep 0.1\nat \"10-database.sh $1 ends\""),
        )
        .hook("20-cache", &format!("{timed}\nat \"20-cache $1 begins\"\nat \"20-cache $1 ends\""));
    let guest = stage.start();
    for (disk, what) in DISKS {
        println!("   {disk:<5} {what}, at {}", guest.disk(disk).display());
    }
    guest.writers().run();

    println!("\n== A copy taken now, with nobody at rest, would be a crash image");
    let hot = images::copy(&guest, "data", "hot");
    println!("   data: {}", images::judge(&hot));
    assert!(images::needs_recovery(&hot), "the copy of a busy filesystem was expected to need recovery");

    println!("\n== The host makes a backup");
    let began = hv_vss_platform::clock::now();
    let mut timeline = Timeline::from(began);
    guest.host_may(Operation::Check);
    let frozen = guest.host_may(Operation::Freeze);
    for (disk, _) in DISKS {
        images::copy(&guest, disk, "cold");
        timeline.add(hv_vss_platform::clock::now(), format!("host     has copied the image of {disk}"));
    }
    std::thread::sleep(WHILE);
    let until = hv_vss_platform::clock::now();
    guest.host_may(Operation::Thaw);
    guest.runs();
    guest.scripts_ran(["10-database.sh freeze", "20-cache freeze", "20-cache thaw", "10-database.sh thaw"]);

    timeline.add_wire(&guest);
    timeline.add_scripts(&times);
    timeline.add_writers(&guest, Monotonic::from_ns(frozen.at_ns), until);
    timeline.print();

    println!("\n== What the writers' own records say");
    writers_stood_still(&guest, Monotonic::from_ns(frozen.at_ns), until);

    println!("\n== What the copies say");
    for (disk, _) in DISKS {
        let copy = guest.stage().scratch(&format!("{disk}.cold"));
        println!("   {disk:<5} {}", images::judge(&copy));
        assert!(!images::needs_recovery(&copy), "the copy of {disk} needs recovery");
        images::is_clean(&copy);
    }
}

fn writers_stood_still(guest: &Guest, from: Monotonic, until: Monotonic) {
    guest.writers().stood_still_between(from, until);
    for writer in guest.writers().iter() {
        let record = writer.record();
        let before = record.iter().filter(|written| written.done <= from).count();
        let after = record.iter().filter(|written| written.done >= until).count();
        assert!(before > 0 && after > 0, "{} was not written to before and after", writer.disk);
        let still = from.until(until).as_millis();
        println!("   {:<5} {before} writes before, none for {still} ms, {after} since", writer.disk);
    }
}
