/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Stories about applications: several at once, and that none of them is
 * left frozen by a request that failed.
 * The table of in-base defects in ../README.md names some of these claims.
 */
#include <errno.h>

#include "world.h"

static struct world w;

static void
a_freeze_that_a_thaw_displaced_is_thawed_by_it_fs_first(void)
{
	a_guest(&w, 1);
	host_asks(&w, IC_FREEZE);
	says(&w, 1, HV_VSS_FREEZE, OK);
	reads(&w, FS, HV_VSS_FREEZE);
	host_asks(&w, IC_THAW);
	did(&w, "arm, wake app1, wake fs, fail FREEZE, arm, wake fs");
	reads(&w, 1, HV_VSS_NONE);
	says(&w, FS, HV_VSS_THAW, OK);
	says(&w, 1, HV_VSS_THAW, OK);
	did(&w, "wake app1, ok THAW");
	reads(&w, 1, HV_VSS_NONE);
}

static void
a_freeze_refused_by_the_fs_node_is_thawed_for_the_app(void)
{
	a_guest(&w, 1);
	host_asks(&w, IC_FREEZE);
	says(&w, 1, HV_VSS_FREEZE, OK);
	says(&w, FS, HV_VSS_FREEZE, NO);
	did(&w, "arm, wake app1, wake fs, fail FREEZE, wake app1");
	/* Nothing waits for it: the host is served meanwhile. */
	host_asks(&w, IC_CHECK);
	did(&w, "arm, wake app1");
	says(&w, 1, HV_VSS_THAW, NO);
	says(&w, 1, HV_VSS_CHECK, OK);
	says(&w, FS, HV_VSS_CHECK, OK);
	did(&w, "wake fs, ok CHECK");
}

static void
a_freeze_that_fails_in_any_way_is_thawed_for_each_app_that_read_it(void)
{
	for (int how = 0; how < 5; how++) {
		a_guest(&w, 3);
		host_asks(&w, IC_FREEZE);
		struct hv_vss_opt_msg one = reads(&w, 1, HV_VSS_FREEZE);
		struct hv_vss_opt_msg two = reads(&w, 2, HV_VSS_FREEZE);
		/* The third never reads it, so it has nothing to undo. */
		did(&w, "arm, wake app1, wake app2, wake app3");
		switch (how) {
		case 0:
			must_equal(writes(&w, 1, one, NO), 0);
			did(&w, "fail FREEZE, wake app1, wake app2");
			break;
		case 1:
			time_is_up(&w);
			did(&w, "fail FREEZE, wake app1, wake app2");
			break;
		case 2:
			closes(&w, 3);
			did(&w, "fail FREEZE, wake app1, wake app2");
			break;
		case 3:
			closes(&w, FS);
			did(&w, "fail FREEZE, wake app1, wake app2");
			break;
		case 4:
			closes(&w, 1);
			did(&w, "fail FREEZE, wake app2");
			break;
		}
		says(&w, 2, HV_VSS_THAW, OK);
		reads(&w, 2, HV_VSS_NONE);
		must_equal(vss_core_is_readable(&w.core, 3), 0);
		must_equal(writes(&w, 2, two, OK), 0);
		must_equal(hears(&w, 2).late, two.msgid);
	}
}

static void
a_thaw_reaches_the_app_whatever_the_fs_node_answered(void)
{
	for (int how = 0; how < 4; how++) {
		a_guest(&w, 1);
		host_asks(&w, IC_FREEZE);
		says(&w, 1, HV_VSS_FREEZE, OK);
		says(&w, FS, HV_VSS_FREEZE, OK);
		did(&w, "arm, wake app1, wake fs, ok FREEZE");
		if (how == 3)
			closes(&w, FS);
		host_asks(&w, IC_THAW);
		if (how == 0)
			says(&w, FS, HV_VSS_THAW, NO);
		else if (how == 1)
			time_is_up(&w);
		else if (how == 2)
			closes(&w, FS);
		did(&w, how == 3 ? "fail THAW, wake app1" :
		    "arm, wake fs, fail THAW, wake app1");
		says(&w, 1, HV_VSS_THAW, OK);
		reads(&w, 1, HV_VSS_NONE);
	}
}

static void
a_thaw_the_app_does_not_read_in_time_is_followed_by_the_drivers_own(void)
{
	a_guest(&w, 1);
	host_asks(&w, IC_FREEZE);
	says(&w, 1, HV_VSS_FREEZE, OK);
	says(&w, FS, HV_VSS_FREEZE, OK);
	host_asks(&w, IC_THAW);
	says(&w, FS, HV_VSS_THAW, OK);
	time_is_up(&w);
	did(&w, "arm, wake app1, wake fs, ok FREEZE, arm, wake fs, wake app1, "
	    "fail THAW, wake app1");
	says(&w, 1, HV_VSS_THAW, OK);
	reads(&w, 1, HV_VSS_NONE);
}

