//! UFSRESUME throws away what was stored to shared mappings in the hold (FreeBSD 14, seen; the simulated kernel does it with one file). No backup may
//! do that to a running program without its administrator's word.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Process, Stage, both_drivers, our_driver};

/// A name that no other process of this machine has: scripts find programs by it.
fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("map{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn lost(program: &mut Process) -> u64 {
    // It looks before its next store.
    std::thread::sleep(Duration::from_millis(30));
    program.ask("lost").strip_prefix("lost ").expect("it says how many").parse().expect("a number")
}

fn last(guest: &Guest, question: &str) -> String {
    String::from_utf8_lossy(&guest.vssctl(&[question]).stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

both_drivers! {
    fn a_program_that_maps_a_file_refuses_the_backup_and_loses_nothing(stage: Stage) {
        let guest = stage.with_ufssuspend().disk("data").start();
        let name = name();
        let mut program = guest.program_that_maps(&name, "data");
        guest.host_may_not(Check);
        let who = format!("{name} (process {})", program.pid());
        guest.daemon().says(&["CHECK answered FAIL", &who, "/counter", "60-stop-mapped", "mapped = ["]);
        guest.host_may_not(Freeze);
        guest.daemon().says(&["FREEZE answered FAIL", &who, "/counter"]);
        assert!(guest.frozen_in_order().is_empty(), "nothing was suspended");
        assert_eq!(lost(&mut program), 0);
        drop(program);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.runs();
    }

    fn a_program_that_the_sample_stops_loses_nothing(stage: Stage) {
        let name = name();
        let note = stage.scratch("stopped");
        let guest = stage
            .with_ufssuspend()
            .disk("data")
            .sample("60-stop-mapped.sample", &[("PROGRAMS", &name), ("NOTE", note.to_str().unwrap())])
            .ufs(&format!("stopped_by = {{ \"60-stop-mapped\" = [\"{name}\"] }}"))
            .start();
        let mut program = guest.program_that_maps(&name, "data");
        guest.host_may(Check);
        assert!(last(&guest, "history").contains("60-stop-mapped is to stop it"), "{}", last(&guest, "history"));
        for _ in 0..3 {
            guest.host_may(Freeze);
            guest.is_frozen();
            guest.host_may(Thaw);
            guest.runs();
            assert_eq!(lost(&mut program), 0);
        }
        assert!(!note.exists(), "the script has cleaned up");
    }

    fn an_accepted_loss_is_one_and_the_record_says_so(stage: Stage) {
        let name = name();
        let guest = stage.with_ufssuspend().disk("data").ufs(&format!("mapped = [\"{name}\"]")).start();
        let mut program = guest.program_that_maps(&name, "data");
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
        assert!(lost(&mut program) > 0, "the simulated kernel throws stores away");
        let record = last(&guest, "status");
        assert!(record.contains(&format!("what {name} stored")) && record.contains("accepts"), "{record}");
    }

    fn a_file_that_is_mapped_in_the_hold_is_told_with_the_result(stage: Stage) {
        let guest = stage.with_ufssuspend().disk("data").start();
        let path = std::path::Path::new(&guest.stage().table_line("data").on).join("late");
        std::fs::write(&path, [0; 4096]).unwrap();
        let mut program = guest.process();
        program.says(&format!("open {} rw", path.display()), "fd 3");
        guest.host_may(Freeze);
        guest.is_frozen();
        // The mapping itself is made; the first store to it waits on Linux.
        program.says("count 3", "ok");
        guest.host_may(Thaw);
        guest.runs();
        let (status, told) = (guest.vssctl(&["status"]).status.code(), last(&guest, "status"));
        assert!(told.contains("in the hold") && told.contains("/late"), "{told}");
        assert_ne!(status, Some(0), "{told}");
    }
}

our_driver! {
    fn with_vfsfreeze_a_mapped_file_refuses_nothing_and_loses_nothing(stage: Stage) {
        assert!(stage.has_vfsfreeze());
        let guest = stage.disk("data").start();
        let name = name();
        let mut program = guest.program_that_maps(&name, "data");
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
        assert_eq!(lost(&mut program), 0);
    }
}
