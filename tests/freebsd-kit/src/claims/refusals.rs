//! What the kernel refuses, and how.

use std::path::Path;

use hv_vss_platform::mounts::FsId;
use hv_vss_platform::ufssuspend;

use super::{Report, holder_of, is_writable};
use crate::actor::Actor;
use crate::ground::{Ground, Memory, text};
use crate::release::{Careless, careless_suspend, version};

pub(crate) fn refusals(ground: &Ground, report: &mut Report) {
    let id = ground.outer.id.to_string();
    report.claim("suspending an id that no filesystem has: ENOENT", || {
        Actor::start("hold", &[&FsId([0xfe; 8]).to_string()])?.says("refused ENOENT")
    });
    // Not devfs: the node itself is a writable descriptor there, and kernels since December 2022 say EDEADLK.
    report.claim("suspending what is no UFS: EINVAL", || {
        let on = ground.outer.file("tmpfs");
        let memory = Memory::mounted_on(&on)?;
        Actor::start("hold", &[&memory.0.to_string()])?.says("refused EINVAL")
    });
    report.claim("resuming through a descriptor that holds nothing: ENOENT", || {
        let device = ufssuspend::open(Path::new("/dev/ufssuspend")).map_err(|error| error.to_string())?;
        match ufssuspend::resume(device) {
            Err(error) if error.errno() == Some(nix::errno::Errno::ENOENT) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    report.claim("the same filesystem through a second descriptor: EBUSY", || {
        let _holder = holder_of(&ground.outer)?;
        Actor::start("hold", &[&id])?.says("refused EBUSY")
    });
    report.claim("after each of these refusals the filesystem is writable", || is_writable(&ground.outer));

    let careless = careless_suspend();
    let (expected, words) = match careless {
        Careless::Refused => ("refused EDEADLK", "EDEADLK (kernels since December 2022)"),
        Careless::Allowed => ("held", "allowed (kernels before December 2022)"),
    };
    let careless_holder = |arguments: &[&str]| {
        let mut holder = Actor::start("hold", &[&[id.as_str()], arguments].concat())?;
        holder.says(expected).map_err(|reason| format!("{reason}, on a kernel of version {}", version()))?;
        holder.let_go();
        // One that has a thread or a descriptor on what it held: it must not be waited for with that still held.
        holder.has_ended()
    };
    report.claim(&format!("a suspend by a process with two threads: {words}"), || careless_holder(&["threads"]));
    let own = text(&ground.outer.file("own"));
    if careless == Careless::Refused {
        report.claim(&format!("a suspend by a process that has a file there open for writing: {words}"), || {
            careless_holder(&["writing", &own])
        });
    } else {
        println!(
            "skipped a suspend by a process that has a file there open for writing: this kernel allows it, and then hangs in its own exit"
        );
    }
}
