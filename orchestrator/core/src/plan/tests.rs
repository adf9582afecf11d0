//! Plans, told by mount tables.

use super::*;

const UFS: WorkerId = WorkerId(0);

fn mount(id: u8, fstype: &str, on: &str) -> Mount {
    Mount {
        fsid: FsId([id; 8]),
        fstype: fstype.to_owned(),
        on: on.to_owned(),
        from: format!("/dev/da{id}"),
        read_only: false,
        backing: None,
        swap: None,
    }
}

fn in_file(mut mount: Mount, file: &str) -> Mount {
    mount.backing = Some(file.to_owned());
    mount
}

/// What `ufs` and the veto would say.
fn judged(mounts: Vec<Mount>, exemptions: &[Exemption]) -> Vec<Judged> {
    let mut judging = Judging::begin(mounts, exemptions);
    let claim = |mount: &Mount| match mount.fstype.as_str() {
        "ufs" if mount.read_only => Claim::Ignore { reason: "mounted read-only".into() },
        "ufs" => Claim::Freeze,
        _ => Claim::NotMine,
    };
    let claims = judging.undecided().iter().map(claim).collect();
    judging.said(UFS, "ufs", claims).unwrap();
    judging.end()
}

fn plan(mounts: Vec<Mount>) -> Plan {
    Plan::make(Vec::new(), judged(mounts, &[]), |_| false).unwrap()
}

fn order(mounts: Vec<Mount>) -> Vec<String> {
    plan(mounts).filesystems.into_iter().map(|step| step.mount.on).collect()
}

#[test]
fn later_mounts_are_frozen_first() {
    assert_eq!(
        order(vec![mount(1, "ufs", "/"), mount(2, "ufs", "/usr"), mount(3, "ufs", "/usr/home")]),
        ["/usr/home", "/usr", "/"]
    );
}

#[test]
fn what_lives_in_a_file_is_frozen_before_the_filesystem_that_holds_the_file_whatever_the_mount_order() {
    // The md disk was mounted before the filesystem that now covers its backing file's path was; and a second one lies on the first.
    let table = vec![
        mount(1, "ufs", "/"),
        in_file(mount(2, "ufs", "/vm"), "/store/vm.img"),
        mount(3, "ufs", "/store"),
        in_file(mount(4, "ufs", "/deep"), "/vm/deep.img"),
    ];
    assert_eq!(order(table), ["/deep", "/vm", "/store", "/"]);
}

#[test]
fn a_path_belongs_to_whole_components_and_not_to_a_prefix() {
    let table = vec![mount(1, "ufs", "/"), in_file(mount(2, "ufs", "/b"), "/data2/b.img"), mount(3, "ufs", "/data")];
    assert_eq!(order(table), ["/data", "/b", "/"]);
}

#[test]
fn a_filesystem_mounted_twice_is_frozen_once() {
    assert_eq!(order(vec![mount(1, "ufs", "/"), mount(2, "ufs", "/a"), mount(2, "ufs", "/b")]), ["/a", "/"]);
}

#[test]
fn a_circle_of_backing_files_is_survived() {
    let table = vec![in_file(mount(1, "ufs", "/a"), "/b/a.img"), in_file(mount(2, "ufs", "/b"), "/a/b.img")];
    assert_eq!(order(table).len(), 2);
}

#[test]
fn all_vetoes_are_told_and_each_names_its_mount_and_the_remedy() {
    let table = vec![mount(1, "ufs", "/"), mount(2, "zfs", "/tank"), mount(3, "msdosfs", "/boot/efi")];
    let vetoes = Plan::make(Vec::new(), judged(table, &[]), |_| false).unwrap_err();
    assert_eq!(vetoes.len(), 2);
    assert!(vetoes[0].contains("type = \"zfs\", mount = \"/tank\""), "{vetoes:?}");
    assert!(vetoes[1].contains("type = \"msdosfs\", mount = \"/boot/efi\""), "{vetoes:?}");
}

#[test]
fn an_exemption_matches_the_type_and_the_whole_path() {
    let exempt = |fstype: &str, on: Option<&str>| Exemption {
        fstype: fstype.into(),
        mount: on.map(str::to_owned),
        reason: "kept elsewhere".into(),
    };
    let vetoes = |exemptions: &[Exemption]| {
        let table = vec![mount(1, "ufs", "/"), mount(2, "zfs", "/tank"), mount(3, "zfs", "/tank/home")];
        Plan::make(Vec::new(), judged(table, exemptions), |_| false).map_or_else(|vetoes| vetoes.len(), |_| 0)
    };
    assert_eq!(vetoes(&[exempt("zfs", Some("/tank"))]), 1);
    assert_eq!(vetoes(&[exempt("ufs", Some("/tank")), exempt("zfs", Some("/tan"))]), 2);
    assert_eq!(vetoes(&[exempt("zfs", None)]), 0);
}

#[test]
fn a_filesystem_that_came_in_between_or_became_writable_spoils_the_freeze_and_one_that_went_does_not() {
    let read_only = |mut mount: Mount| {
        mount.read_only = true;
        mount
    };
    let plan = plan(vec![mount(1, "ufs", "/"), mount(2, "ufs", "/usr"), read_only(mount(3, "ufs", "/media"))]);
    let frozen = mount(1, "ufs", "/");
    let compare =
        |now: &[Mount], exemptions: &[Exemption]| plan.compare(&Table { mounts: now.to_vec(), hidden: 0 }, exemptions);
    assert_eq!(compare(&[frozen.clone(), read_only(mount(3, "ufs", "/media"))], &[]), Ok(()));
    assert_eq!(compare(&[frozen.clone(), read_only(mount(9, "cd9660", "/cd"))], &[]), Ok(()));
    assert!(compare(&[frozen.clone(), mount(9, "ufs", "/new")], &[]).unwrap_err().contains("/new (ufs)"));
    assert!(compare(&[frozen.clone(), mount(3, "ufs", "/media")], &[]).unwrap_err().contains("/media"));
    // A machine that mounts and unmounts such things all day has said that none of them matters.
    let exempt = Exemption { fstype: "tmpfs".into(), mount: None, reason: "builds".into() };
    let new = [frozen, mount(9, "tmpfs", "/build/7")];
    assert!(compare(&new, &[]).is_err());
    assert_eq!(compare(&new, &[exempt]), Ok(()));
}

