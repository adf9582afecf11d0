/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Stories about what a program sees that has opened a node: READ, WRITE
 * and their errors, the bound on openers, ids, detach.
 * The table of in-base defects in ../README.md names some of these claims.
 */
#include <errno.h>

#include "world.h"

static struct world w;

static void
a_new_daemon_does_not_inherit_the_old_ones_request(void)
{
	struct hv_vss_opt_msg old;

	a_guest(&w, 0);
	host_asks(&w, IC_FREEZE);
	old = reads(&w, FS, HV_VSS_FREEZE);
	closes(&w, FS);
	opens(&w, VSS_NODE_FS);
	reads(&w, FS, HV_VSS_NONE);
	must_equal(writes(&w, FS, old, OK), ENOENT);
}

static void
a_late_write_is_told_so_and_a_foreign_one_too(void)
{
	struct hv_vss_opt_msg m, foreign;

	a_guest(&w, 1);
	host_asks(&w, IC_CHECK);
	m = reads(&w, 1, HV_VSS_CHECK);
	must_equal(writes(&w, FS, m, OK), ENOENT);	/* never READ by it */
	foreign = m;
	foreign.msgid++;
	must_equal(writes(&w, 1, foreign, OK), ENOENT);
	must_equal(writes(&w, 1, m, OK), 0);
	m = reads(&w, FS, HV_VSS_CHECK);
	time_is_up(&w);
	must_equal(writes(&w, FS, m, OK), ETIMEDOUT);
	must_equal(w.core.counters.late_answers, 1);
	must_equal(hears(&w, FS).late, m.msgid);
	must_equal(hears(&w, 1).late, 0);
	did(&w, "arm, wake app1, wake fs, fail CHECK");
}

static void
an_apps_late_write_succeeds_and_is_told_by_the_other_ioctl(void)
{
	struct hv_vss_opt_msg m;

	a_guest(&w, 2);
	host_asks(&w, IC_FREEZE);
	m = reads(&w, 1, HV_VSS_FREEZE);
	time_is_up(&w);
	must_equal(hears(&w, 1).late, 0);	/* not yet answered */
	must_equal(writes(&w, 1, m, OK), 0);
	must_equal(hears(&w, 1).late, m.msgid);
	must_equal(hears(&w, 2).late, 0);
	must_equal(w.core.counters.late_answers, 1);
	/* An answer in time changes nothing about that. */
	says(&w, 1, HV_VSS_THAW, OK);
	must_equal(hears(&w, 1).late, m.msgid);
	closes(&w, 1);
	must_equal(opens(&w, VSS_NODE_APP), 1);
	must_equal(hears(&w, 1).late, 0);
}

static void
an_unread_request_cannot_be_answered(void)
{
	struct hv_vss_opt_msg m = { .opt = HV_VSS_CHECK };

	a_guest(&w, 0);
	host_asks(&w, IC_CHECK);
	m.msgid = w.core.req.msgid;
	must_equal(writes(&w, FS, m, OK), ENOENT);
	says(&w, FS, HV_VSS_CHECK, OK);
	did(&w, "arm, wake fs, ok CHECK");
}

static void
exactly_the_last_sixteen_ids_are_known_as_late(void)
{
	struct hv_vss_opt_msg m[17];

	a_guest(&w, 0);
	for (int i = 0; i < 17; i++) {
		host_asks(&w, IC_CHECK);
		m[i] = reads(&w, FS, HV_VSS_CHECK);
		time_is_up(&w);
	}
	must_equal(writes(&w, FS, m[0], OK), ENOENT);
	for (int i = 1; i < 17; i++)
		must_equal(writes(&w, FS, m[i], OK), ETIMEDOUT);
}

static void
a_wrong_opt_is_refused_and_the_right_one_still_awaited(void)
{
	const uint32_t wrong[] = { 0, 1, 3, 4, 5, 0x7fffffff, 0xffffffff };
	struct hv_vss_opt_msg m, n;

	a_guest(&w, 1);
	host_asks(&w, IC_FREEZE);
	m = reads(&w, 1, HV_VSS_FREEZE);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		n = m;
		n.opt = wrong[i];
		must_equal(writes(&w, 1, n, OK), EINVAL);
	}
	must_equal(writes(&w, 1, m, OK), 0);
	says(&w, FS, HV_VSS_FREEZE, NO);
	m = reads(&w, 1, HV_VSS_THAW);		/* the driver's own */
	n = m;
	n.opt = HV_VSS_FREEZE;
	must_equal(writes(&w, 1, n, OK), EINVAL);
	must_equal(writes(&w, 1, m, OK), 0);
	did(&w, "arm, wake app1, wake fs, fail FREEZE, wake app1");
}

