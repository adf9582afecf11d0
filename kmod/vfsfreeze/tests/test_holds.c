/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Stories about vfsfreeze on the stand-in kernel: the real module, with every
 * lock, sleep and lifetime rule asserted at each call.
 */
#include "machine.h"

static struct mount *ufs;
static struct kern_file *f;

static void
running(void)
{
	loaded();
	ufs = kern_mount("/", "ufs", 0, 0);
	f = opens(FWRITE);
}

static void
over(void)
{
	kern_close(f);
	kern_settle();
	unloaded();
}

static void
held_for(uint32_t ms)
{
	must_equal(begins(f, ufs, ms), 0);
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_HELD);
}

static void
a_hold_begins_at_once_holds_and_lets_go(void)
{
	struct vfsfreeze_state st;

	running();
	must_equal(state_of(f).state, VFSFREEZE_IDLE);
	must_equal(begins(f, ufs, 5000), 0);
	must_equal(state_of(f).state, VFSFREEZE_BEGUN);
	must(!kern_is_suspended(ufs));
	kern_settle();
	kern_step_clock(1500 * 1000000LL);
	st = state_of(f);
	must_equal(st.state, VFSFREEZE_HELD);
	must_equal(st.flags, VFSFREEZE_QUIESCED);
	must(st.left_ms > 3490 && st.left_ms <= 3500);
	must(st.held_us >= 1500000 && st.held_us < 1501000);
	must(kern_is_suspended(ufs));
	must_equal(releases(f), 0);
	must(kern_is_suspended(ufs));	/* it returns at once */
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_RELEASED);
	must_equal(state_of(f).left_ms, 0);
	must(!kern_is_suspended(ufs));
	must(strcmp(kern_trace(ufs), "suspend, resume, clean") == 0);
	must_equal(ufs->lockref, 0);
	must_equal(releases(f), 0);	/* and again: nothing happens */
	over();
}

static void
poll_and_kevent_wake_once_for_each_change(void)
{
	struct knote kn, other;

	running();
	must_equal(kern_kevent(f, &other, EVFILT_WRITE), EINVAL);
	must_equal(kern_kevent(f, &kn, EVFILT_READ), 0);
	must_equal(begins(f, ufs, 5000), 0);
	must_equal(kern_poll(f, POLLIN), 0);
	must(!kn.active);
	kern_settle();
	must_equal(kern_selected(), 1);
	must(kn.active && kn.kn_data == 1);
	must_equal(kern_poll(f, POLLIN | POLLRDNORM), POLLIN | POLLRDNORM);
	must_equal(state_of(f).state, VFSFREEZE_HELD);
	must_equal(kern_poll(f, POLLIN), 0);	/* seen: asleep again */
	releases(f);
	kern_settle();
	must_equal(kern_selected(), 1);
	must_equal(kern_poll(f, POLLIN), POLLIN);
	kn.kn_fop->f_detach(&kn);
	over();
}

static void
a_hold_expires_from_its_begin_and_devd_is_told(void)
{
	int64_t before = kern_sysctl_number("expired");

	running();
	held_for(5000);
	must_equal(kern_poll(f, POLLIN), 0);
	ms_pass(4999);
	must_equal(state_of(f).state, VFSFREEZE_HELD);
	must(strcmp(kern_events(), "") == 0);
	must_equal(kern_poll(f, POLLIN), 0);
	ms_pass(2);
	must_equal(kern_selected(), 1);
	must_equal(kern_poll(f, POLLIN), POLLIN);
	must_equal(state_of(f).state, VFSFREEZE_EXPIRED);
	must(!kern_is_suspended(ufs));
	must(strcmp(kern_events(), "VFSFREEZE HOLD EXPIRED type=ufs pid=4711 "
	    "mount=\"/\"\n") == 0);
	must_equal(kern_sysctl_number("expired"), before + 1);
	must(kern_sysctl_number("longest_ms") >= 5000);
	over();
}

static void
a_suspension_that_is_too_slow_expires_as_it_returns(void)
{
	running();
	ufs->writers = 1;
	must_equal(begins(f, ufs, 1000), 0);
	kern_settle();
	ms_pass(5000);
	must_equal(state_of(f).state, VFSFREEZE_BEGUN);
	must_equal(state_of(f).left_ms, 0);
	vn_finished_write(ufs);
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_EXPIRED);
	must_equal(state_of(f).held_us, 0);
	must(!kern_is_suspended(ufs));
	over();
}

