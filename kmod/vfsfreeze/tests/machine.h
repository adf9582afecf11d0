/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the tests of vfsfreeze share: the loaded module, mounts, requests.
 */
#ifndef _MACHINE_H_
#define	_MACHINE_H_

#include "../../tests/kern/kern.h"
#undef malloc
#undef free
#include "../vfsfreeze.h"
#include "../../tests/check.h"

extern bool vff_stopping;
extern unsigned vff_opens, vff_held;

static inline struct kern_file *
opens(int flags)
{
	int error;
	struct kern_file *f = kern_open(VFSFREEZE_DEV_NAME, flags, &error);

	must_say(f != NULL, "open: error %d", error);
	return (f);
}

static inline void
loaded(void)
{
	kern_reset();
	vff_stopping = false;	/* a module loaded anew has data of its own */
	must_equal(kern_load(), 0);
}

/* Everything down again; kern_reset() then claims that nothing is left. */
static inline void
unloaded(void)
{
	must_equal(kern_unload(), 0);
	must_equal(vff_opens, 0);
	must_equal(vff_held, 0);
	must_equal(kern_thread_count(), 0);
	kern_reset();
}

static inline int
holds_with(struct kern_file *f, struct mount *mp, uint32_t ms, uint32_t flags)
{
	struct vfsfreeze_hold req = { .hold_ms = ms, .flags = flags };

	req.fsid = mp->mnt_stat.f_fsid;
	return (kern_ioctl(f, VFSFREEZE_HOLD, &req));
}

static inline int
begins(struct kern_file *f, struct mount *mp, uint32_t ms)
{
	return (holds_with(f, mp, ms, 0));
}

static inline int
flushes(struct kern_file *f, struct mount *mp)
{
	struct vfsfreeze_flush req = { .flags = 0 };

	req.fsid = mp->mnt_stat.f_fsid;
	return (kern_ioctl(f, VFSFREEZE_FLUSH, &req));
}

static inline struct vfsfreeze_state
state_of(struct kern_file *f)
{
	struct vfsfreeze_state st;

	must_equal(kern_ioctl(f, VFSFREEZE_STATE, &st), 0);
	return (st);
}

static inline int
releases(struct kern_file *f)
{
	return (kern_ioctl(f, VFSFREEZE_RELEASE, NULL));
}

static inline void
ms_pass(int ms)
{
	kern_step_clock((int64_t)ms * 1000000);
	kern_settle();
}

#endif /* !_MACHINE_H_ */