static void
any_status_but_success_is_a_no_and_reserved_bytes_do_not_matter(void)
{
	struct hv_vss_opt_msg m;

	a_guest(&w, 0);
	host_asks(&w, IC_CHECK);
	m = reads(&w, FS, HV_VSS_CHECK);
	memset(m.reserved, 0xff, sizeof(m.reserved));
	must_equal(writes(&w, FS, m, 0x80000000), 0);
	did(&w, "arm, wake fs, fail CHECK");
}

static void
an_unknown_ioctl_gets_enotty_and_read_and_write_need_permission(void)
{
	struct hv_vss_opt_msg m;

	a_guest(&w, 0);
	must_equal(vss_core_ioctl(&w.core, FS, _IO('v', 1), 1, NULL), ENOTTY);
	must_equal(vss_core_ioctl(&w.core, FS, _IO('v', 1), 0, NULL), ENOTTY);
	host_asks(&w, IC_CHECK);
	must_equal(vss_core_ioctl(&w.core, FS, IOCHVVSSREAD, 0, &m), EPERM);
	must_equal(vss_core_ioctl(&w.core, FS, IOCHVVSSREAD, 1, &m), 0);
	must_equal(vss_core_ioctl(&w.core, FS, IOCHVVSSWRITE, 0, &m), EPERM);
	did(&w, "arm, wake fs");
	must_equal(vss_core_ioctl(&w.core, FS, IOCHVVSSWRITE, 1, &m), 0);
	did(&w, "ok CHECK");
}

static void
a_node_beyond_its_openers_is_busy_and_free_again_after_a_close(void)
{
	int opener;

	for (uint32_t most = 1; most <= VSS_APPS_MAX; most++) {
		world_init(&w, most);
		opens(&w, VSS_NODE_FS);
		must_equal(vss_core_open(&w.core, VSS_NODE_FS, 1, &opener),
		    EBUSY);
		for (uint32_t i = 0; i < most; i++)
			opens(&w, VSS_NODE_APP);
		must_equal(vss_core_open(&w.core, VSS_NODE_APP, 1, &opener),
		    EBUSY);
		closes(&w, 1);
		must_equal(opens(&w, VSS_NODE_APP), 1);
		closes(&w, FS);
		opens(&w, VSS_NODE_FS);
	}
}

static void
ids_tell_the_time_and_stay_unique_while_the_clock_steps(void)
{
	static uint64_t ids[1024];
	const uint64_t start = 1700000000ULL * 1000000000;

	a_guest(&w, 0);
	for (int i = 0; i < 1024; i++) {
		/* It stands still, or falls back to the same instant. */
		w.now = start + (i % 3 == 0 ? 3600ULL * 1000000000 : 0);
		host_asks(&w, IC_CHECK);
		ids[i] = reads(&w, FS, HV_VSS_CHECK).msgid;
		must(ids[i] + 1024 > w.now && ids[i] < w.now + 1024);
		time_is_up(&w);
		w.trace[0] = '\0';
		for (int j = 0; j < i; j++)
			must(ids[j] != ids[i]);
	}
}

static void
detach_answers_what_is_pending_and_wakes_all_and_nothing_works_after(void)
{
	struct hv_vss_opt_msg m;
	int opener;

	a_guest(&w, 2);
	host_asks(&w, IC_FREEZE);
	m = reads(&w, 1, HV_VSS_FREEZE);
	vss_core_detach(&w.core);
	did(&w, "arm, wake app1, wake app2, fail FREEZE, wake fs, wake app1, "
	    "wake app2");
	for (int i = 0; i <= 2; i++) {
		must(vss_core_is_readable(&w.core, i));
		must_equal(vss_core_read(&w.core, i, &m), ENXIO);
		must_equal(vss_core_write(&w.core, i, &m), ENXIO);
		must_equal(vss_core_ioctl(&w.core, i, _IO('v', 1), 1, &m),
		    ENXIO);
	}
	must_equal(vss_core_open(&w.core, VSS_NODE_APP, 1, &opener), ENXIO);
	host_asks(&w, IC_THAW);
	vss_core_timeout(&w.core);
	vss_core_detach(&w.core);
	did(&w, "");
	for (int i = 0; i <= 2; i++)
		closes(&w, i);
	must_equal(vss_core_openers(&w.core, VSS_NODE_FS), 0);
	must_equal(vss_core_openers(&w.core, VSS_NODE_APP), 0);
}