static void
let_go_before_and_during_the_suspension_never_holds(void)
{
	running();
	must_equal(begins(f, ufs, 5000), 0);
	releases(f);			/* before its thread ran at all */
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_RELEASED);
	must(strcmp(kern_trace(ufs), "") == 0);

	ufs->writers = 1;
	must_equal(begins(f, ufs, 5000), 0);
	kern_settle();
	must(kern_is_suspended(ufs));
	releases(f);
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_BEGUN);
	vn_finished_write(ufs);
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_RELEASED);
	must_equal(state_of(f).held_us, 0);
	over();
}

static void
a_failed_suspension_says_why_and_leaves_nothing_held(void)
{
	int64_t before = kern_sysctl_number("failed");

	running();
	ufs->suspend_error = EIO;
	must_equal(begins(f, ufs, 5000), 0);
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_FAILED);
	must_equal(state_of(f).error, EIO);
	must(!kern_is_suspended(ufs));
	must_equal(ufs->lockref, 0);
	must_equal(kern_sysctl_number("failed"), before + 1);
	ufs->suspend_error = 0;
	held_for(5000);			/* the descriptor is good for more */
	over();
}

static void
without_a_thread_the_hold_fails_and_leaks_nothing(void)
{
	running();
	kern_fail_next("kthread_add", ENOMEM);
	must_equal(begins(f, ufs, 5000), ENOMEM);
	must_equal(ufs->lockref, 0);
	must_equal(state_of(f).state, VFSFREEZE_FAILED);
	must_equal(state_of(f).error, ENOMEM);
	over();
}

static void
a_mount_that_is_held_already_is_refused_at_once(void)
{
	struct kern_file *g;

	running();
	g = opens(FWRITE);
	must_equal(begins(f, ufs, 5000), 0);
	must_equal(begins(g, ufs, 5000), EBUSY);	/* begun is enough */
	must_equal(begins(f, ufs, 5000), EBUSY);
	kern_settle();
	must_equal(begins(g, ufs, 5000), EBUSY);
	must_equal(state_of(g).state, VFSFREEZE_IDLE);
	must_equal(releases(g), EINVAL);
	releases(f);
	kern_settle();
	must_equal(begins(g, ufs, 5000), 0);
	kern_settle();
	must_equal(state_of(g).state, VFSFREEZE_HELD);
	must_equal(ufs->lockref, 1);
	kern_close(g);
	over();
}

static void
the_last_close_lets_go_without_waiting(void)
{
	running();
	held_for(5000);
	kern_close(f);
	must(kern_is_suspended(ufs));
	kern_settle();
	must(!kern_is_suspended(ufs));
	must_equal(kern_thread_count(), 0);
	unloaded();
}

static void
what_no_hold_can_mean_is_refused(void)
{
	struct mount *m;

	running();
	m = kern_mount("/nfs", "nfs", VFCF_NETWORK, 0);
	must_equal(begins(f, m, 5000), EOPNOTSUPP);
	m = kern_mount("/dev", "devfs", VFCF_SYNTHETIC, 0);
	must_equal(begins(f, m, 5000), EOPNOTSUPP);
	m = kern_mount("/null", "nullfs", VFCF_LOOPBACK, 0);
	must_equal(begins(f, m, 5000), EOPNOTSUPP);
	m = kern_mount("/fuse", "fusefs", 0, 0);
	must_equal(begins(f, m, 5000), EOPNOTSUPP);
	m = kern_mount("/linux", "ext2fs", 0, 0);
	must_equal(begins(f, m, 5000), EOPNOTSUPP);
	m = kern_mount("/journal", "ufs", 0, MNT_GJOURNAL);
	must_equal(begins(f, m, 5000), EOPNOTSUPP);
	must_equal(flushes(f, m), EOPNOTSUPP);
	m = kern_mount("/cdrom", "ufs", 0, MNT_RDONLY);
	must_equal(begins(f, m, 5000), EROFS);
	must_equal(kern_thread_count(), 0);
	over();
}

static void
zfs_is_gated_only_when_that_is_asked_for(void)
{
	struct mount *zfs;

	running();
	zfs = kern_mount("/z", "zfs", 0, 0);
	must_equal(begins(f, zfs, 5000), EOPNOTSUPP);
	must_equal(holds_with(f, zfs, 5000, VFSFREEZE_GATE_ONLY), 0);
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_HELD);
	must_equal(state_of(f).flags, VFSFREEZE_GATE_ONLY);
	must(strcmp(kern_trace(zfs), "suspend") == 0);
	over();
}

