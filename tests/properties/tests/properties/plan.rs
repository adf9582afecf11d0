//! Plans: what is frozen, and in which order, for mount tables of every shape.

use std::collections::BTreeSet;

use hv_vss_core::cycle::WorkerId;
use hv_vss_core::plan::{Judging, Plan};
use hv_vss_platform::mounts::{FsId, Mount, Table};
use hv_vss_wire::Claim;
use proptest::collection::vec;
use proptest::prelude::*;

fn mount(id: usize, on: &str) -> Mount {
    let id = u8::try_from(id).expect("few mounts");
    Mount {
        fsid: FsId([id; 8]),
        fstype: "ufs".to_owned(),
        on: on.to_owned(),
        from: format!("/dev/da{id}"),
        read_only: false,
        backing: None,
        swap: None,
    }
}

/// A tree of mounts as a machine has it: each lies in one that was mounted before, some on the same directory; and some are images, in a file on one
/// that was mounted before.
fn tree() -> impl Strategy<Value = Vec<Mount>> {
    let one = (any::<prop::sample::Index>(), any::<bool>(), proptest::option::of(any::<prop::sample::Index>()));
    vec(one, 0..9).prop_map(|shape| {
        let mut mounts = vec![mount(0, "/")];
        for (at, (above, over, image)) in shape.into_iter().enumerate() {
            let above = mounts[above.index(mounts.len())].on.clone();
            let on = if over { above } else { format!("{}/m{}", above.trim_end_matches('/'), at + 1) };
            let image = image.map(|image| mounts[image.index(mounts.len())].on.clone());
            let mut new = mount(at + 1, &on);
            new.backing = image.map(|holder| format!("{}/i{}.img", holder.trim_end_matches('/'), at + 1));
            mounts.push(new);
        }
        mounts
    })
}

fn plan(mounts: &[Mount], claims: Vec<Claim>) -> Result<Plan, Vec<String>> {
    let mut judging = Judging::begin(mounts.to_vec(), &[]);
    judging.said(WorkerId(0), "ufs", claims).expect("as many claims as mounts");
    Plan::make(Vec::new(), judging.end(), |_| false)
}

fn order(mounts: &[Mount]) -> Vec<FsId> {
    plan(mounts, vec![Claim::Freeze; mounts.len()])
        .expect("no veto")
        .frozen_mounts()
        .iter()
        .map(|mount| mount.fsid)
        .collect()
}

proptest! {
    #![proptest_config(crate::tried())]

    #[test]
    fn every_filesystem_is_frozen_once_however_often_it_is_mounted(mounts in tree(), again in vec(any::<prop::sample::Index>(), 0..6)) {
        let mut table = mounts.clone();
        for (at, of) in again.iter().enumerate() {
            let twice = Mount { on: format!("/again{at}"), ..mounts[of.index(mounts.len())].clone() };
            table.push(twice);
        }
        let frozen = order(&table);
        prop_assert_eq!(frozen.iter().collect::<BTreeSet<_>>().len(), frozen.len());
        prop_assert_eq!(frozen.len(), mounts.len());
    }

    #[test]
    fn without_images_later_mounts_are_frozen_first(mounts in tree()) {
        let plain: Vec<Mount> = mounts.into_iter().map(|mount| Mount { backing: None, ..mount }).collect();
        let mut expected: Vec<FsId> = plain.iter().map(|mount| mount.fsid).collect();
        expected.reverse();
        prop_assert_eq!(order(&plain), expected);
    }

    #[test]
    fn an_image_is_frozen_before_the_filesystem_that_holds_it_wherever_the_two_stand_in_the_table(mounts in tree(), shuffled in vec(any::<prop::sample::Index>(), 10)) {
        // No directory is mounted over: then every path has one holder, whatever the order.
        let mut seen = BTreeSet::new();
        let mut table: Vec<Mount> = mounts.into_iter().filter(|mount| seen.insert(mount.on.clone())).collect();
        for (at, with) in shuffled.iter().enumerate().take(table.len()) {
            let with = with.index(table.len());
            table.swap(at, with);
        }
        let frozen = order(&table);
        let place = |fsid: FsId| frozen.iter().position(|other| *other == fsid);
        for image in table.iter().filter(|mount| mount.backing.is_some()) {
            let file = image.backing.as_deref().unwrap_or_default();
            let holder = hv_vss_platform::mounts::holder(&table, file).expect("the root holds every path");
            if holder.fsid != image.fsid {
                prop_assert!(place(image.fsid) < place(holder.fsid), "{} lies on {}", image.on, holder.on);
            }
        }
    }

    #[test]
    fn one_veto_is_enough_and_all_of_them_are_told(mounts in tree(), kinds in vec(0..4_u8, 10)) {
        let kinds = &kinds[..mounts.len().min(kinds.len())];
        let claims: Vec<Claim> = (0..mounts.len()).map(|at| match kinds.get(at) {
            Some(0) => Claim::Veto { reason: format!("veto {at}") },
            Some(1) => Claim::Ignore { reason: "nothing in it".to_owned() },
            Some(2) => Claim::NotMine,
            _ => Claim::Freeze,
        }).collect();
        let against = claims.iter().filter(|claim| matches!(claim, Claim::Veto { .. } | Claim::NotMine)).count();
        match plan(&mounts, claims.clone()) {
            Err(reasons) => prop_assert_eq!(reasons.len(), against),
            Ok(plan) => {
                prop_assert_eq!(against, 0);
                let wanted: BTreeSet<FsId> = mounts.iter().zip(&claims).filter(|(_, claim)| **claim == Claim::Freeze).map(|(mount, _)| mount.fsid).collect();
                let frozen: BTreeSet<FsId> = plan.frozen_mounts().iter().map(|mount| mount.fsid).collect();
                prop_assert_eq!(frozen, wanted);
                prop_assert_eq!(plan.compare(&Table { mounts, hidden: 0 }, &[]), Ok(()));
            }
        }
    }
}