static void
the_drivers_own_thaws_have_ids_of_their_own_and_end_with_detach(void)
{
	struct hv_vss_opt_msg one, two, m;

	a_guest(&w, 2);
	host_asks(&w, IC_FREEZE);
	one = reads(&w, 1, HV_VSS_FREEZE);
	reads(&w, 2, HV_VSS_FREEZE);
	time_is_up(&w);
	m = one;
	one = reads(&w, 1, HV_VSS_THAW);
	two = reads(&w, 2, HV_VSS_THAW);
	must(one.msgid != two.msgid && one.msgid != m.msgid);
	must_equal(writes(&w, 1, one, OK), 0);
	must_equal(writes(&w, 2, one, OK), ENOENT);
	must_equal(w.core.counters.driver_thaws, 2);
	vss_core_detach(&w.core);
	must_equal(writes(&w, 2, two, OK), ENXIO);
	must_equal(w.core.openers[2].own, VSS_PART_NONE);
}

static void
a_new_opener_knows_nothing_of_the_last_one_in_its_place(void)
{
	struct hv_vss_opt_msg m;

	a_guest(&w, 1);
	host_asks(&w, IC_FREEZE);
	m = reads(&w, 1, HV_VSS_FREEZE);
	closes(&w, 1);
	opens(&w, VSS_NODE_APP);
	must_equal(writes(&w, 1, m, OK), ENOENT);
	reads(&w, 1, HV_VSS_NONE);
}

static void
the_getters_tell_what_is_so(void)
{
	struct hv_vss_opt_msg m = { .opt = HV_VSS_CHECK };

	a_guest(&w, 3);
	must_equal(vss_core_openers(&w.core, VSS_NODE_FS), 1);
	must_equal(vss_core_openers(&w.core, VSS_NODE_APP), 3);
	host_asks(&w, IC_FREEZE);
	must_equal(w.core.req.opt, HV_VSS_FREEZE);
	must_equal(vss_core_stage(&w.core), VSS_ASKING_APPS);
	must_equal(vss_core_is_readable(&w.core, -1), 0);
	must_equal(vss_core_is_readable(&w.core, VSS_OPENERS_MAX), 0);
	must_equal(vss_core_read(&w.core, -1, &m), ENXIO);
	must_equal(vss_core_read(&w.core, VSS_OPENERS_MAX, &m), ENXIO);
	must_equal(vss_core_write(&w.core, 4, &m), ENXIO);	/* closed */
	must(vss_core_size() == sizeof(w.core));
	must(vss_core_size() % vss_core_align() == 0);
}

int
main(void)
{
	holds(a_new_daemon_does_not_inherit_the_old_ones_request);
	holds(a_late_write_is_told_so_and_a_foreign_one_too);
	holds(an_apps_late_write_succeeds_and_is_told_by_the_other_ioctl);
	holds(an_unread_request_cannot_be_answered);
	holds(exactly_the_last_sixteen_ids_are_known_as_late);
	holds(a_wrong_opt_is_refused_and_the_right_one_still_awaited);
	holds(any_status_but_success_is_a_no_and_reserved_bytes_do_not_matter);
	holds(an_unknown_ioctl_gets_enotty_and_read_and_write_need_permission);
	holds(a_node_beyond_its_openers_is_busy_and_free_again_after_a_close);
	holds(ids_tell_the_time_and_stay_unique_while_the_clock_steps);
	holds(detach_answers_what_is_pending_and_wakes_all_and_nothing_works_after);
	holds(the_drivers_own_thaws_have_ids_of_their_own_and_end_with_detach);
	holds(a_new_opener_knows_nothing_of_the_last_one_in_its_place);
	holds(the_getters_tell_what_is_so);
	return (check_result());
}