static void
other_types_are_written_out_in_the_hold_or_fail(void)
{
	struct mount *dos, *odd;

	running();
	dos = kern_mount("/boot/efi", "msdosfs", 0, 0);
	odd = kern_mount("/odd", "oddfs", 0, 0);
	must_equal(begins(f, dos, 5000), 0);
	kern_settle();
	must_equal(state_of(f).flags, VFSFREEZE_QUIESCED);
	must(strcmp(kern_trace(dos), "suspend, stdsync wait, sync wait") == 0);
	releases(f);
	kern_settle();

	dos->sync_error = EIO;
	must_equal(begins(f, dos, 5000), 0);
	kern_settle();
	must_equal(state_of(f).error, EIO);
	must(!kern_is_suspended(dos));

	must_equal(begins(f, odd, 5000), 0);
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_FAILED);
	must_equal(state_of(f).error, EOPNOTSUPP);
	must_equal(holds_with(f, odd, 5000, VFSFREEZE_GATE_ONLY), 0);
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_HELD);
	over();
}

static void
a_flush_is_a_write_that_waits_and_never_for_a_hold(void)
{
	running();
	must_equal(flushes(f, ufs), 0);
	must(strcmp(kern_trace(ufs), "periodic wait, stdsync wait, sync") == 0);
	must_equal(ufs->writers, 0);
	must_equal(ufs->lockref, 0);
	ufs->sync_error = EIO;
	must_equal(flushes(f, ufs), EIO);
	held_for(5000);
	must_equal(flushes(f, ufs), EBUSY);
	must_equal(ufs->lockref, 1);
	over();
}

static void
rights_come_first_and_the_jail_before_them(void)
{
	struct vfsfreeze_version v;
	struct kern_file *reader;
	int error;

	running();
	reader = opens(0);
	must_equal(begins(reader, ufs, 5000), EPERM);
	must_equal(flushes(reader, ufs), EPERM);
	must_equal(releases(reader), EPERM);
	must_equal(kern_ioctl(reader, VFSFREEZE_VERSION, &v), 0);
	must_equal(v.abi, VFSFREEZE_ABI);
	must_equal(v.max_hold_ms, 600000);
	must_equal(state_of(reader).state, VFSFREEZE_IDLE);
	kern_become(0, 0);
	must_equal(begins(f, ufs, 5000), EPERM);
	kern_become(1, 1);
	must_equal(begins(f, ufs, 5000), EPERM);
	must_equal(kern_ioctl(f, VFSFREEZE_VERSION, &v), EPERM);
	must(kern_open(VFSFREEZE_DEV_NAME, FWRITE, &error) == NULL);
	must_equal(error, EPERM);
	kern_become(0, 1);
	must_equal(kern_mode(VFSFREEZE_DEV_NAME), 0600);
	kern_close(reader);
	over();
}

static void
what_is_not_understood_is_refused(void)
{
	struct vfsfreeze_hold req = { .hold_ms = 5000 };
	struct vfsfreeze_flush flush = { .flags = 1 };
	int on = 1, off = 0;

	running();
	req.fsid = flush.fsid = ufs->mnt_stat.f_fsid;
	must_equal(kern_ioctl(f, _IO('V', 99), NULL), ENOTTY);
	must_equal(kern_ioctl(f, FIONBIO, &on), 0);
	must_equal(kern_ioctl(f, FIOASYNC, &off), 0);
	must_equal(kern_ioctl(f, FIOASYNC, &on), ENOTTY);
	must_equal(begins(f, ufs, 0), EINVAL);
	must_equal(begins(f, ufs, 600001), EINVAL);
	must_equal(holds_with(f, ufs, 5000, 2), EINVAL);
	req.reserved[3] = 1;
	must_equal(kern_ioctl(f, VFSFREEZE_HOLD, &req), EINVAL);
	must_equal(kern_ioctl(f, VFSFREEZE_FLUSH, &flush), EINVAL);
	flush.flags = 0;
	flush.reserved[0] = 1;
	must_equal(kern_ioctl(f, VFSFREEZE_FLUSH, &flush), EINVAL);
	memset(&req.fsid, 0x77, sizeof(req.fsid));
	req.reserved[3] = 0;
	must_equal(kern_ioctl(f, VFSFREEZE_HOLD, &req), ENOENT);
	over();
}