#[test]
fn one_that_was_away_when_its_turn_came_and_is_back_was_not_frozen() {
    let (root, usr) = (mount(1, "ufs", "/"), mount(2, "ufs", "/usr"));
    let mut plan = plan(vec![root.clone(), usr.clone()]);
    let table = |mounts: &[&Mount]| Table { mounts: mounts.iter().copied().cloned().collect(), hidden: 0 };
    plan.is_gone(usr.fsid);
    assert_eq!(plan.compare(&table(&[&root]), &[]), Ok(()));
    assert!(plan.compare(&table(&[&root, &usr]), &[]).unwrap_err().contains("/usr (ufs)"));
}

#[test]
fn what_is_hidden_because_it_is_being_unmounted_must_be_among_what_is_held() {
    let (root, usr) = (mount(1, "ufs", "/"), mount(2, "ufs", "/usr"));
    let plan = plan(vec![root.clone(), usr.clone()]);
    let hidden = |mounts: Vec<Mount>, hidden| plan.compare(&Table { mounts, hidden }, &[]);
    // Its unmount waits for the release.
    assert_eq!(hidden(vec![root.clone()], 1), Ok(()));
    assert!(hidden(vec![root.clone()], 2).is_err());
    assert!(hidden(vec![root, usr], 1).unwrap_err().contains("being unmounted"));
}

#[test]
fn a_thousand_filesystems_each_in_a_file_of_the_one_before_are_ordered_while_somebody_waits() {
    let fsid = |number: u16| FsId([number.to_le_bytes()[0], number.to_le_bytes()[1], 1, 0, 0, 0, 0, 0]);
    let mounts = (0..1000_u16).map(|number| Mount {
        fsid: fsid(number),
        backing: (number > 0).then(|| format!("/d{}/image", number - 1)),
        ..mount(1, "ufs", &format!("/d{number}"))
    });
    let plan = Plan::make(Vec::new(), judged(mounts.collect(), &[]), |_| false).unwrap();
    let order: Vec<FsId> = plan.filesystems.iter().map(|step| step.mount.fsid).collect();
    assert_eq!(order, (0..1000).rev().map(fsid).collect::<Vec<_>>());
}

#[test]
fn a_plugin_that_answers_about_fewer_mounts_than_asked_is_named() {
    let mut judging = Judging::begin(vec![mount(1, "ufs", "/"), mount(2, "ufs", "/usr")], &[]);
    let said = judging.said(UFS, "odd", vec![Claim::Freeze]).unwrap_err();
    assert!(said.contains("plugin odd was asked about 2 mounts and answered about 1"));
}

#[test]
fn applications_stand_in_the_order_of_their_numbers_before_the_filesystems() {
    let apps = vec![App { worker: WorkerId(5), number: 70 }, App { worker: WorkerId(6), number: 20 }];
    let plan = Plan::make(apps, judged(vec![mount(1, "ufs", "/")], &[]), |_| true).unwrap();
    let kinds: Vec<Kind> = plan.shape().0.iter().map(|holder| holder.kind).collect();
    assert_eq!(kinds, [Kind::App { number: 20 }, Kind::App { number: 70 }, Kind::Filesystem { survives_exit: true }]);
}

#[test]
fn two_filesystems_on_one_disk_in_a_file_of_a_third_are_refused() {
    let image = |id: u8, on: &str| Mount { backing: Some("/usr/disk.img".to_owned()), ..mount(id, "ufs", on) };
    let table = || vec![mount(1, "ufs", "/"), mount(2, "ufs", "/usr"), image(3, "/a"), image(4, "/b")];
    let why = Plan::make(Vec::new(), judged(table(), &[]), |_| false).unwrap_err();
    assert_eq!(why.len(), 1);
    assert!(why[0].starts_with("/a and /b are on one md(4) disk, whose file /usr/disk.img lies on /usr"), "{why:?}");
    // Not where the file's filesystem stays as it is, and not for one filesystem that is mounted twice.
    let mut elsewhere = table();
    elsewhere[1].read_only = true;
    assert!(Plan::make(Vec::new(), judged(elsewhere, &[]), |_| false).is_ok());
    let mut twice = table();
    twice[3].fsid = twice[2].fsid;
    assert!(Plan::make(Vec::new(), judged(twice, &[]), |_| false).is_ok());
}

#[test]
fn a_unionfs_over_a_frozen_filesystem_is_refused_exempt_or_not() {
    let union = |from: &str| Mount { from: from.to_owned(), ..mount(3, "unionfs", "/jail") };
    let exempt = [Exemption { fstype: "unionfs".into(), mount: None, reason: "it shows others".into() }];
    for from in ["<above>:/data/upper", "<below>:/elsewhere"] {
        let table = vec![mount(1, "ufs", "/"), mount(2, "ufs", "/data"), union(from)];
        let why = Plan::make(Vec::new(), judged(table, &exempt), |_| false).unwrap_err().join(" ");
        assert!(why.starts_with("the unionfs on /jail lies over") && why.contains("No exemption helps"), "{why}");
    }
}
