//! What else is taken for granted of the kernel: sockets, devices, the mount table.

use std::io::IoSlice;
use std::os::fd::AsRawFd;

use hv_vss_platform::{boot, descriptors, dirty, mapped, process, threads};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendmsg, socketpair};

use super::Report;
use crate::ground::{Ground, text};

pub(crate) fn system(ground: &Ground, report: &mut Report) {
    #[cfg(target_os = "freebsd")]
    report.claim("kevent on a device without d_kqfilter: ENODEV", kevent_on_a_device);
    report.claim("a SEQPACKET record above 8 KiB: EMSGSIZE", || {
        let (ours, _theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|errno| errno.to_string())?;
        let send = |bytes: usize| {
            sendmsg::<()>(ours.as_raw_fd(), &[IoSlice::new(&vec![0; bytes])], &[], MsgFlags::MSG_DONTWAIT, None)
        };
        match (send(8 << 10), send((8 << 10) + 1)) {
            (Ok(_), Err(Errno::EMSGSIZE)) => Ok(()),
            other => Err(format!("8192 and 8193 bytes: {other:?}")),
        }
    });
    report.claim("the mount table names the image files behind md(4) disks", || {
        for disk in [&ground.outer, &ground.inner] {
            let backing = disk.mount().and_then(|mount| mount.backing);
            if backing.as_deref() != Some(text(&disk.image).as_str()) {
                return Err(format!("{}: expected {}, it says {backing:?}", disk.on.display(), disk.image.display()));
            }
        }
        Ok(())
    });
    report.observe("shared writable mappings of files on this machine's UFS:", || {
        let table = hv_vss_platform::mounts::read(&hv_vss_platform::mounts::Source::Kernel)
            .map_err(|error| error.to_string())?;
        let ufs: Vec<_> = table.into_iter().filter(|mount| mount.fstype == "ufs").collect();
        let latest = hv_vss_platform::clock::now() + std::time::Duration::from_secs(10);
        let scan = mapped::scan(&mapped::Filesystems::of(&ufs), latest).map_err(|error| error.to_string())?;
        let mut said =
            format!("{} of {} processes, in {} ms", scan.mappings.len(), scan.processes, scan.took.as_millis());
        for found in &scan.mappings {
            let (stopped, file) = (if found.stopped { ", stopped" } else { "" }, found.file.as_deref());
            said += &format!("; {} ({}{stopped}): {}", found.program, found.pid, file.unwrap_or("(deleted)"));
        }
        Ok(said)
    });
    report.claim("the mount table is in mount order", || {
        let table = hv_vss_platform::mounts::read(&hv_vss_platform::mounts::Source::Kernel)
            .map_err(|error| error.to_string())?;
        let place = |id| table.iter().position(|mount| mount.fsid == id);
        if place(ground.outer.id) < place(ground.inner.id) { Ok(()) } else { Err(format!("{table:?}")) }
    });
    report.claim("the kernel tells a process of its threads, its disk files, its start and its boot", || {
        let here = std::process::id();
        let files = descriptors::disk_files().map_err(|error| error.to_string())?;
        let own = std::fs::File::open(std::env::current_exe().map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?;
        let more = descriptors::disk_files().map_err(|error| error.to_string())?;
        let counted = more.len() == files.len() + 1 && more.iter().any(|(fd, _)| *fd == own.as_raw_fd());
        let told = threads::count().is_ok_and(|count| count >= 1)
            && boot::id().is_ok_and(|id| id.len() == 32)
            && i32::try_from(here).is_ok_and(|pid| process::start_time(pid).is_some())
            && dirty::buffers().is_some();
        if counted && told { Ok(()) } else { Err(format!("files {files:?}, then {more:?}")) }
    });
}

#[cfg(target_os = "freebsd")]
fn kevent_on_a_device() -> Result<(), String> {
    use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

    let device = hv_vss_platform::ufssuspend::open(std::path::Path::new("/dev/ufssuspend"))
        .map_err(|error| error.to_string())?;
    let number = usize::try_from(device.as_raw_fd()).map_err(|error| error.to_string())?;
    let queue = Kqueue::new().map_err(|errno| errno.to_string())?;
    let event = KEvent::new(number, EventFilter::EVFILT_READ, EvFlags::EV_ADD, FilterFlag::empty(), 0, 0);
    match queue.kevent(&[event], &mut [], None) {
        Err(Errno::ENODEV) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}
