//! Any mount table, and whatever plugins and exemptions may say of it: the plan keeps its promises. A mount that can be written is frozen, ignored by
//! somebody who says why, or vetoes; each filesystem is frozen once; what lives in a file before the filesystem that holds the file.
//!
//! An even first byte: the rest is the text of a mount table file. An odd one: it is taken apart into mounts.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use hv_vss_core::cycle::WorkerId;
use hv_vss_core::plan::{Exemption, Judged, Judging, Plan, Verdict, freeze_order};
use hv_vss_fuzz::{Bytes, mount, several, word};
use hv_vss_platform::mounts::{FsId, Mount, Table, holder, parse_table};
use hv_vss_wire::Claim;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let mut bytes = Bytes::new(rest);
    let mounts = if first % 2 == 0 {
        match parse_table(&String::from_utf8_lossy(rest)) {
            Ok(table) => table.mounts,
            Err((line, cause)) => {
                assert!(line > 0 && !cause.to_string().is_empty());
                return;
            }
        }
    } else {
        let Ok(mounts) = several(&mut bytes, 10, mount) else { return };
        mounts
    };
    for mount in &mounts {
        let line = serde_json::to_string(mount).expect("a mount can be written");
        assert_eq!(parse_table(&line).expect("what we wrote").mounts, [mount.clone()]);
    }
    let _ = plan(&mounts, &mut bytes);
});

fn plan(mounts: &[Mount], bytes: &mut Bytes<'_>) -> arbitrary::Result<()> {
    let exemption = |bytes: &mut Bytes<'_>| {
        Ok(Exemption {
            fstype: word(bytes)?,
            mount: if bytes.arbitrary()? { Some(word(bytes)?) } else { None },
            reason: word(bytes)?,
        })
    };
    let exemptions = several(bytes, 3, exemption)?;
    let mut judging = Judging::begin(mounts.to_vec(), &exemptions);
    for worker in 0..2 {
        let asked = judging.undecided();
        let mut claims = Vec::new();
        for _ in &asked {
            claims.push(match bytes.int_in_range(0..=5)? {
                0 => Claim::NotMine,
                1 => Claim::Ignore { reason: "ignored".to_owned() },
                2 => Claim::Veto { reason: "vetoed".to_owned() },
                _ => Claim::Freeze,
            });
        }
        if bytes.ratio(1, 16)? {
            claims.push(Claim::Freeze);
            assert!(judging.said(WorkerId(worker), "liar", claims).is_err(), "an answer about more than was asked");
            assert_eq!(judging.undecided(), asked, "it changes nothing");
        } else {
            judging.said(WorkerId(worker), "plugin", claims).expect("an answer about what was asked");
        }
    }
    let judged = judging.end();
    assert!(judged.iter().map(|judged| &judged.mount).eq(mounts), "every mount, in mount order");
    let vetoes = judged.iter().filter(|judged| matches!(judged.verdict, Verdict::Veto { .. })).count();
    let survives: bool = bytes.arbitrary()?;
    let plan = match Plan::make(Vec::new(), judged.clone(), |worker| survives && worker == WorkerId(0)) {
        Err(reasons) => {
            // An order that would hang is a reason of its own.
            assert!(reasons.len() >= vetoes.max(1), "every veto is told");
            return Ok(());
        }
        Ok(plan) => plan,
    };
    assert_eq!(vetoes, 0, "a veto is never planned away");
    assert_eq!(plan.frozen_mounts(), freeze_order(&judged));

    let frozen: Vec<FsId> = plan.filesystems.iter().map(|step| step.mount.fsid).collect();
    let once: BTreeSet<FsId> = frozen.iter().copied().collect();
    assert_eq!(once.len(), frozen.len(), "each filesystem once");
    for judged in &judged {
        match &judged.verdict {
            Verdict::Freeze(_) => assert!(once.contains(&judged.mount.fsid)),
            Verdict::Ignore { by, .. } => assert!(!by.is_empty()),
            Verdict::Veto { .. } => unreachable!("there is none"),
        }
    }
    ordered(mounts, &judged, &plan);

    let table = |mounts: &[Mount], hidden| Table { mounts: mounts.to_vec(), hidden };
    assert_eq!(plan.compare(&table(mounts, 0), &exemptions), Ok(()), "the table that was planned is as it was planned");
    assert!(
        plan.compare(&table(mounts, 1), &exemptions).is_err(),
        "all that is held is listed, so what is hidden is not held"
    );
    let newcomer = Mount {
        fsid: FsId([0xff; 8]),
        read_only: false,
        fstype: "newfs".to_owned(),
        on: "/new".to_owned(),
        ..mount(bytes)?
    };
    let more: Vec<Mount> = mounts.iter().cloned().chain([newcomer]).collect();
    assert!(plan.compare(&table(&more, 0), &exemptions).is_err(), "what came in between is noticed");
    Ok(())
}

/// Files before their holders; without files, later mounts first.
fn ordered(mounts: &[Mount], judged: &[Judged], plan: &Plan) {
    let frozen: Vec<FsId> = plan.filesystems.iter().map(|step| step.mount.fsid).collect();
    let at: BTreeMap<FsId, usize> =
        plan.filesystems.iter().enumerate().map(|(at, step)| (step.mount.fsid, at)).collect();
    let mut lies_on: BTreeMap<FsId, FsId> = BTreeMap::new();
    for step in &plan.filesystems {
        let held_by = step.mount.backing.as_deref().and_then(|file| holder(mounts, file)).map(|mount| mount.fsid);
        if let Some(held_by) = held_by.filter(|held_by| *held_by != step.mount.fsid && at.contains_key(held_by)) {
            lies_on.insert(step.mount.fsid, held_by);
        }
    }
    for (inner, outer) in &lies_on {
        let mut next = Some(outer);
        let in_a_circle = (0..=lies_on.len()).any(|_| {
            next = next.and_then(|fsid| lies_on.get(fsid));
            next == Some(inner)
        });
        // A mount table can claim that two files hold each other. What hangs on such a circle has no right order either.
        let mut end = Some(inner);
        for _ in 0..=lies_on.len() {
            end = end.and_then(|fsid| lies_on.get(fsid));
        }
        assert!(
            in_a_circle || end.is_some() || at[inner] < at[outer],
            "{inner} lies on {outer}: {:?}",
            plan.frozen_mounts()
        );
    }
    if lies_on.is_empty() {
        let first = |fsid: FsId| {
            judged.iter().position(|one| one.mount.fsid == fsid && matches!(one.verdict, Verdict::Freeze(_)))
        };
        let places: Vec<_> = frozen.iter().map(|fsid| first(*fsid)).collect();
        assert!(places.windows(2).all(|pair| pair[0] > pair[1]), "later mounts first: {places:?}");
    }
}