static void
the_sysctls_bound_and_name_the_holds(void)
{
	char text[256];
	unsigned since, left;

	running();
	must_equal(kern_sysctl_set("max_hold_ms", 10000), 0);
	must_equal(begins(f, ufs, 10001), EINVAL);
	must_equal(kern_sysctl_set("max_hold_ms", 700000), 0);
	must_equal(begins(f, ufs, 600001), EINVAL);
	must_equal(begins(f, ufs, 600000), 0);
	must_equal(kern_sysctl_text("list", text, sizeof(text)), 0);
	must_equal(sscanf(text, "/ ufs 4711 begun %u %u\n", &since, &left), 2);
	must(since <= 1 && left >= 599998 && left <= 600000);
	ms_pass(2500);
	must_equal(kern_sysctl_text("list", text, sizeof(text)), 0);
	must_equal(sscanf(text, "/ ufs 4711 held %u %u\n", &since, &left), 2);
	must(since >= 2499 && since <= 2501 && left >= 597498 &&
	    left <= 597501);
	releases(f);
	kern_settle();
	must_equal(kern_sysctl_text("list", text, sizeof(text)), 0);
	must(text[0] == '\0');
	must_equal(kern_sysctl_set("max_hold_ms", 600000), 0);
	over();
}

static void
devd_hears_of_an_expiry_when_the_last_hold_has_ended(void)
{
	struct mount *other;
	struct kern_file *g;

	running();
	other = kern_mount("/a \"b\"", "ufs", 0, 0);
	g = opens(FWRITE);
	held_for(9000);
	must_equal(begins(g, other, 1000), 0);
	kern_settle();
	ms_pass(1500);
	must_equal(state_of(g).state, VFSFREEZE_EXPIRED);
	must(strcmp(kern_events(), "") == 0);
	kern_close(g);			/* its hold is still to be told */
	releases(f);
	kern_settle();
	must(strcmp(kern_events(), "VFSFREEZE HOLD EXPIRED type=ufs pid=4711 "
	    "mount=\"/a \\\"b\\\"\"\n") == 0);
	over();
}

static void
an_unmount_that_waits_is_let_through_by_the_resume(void)
{
	running();
	held_for(5000);
	kern_umounts(ufs);
	kern_settle();
	must(!ufs->gone);
	releases(f);
	kern_settle();
	must(ufs->gone);
	must_equal(begins(f, ufs, 5000), ENOENT);
	over();
}

static void
what_is_being_unmounted_is_refused_and_not_waited_for(void)
{
	running();
	ufs->lockref++;			/* someone else's: the unmount drains */
	kern_umounts(ufs);
	kern_settle();
	must_equal(begins(f, ufs, 5000), EBUSY);
	must_equal(flushes(f, ufs), EBUSY);
	ufs->lockref--;
	kern_thread_wake(&ufs->lockref);
	kern_settle();
	must(ufs->gone);
	over();
}

static void
an_unmount_that_won_the_race_makes_the_hold_fail(void)
{
	running();
	must_equal(begins(f, ufs, 5000), 0);
	ufs->mnt_kern_flag |= MNTK_UNMOUNT;	/* before the thread ran */
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_FAILED);
	must_equal(state_of(f).error, EBUSY);
	must_equal(ufs->lockref, 0);
	ufs->mnt_kern_flag = 0;
	over();
}

static void
anothers_suspension_is_waited_for_in_the_thread(void)
{
	running();
	ufs->writers = 1;
	kern_snapshots(ufs);
	kern_settle();
	must(kern_is_suspended(ufs));
	must_equal(begins(f, ufs, 60000), 0);
	ms_pass(1000);
	must_equal(state_of(f).state, VFSFREEZE_BEGUN);
	vn_finished_write(ufs);
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_HELD);
	over();
}

static void
a_slow_clean_up_delays_nobody_but_the_unload(void)
{
	running();
	ufs->slow_clean = 1;
	held_for(5000);
	releases(f);
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_RELEASED);
	must_equal(kern_thread_count(), 1);
	must_equal(begins(f, ufs, 5000), 0);	/* held anew beside it */
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_HELD);
	releases(f);
	ufs->slow_clean = 0;
	kern_thread_wake(&ufs->slow_clean);
	over();
}

static void
an_unload_is_refused_while_it_is_open_or_holds(void)
{
	running();
	must_equal(kern_unload(), EBUSY);
	held_for(5000);
	must_equal(kern_unload(), EBUSY);
	kern_close(f);
	must_equal(kern_unload(), EBUSY);	/* closed, not yet let go */
	kern_settle();
	unloaded();
}

static void
an_unload_waits_for_threads_that_clean_up(void)
{
	running();
	held_for(5000);
	releases(f);
	kern_run_threads();		/* resumed; its clean-up is to come */
	kern_close(f);
	must_equal(kern_unload(), 0);
	must_equal(kern_thread_count(), 0);
	kern_reset();
}

