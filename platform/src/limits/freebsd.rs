//! FreeBSD: address space is RLIMIT_VMEM (sys/sys/resource.h; RLIMIT_AS is its other name there).

use nix::sys::resource::Resource;

pub(super) const MEMORY: Resource = Resource::RLIMIT_VMEM;
