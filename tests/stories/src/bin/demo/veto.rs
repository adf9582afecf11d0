//! The veto an administrator meets first: a ZFS pool, and the EFI partition that every stock FreeBSD has mounted. The sentence that refuses the
//! backup names the lines that allow it, and those very lines are then added.

use std::path::Path;
use std::time::{Duration, Instant};

use hv_vss_stories::{Operation, Stage, line, pool};

pub(crate) fn show() {
    println!("\n== The same guest with a ZFS pool, and its EFI partition mounted at /boot/efi");
    let stage = with_more_mounts(crate::stage());
    let directory = stage.scratch("data").join("db/hyperv/pool");
    let reporting = format!("[plugin.kvp_report]\nenabled = true\ndirectory = \"{}\"", directory.display());
    let guest = stage.configured(&reporting).start();
    guest.host_may_not(Operation::Check);
    let said = guest.daemon().says(&["CHECK", "/tank", "/boot/efi"]);
    guest.runs();
    let keys = keys_of_the_refusal(&directory);
    drop(guest);
    println!("   The host hears: failure. The log says:\n");
    println!("{}", wrapped(&said));
    println!("\n   With [plugin.kvp_report] turned on, the host's administrator reads as GuestExchangeItems:\n");
    for (key, value) in &keys {
        println!("   {key:<20}{}", wrapped(value).trim_start().replace("\n  ", &format!("\n{:22}", "")));
    }

    let exemptions = lines_named_in(&said);
    println!("\n== And with the lines it names in hv_vss.toml");
    exemptions.lines().for_each(|line| println!("   {line}"));
    let guest = with_more_mounts(crate::stage()).configured(&exemptions).start();
    guest.host_may(Operation::Check);
    guest.host_may(Operation::Freeze);
    guest.is_frozen();
    guest.host_may(Operation::Thaw);
    guest.runs();
    println!("\n   The host hears success: to its CHECK, its FREEZE and its THAW.");
}

/// What the host reads, once the guest has written it.
fn keys_of_the_refusal(directory: &Path) -> Vec<(String, String)> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let keys = pool::as_the_host_sees_it(directory);
        let says = |key: &str, text: &str| keys.iter().any(|(have, value)| have == key && value.contains(text));
        if says("HvVssLastResult", "refused") {
            assert_eq!(keys.len(), 8, "{keys:?}");
            assert!(says("HvVssLastReason", "/tank") && says("HvVssState", "refusing"), "{keys:?}");
            return keys;
        }
        assert!(Instant::now() < until, "the host reads nothing of the refusal: {keys:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn with_more_mounts(stage: Stage) -> Stage {
    stage.disk("data").mounted(line("zfs", "/tank")).mounted(line("msdosfs", "/boot/efi"))
}

/// What stands between backquotes, a line each.
fn lines_named_in(sentence: &str) -> String {
    let quoted: Vec<&str> = sentence.split('`').skip(1).step_by(2).collect();
    let exemptions = quoted.iter().filter(|quoted| quoted.contains("filesystems.exempt")).count();
    assert_eq!(exemptions, 2, "the sentence was expected to name an exemption for each of the two mounts: {sentence}");
    quoted.join("\n")
}

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::from("  ")];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let full = lines.last().is_some_and(|line| line.len() + 1 + word.len() > 110);
        if full {
            lines.push("  ".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}