static void
a_node_that_cannot_be_made_is_no_load(void)
{
	kern_reset();
	vff_stopping = false;
	kern_fail_next(VFSFREEZE_DEV_NAME, EEXIST);
	must_equal(kern_load(), EEXIST);
	kern_reset();
}

static void
a_shutdown_lets_all_go_and_takes_no_more(void)
{
	int error;

	running();
	held_for(5000);
	must_equal(kern_shutdown(RB_NOSYNC), 1);
	must_equal(state_of(f).state, VFSFREEZE_HELD);
	must_equal(kern_shutdown(0), 1);
	must_equal(state_of(f).state, VFSFREEZE_RELEASED);
	must(!kern_is_suspended(ufs));
	must_equal(begins(f, ufs, 5000), ESHUTDOWN);
	must(kern_open(VFSFREEZE_DEV_NAME, FWRITE, &error) == NULL);
	must_equal(error, ESHUTDOWN);
	must_equal(kern_unload(), EBUSY);
	kern_close(f);
	vff_stopping = false;
	unloaded();
}

static void
a_shutdown_does_not_wait_for_a_stuck_suspension_for_ever(void)
{
	sbintime_t before;

	running();
	ufs->writers = 1;
	must_equal(begins(f, ufs, 5000), 0);
	kern_settle();
	before = sbinuptime();
	must_equal(kern_shutdown(0), 1);
	must(sbinuptime() - before >= 10 * SBT_1S);
	must(sbinuptime() - before < 11 * SBT_1S);
	vn_finished_write(ufs);
	kern_settle();
	must_equal(state_of(f).state, VFSFREEZE_RELEASED);
	kern_close(f);
	vff_stopping = false;
	unloaded();
}

static void
more_holds_than_threads_may_be_are_refused(void)
{
	extern unsigned vff_held;

	running();
	vff_held += 1024;
	must_equal(begins(f, ufs, 5000), EAGAIN);
	vff_held -= 1024;
	must_equal(ufs->lockref, 0);
	over();
}

static void
an_open_that_devfs_cannot_keep_leaves_nothing(void)
{
	int error;

	loaded();
	kern_fail_next("devfs_set_cdevpriv", EBUSY);
	must(kern_open(VFSFREEZE_DEV_NAME, FWRITE, &error) == NULL);
	must_equal(error, EBUSY);
	unloaded();
}

int
main(void)
{
	holds(a_hold_begins_at_once_holds_and_lets_go);
	holds(poll_and_kevent_wake_once_for_each_change);
	holds(a_hold_expires_from_its_begin_and_devd_is_told);
	holds(a_suspension_that_is_too_slow_expires_as_it_returns);
	holds(let_go_before_and_during_the_suspension_never_holds);
	holds(a_failed_suspension_says_why_and_leaves_nothing_held);
	holds(without_a_thread_the_hold_fails_and_leaks_nothing);
	holds(a_mount_that_is_held_already_is_refused_at_once);
	holds(the_last_close_lets_go_without_waiting);
	holds(what_no_hold_can_mean_is_refused);
	holds(zfs_is_gated_only_when_that_is_asked_for);
	holds(other_types_are_written_out_in_the_hold_or_fail);
	holds(a_flush_is_a_write_that_waits_and_never_for_a_hold);
	holds(rights_come_first_and_the_jail_before_them);
	holds(what_is_not_understood_is_refused);
	holds(the_sysctls_bound_and_name_the_holds);
	holds(devd_hears_of_an_expiry_when_the_last_hold_has_ended);
	holds(an_unmount_that_waits_is_let_through_by_the_resume);
	holds(what_is_being_unmounted_is_refused_and_not_waited_for);
	holds(an_unmount_that_won_the_race_makes_the_hold_fail);
	holds(anothers_suspension_is_waited_for_in_the_thread);
	holds(a_slow_clean_up_delays_nobody_but_the_unload);
	holds(an_unload_is_refused_while_it_is_open_or_holds);
	holds(an_unload_waits_for_threads_that_clean_up);
	holds(a_node_that_cannot_be_made_is_no_load);
	holds(a_shutdown_lets_all_go_and_takes_no_more);
	holds(a_shutdown_does_not_wait_for_a_stuck_suspension_for_ever);
	holds(more_holds_than_threads_may_be_are_refused);
	holds(an_open_that_devfs_cannot_keep_leaves_nothing);
	return (check_result());
}