static void
a_good_freeze_leaves_applications_alone_whatever_a_check_says(void)
{
	a_guest(&w, 1);
	host_asks(&w, IC_FREEZE);
	says(&w, 1, HV_VSS_FREEZE, OK);
	says(&w, FS, HV_VSS_FREEZE, OK);
	host_asks(&w, IC_CHECK);
	says(&w, 1, HV_VSS_CHECK, OK);
	says(&w, FS, HV_VSS_CHECK, NO);
	reads(&w, 1, HV_VSS_NONE);
	did(&w, "arm, wake app1, wake fs, ok FREEZE, arm, wake app1, wake fs, "
	    "fail CHECK");
}

static void
several_applications_are_asked_at_once_and_all_must_agree(void)
{
	a_guest(&w, 3);
	host_asks(&w, IC_FREEZE);
	did(&w, "arm, wake app1, wake app2, wake app3");
	says(&w, 2, HV_VSS_FREEZE, OK);
	says(&w, 3, HV_VSS_FREEZE, OK);
	did(&w, "");
	says(&w, 1, HV_VSS_FREEZE, OK);
	did(&w, "wake fs");
	says(&w, FS, HV_VSS_FREEZE, OK);
	did(&w, "ok FREEZE");

	host_asks(&w, IC_CHECK);
	says(&w, 3, HV_VSS_CHECK, NO);
	did(&w, "arm, wake app1, wake app2, wake app3, fail CHECK");
	must_equal(vss_core_is_readable(&w.core, 1), 0);
}

static void
an_app_that_closes_fails_check_and_freeze_even_after_it_agreed(void)
{
	const unsigned ops[] = { IC_CHECK, IC_FREEZE };
	const uint32_t opts[] = { HV_VSS_CHECK, HV_VSS_FREEZE };

	for (int i = 0; i < 2; i++)
		for (int agreed = 0; agreed < 2; agreed++) {
			a_guest(&w, 1);
			host_asks(&w, ops[i]);
			if (agreed)
				says(&w, 1, opts[i], OK);
			closes(&w, 1);
			must(w.answered[1]);
			must_equal(ic_status(w.answer), HV_E_FAIL);
			must_equal(vss_core_is_readable(&w.core, FS), 0);
		}
}

static void
in_a_thaw_all_apps_are_asked_and_one_no_makes_it_fail(void)
{
	for (int no = 1; no <= 3; no++) {
		a_guest(&w, 3);
		host_asks(&w, IC_THAW);
		says(&w, FS, HV_VSS_THAW, OK);
		says(&w, 1, HV_VSS_THAW, no == 1 ? NO : OK);
		says(&w, 2, HV_VSS_THAW, no == 2 ? NO : OK);
		did(&w, "arm, wake fs, wake app1, wake app2, wake app3");
		says(&w, 3, HV_VSS_THAW, no == 3 ? NO : OK);
		did(&w, "fail THAW");
		must_equal(last_heard(&w).app, no);
	}
}

static void
in_a_thaw_an_app_that_closes_is_passed_over(void)
{
	a_guest(&w, 3);
	host_asks(&w, IC_THAW);
	says(&w, FS, HV_VSS_THAW, OK);
	says(&w, 1, HV_VSS_THAW, OK);
	closes(&w, 2);
	did(&w, "arm, wake fs, wake app1, wake app2, wake app3");
	says(&w, 3, HV_VSS_THAW, OK);
	did(&w, "ok THAW");

	a_guest(&w, 1);
	host_asks(&w, IC_THAW);
	says(&w, FS, HV_VSS_THAW, OK);
	says(&w, 1, HV_VSS_THAW, NO);
	did(&w, "arm, wake fs, wake app1, fail THAW");

	host_asks(&w, IC_THAW);
	says(&w, FS, HV_VSS_THAW, OK);
	closes(&w, 1);
	did(&w, "arm, wake fs, wake app1, ok THAW");
}

static void
an_app_that_opens_during_a_request_takes_no_part_in_it(void)
{
	a_guest(&w, 1);
	host_asks(&w, IC_FREEZE);
	must_equal(opens(&w, VSS_NODE_APP), 2);
	reads(&w, 2, HV_VSS_NONE);
	says(&w, 1, HV_VSS_FREEZE, OK);
	closes(&w, 2);
	says(&w, FS, HV_VSS_FREEZE, OK);
	did(&w, "arm, wake app1, wake fs, ok FREEZE");
}

int
main(void)
{
	holds(a_freeze_that_a_thaw_displaced_is_thawed_by_it_fs_first);
	holds(a_freeze_refused_by_the_fs_node_is_thawed_for_the_app);
	holds(a_freeze_that_fails_in_any_way_is_thawed_for_each_app_that_read_it);
	holds(a_thaw_reaches_the_app_whatever_the_fs_node_answered);
	holds(a_thaw_the_app_does_not_read_in_time_is_followed_by_the_drivers_own);
	holds(a_good_freeze_leaves_applications_alone_whatever_a_check_says);
	holds(several_applications_are_asked_at_once_and_all_must_agree);
	holds(an_app_that_closes_fails_check_and_freeze_even_after_it_agreed);
	holds(in_a_thaw_all_apps_are_asked_and_one_no_makes_it_fail);
	holds(in_a_thaw_an_app_that_closes_is_passed_over);
	holds(an_app_that_opens_during_a_request_takes_no_part_in_it);
	return (check_result());
}
