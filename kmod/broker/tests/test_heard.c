/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Stories about IOCHVVSSHEARD: what the host heard, and why.
 */
#include <errno.h>

#include "world.h"

static struct world w;

static const unsigned ops[] = { IC_CHECK, IC_FREEZE, IC_THAW };
static const uint32_t opts[] = { HV_VSS_CHECK, HV_VSS_FREEZE, HV_VSS_THAW };

/* Claims what is told of the newest request; app 0: of none. */
static void
told(uint32_t opt, uint32_t status, enum hv_vss_why why, uint32_t app)
{
	struct hv_vss_heard_req h = last_heard(&w);

	must_say(h.opt == opt, "told of %s, not %s", word_for_opt[h.opt],
	    word_for_opt[opt]);
	must_equal(h.status, status);
	must_equal(h.why, why);
	must_equal(h.app, app);
	must(h.msgid != 0);
	must_equal(h.pid != 0, app != 0);
}

static void
before_the_first_request_it_tells_a_version_and_nothing_else(void)
{
	static const struct hv_vss_heard empty;
	struct hv_vss_heard h;

	world_init(&w, 0);
	opens(&w, VSS_NODE_FS);
	h = hears(&w, FS);
	must_equal(h.version, 1);
	h.version = 0;
	must(memcmp(&h, &empty, sizeof(h)) == 0);
}

static void
each_end_of_a_request_is_told_with_its_reason(void)
{
	for (int i = 0; i < 3; i++) {
		int thaw = ops[i] == IC_THAW;
		int first = thaw ? FS : 1, second = thaw ? 1 : FS;

		a_guest(&w, 1);
		host_asks(&w, ops[i]);
		says(&w, first, opts[i], OK);
		must_equal(hears(&w, FS).total, 0);	/* not over yet */
		says(&w, second, opts[i], OK);
		told(opts[i], OK, HV_VSS_WHY_DONE, 0);

		a_guest(&w, 1);
		host_asks(&w, ops[i]);
		says(&w, first, opts[i], NO);
		if (thaw)
			told(opts[i], NO, HV_VSS_WHY_FS_REFUSED, 0);
		else
			told(opts[i], NO, HV_VSS_WHY_APP_REFUSED, 1);

		a_guest(&w, 1);
		host_asks(&w, ops[i]);
		says(&w, first, opts[i], OK);
		says(&w, second, opts[i], NO);
		if (thaw)
			told(opts[i], NO, HV_VSS_WHY_APP_REFUSED, 1);
		else
			told(opts[i], NO, HV_VSS_WHY_FS_REFUSED, 0);

		a_guest(&w, 1);
		host_asks(&w, ops[i]);
		time_is_up(&w);
		if (thaw)
			told(opts[i], NO, HV_VSS_WHY_FS_TIMEOUT, 0);
		else
			told(opts[i], NO, HV_VSS_WHY_APP_TIMEOUT, 1);

		a_guest(&w, 1);
		host_asks(&w, ops[i]);
		says(&w, first, opts[i], OK);
		time_is_up(&w);
		if (thaw)
			told(opts[i], NO, HV_VSS_WHY_APP_TIMEOUT, 1);
		else
			told(opts[i], NO, HV_VSS_WHY_FS_TIMEOUT, 0);

		a_guest(&w, 1);
		host_asks(&w, ops[i]);
		closes(&w, FS);
		opens(&w, VSS_NODE_FS);
		told(opts[i], NO, HV_VSS_WHY_FS_GONE, 0);

		a_guest(&w, 1);
		host_asks(&w, ops[i]);
		says(&w, first, opts[i], OK);
		closes(&w, 1);
		told(opts[i], thaw ? OK : NO, thaw ? HV_VSS_WHY_DONE :
		    HV_VSS_WHY_APP_GONE, thaw ? 0 : 1);

		a_guest(&w, 1);
		host_asks(&w, ops[i]);
		host_asks(&w, thaw ? IC_THAW : IC_CHECK);
		told(thaw ? HV_VSS_THAW : HV_VSS_CHECK, NO, HV_VSS_WHY_BUSY, 0);

		a_guest(&w, 1);
		host_asks(&w, ops[i]);
		host_asks(&w, IC_THAW);
		if (!thaw)
			told(opts[i], NO, HV_VSS_WHY_DISPLACED, 0);

		a_guest(&w, 1);
		closes(&w, FS);
		host_asks(&w, ops[i]);
		opens(&w, VSS_NODE_FS);
		told(opts[i], NO, HV_VSS_WHY_FS_CLOSED, 0);

		a_guest(&w, 1);
		host_asks(&w, ops[i]);
		vss_core_detach(&w.core);
		told(opts[i], NO, HV_VSS_WHY_DETACHED, 0);
	}
}

static void
an_answer_that_did_not_go_out_is_told_as_nothing_heard(void)
{
	a_guest(&w, 0);
	w.unsendable = ENOTCONN;
	host_asks(&w, IC_FREEZE);
	says(&w, FS, HV_VSS_FREEZE, OK);
	told(HV_VSS_FREEZE, HV_VSS_HEARD_NOTHING, HV_VSS_WHY_DONE, 0);
	w.unsendable = 0;
	host_asks(&w, IC_THAW);
	says(&w, FS, HV_VSS_THAW, OK);
	told(HV_VSS_THAW, OK, HV_VSS_WHY_DONE, 0);
	must_equal(w.core.counters.unsent, 1);
}

static void
its_ids_are_those_that_were_read_and_all_differ(void)
{
	uint64_t id, ids[4];
	struct hv_vss_heard h;

	a_guest(&w, 0);
	host_asks(&w, IC_CHECK);
	id = reads(&w, FS, HV_VSS_CHECK).msgid;
	host_asks(&w, IC_CHECK);		/* busy: no program READs it */
	host_asks(&w, IC_FREEZE);
	time_is_up(&w);
	closes(&w, FS);
	host_asks(&w, IC_THAW);
	opens(&w, VSS_NODE_FS);
	h = hears(&w, FS);
	must_equal(h.count, 4);
	must_equal(h.total, 4);
	must_equal(h.req[2].msgid, id);		/* it was over third */
	for (int i = 0; i < 4; i++) {
		ids[i] = h.req[i].msgid;
		for (int j = 0; j < i; j++)
			must(ids[i] != ids[j]);
	}
}

static void
the_last_sixteen_are_told_the_oldest_first(void)
{
	static const uint8_t zero[sizeof(struct hv_vss_heard)];
	struct hv_vss_heard h;
	uint64_t ids[40];

	a_guest(&w, 0);
	for (uint32_t i = 0; i < 40; i++) {
		w.now += 5000;
		host_asks(&w, IC_CHECK);
		ids[i] = reads(&w, FS, HV_VSS_CHECK).msgid;
		time_is_up(&w);
		w.trace[0] = '\0';
		h = hears(&w, FS);
		must_equal(h.total, i + 1);
		must_equal(h.count, i < 16 ? i + 1 : 16);
		for (uint32_t j = 0; j < h.count; j++)
			must_equal(h.req[j].msgid, ids[i + 1 - h.count + j]);
		must(memcmp(&h.req[h.count], zero, (HV_VSS_HEARD_MAX -
		    h.count) * sizeof(h.req[0])) == 0);
		for (uint32_t j = 0; j < h.count; j++)
			must(memcmp(h.req[j].reserved, zero,
			    sizeof(h.req[j].reserved)) == 0);
		must(memcmp(h.reserved, zero, sizeof(h.reserved)) == 0);
	}
}

static void
a_place_that_is_used_again_keeps_nothing_of_the_last_request(void)
{
	struct hv_vss_heard h;

	a_guest(&w, 1);
	for (int i = 0; i < 16; i++) {
		host_asks(&w, IC_CHECK);
		says(&w, 1, HV_VSS_CHECK, NO);
	}
	closes(&w, 1);
	for (uint32_t i = 1; i <= 16; i++) {
		host_asks(&w, IC_CHECK);
		says(&w, FS, HV_VSS_CHECK, OK);
		h = hears(&w, FS);
		for (uint32_t j = 0; j < 16; j++)
			must_equal(h.req[j].app != 0, j < 16 - i);
		w.trace[0] = '\0';
	}
}

static void
it_names_the_application_and_only_the_daemon_is_told_its_pid(void)
{
	struct hv_vss_heard h;
	int32_t pid;

	a_guest(&w, 3);
	pid = w.core.openers[2].pid;
	host_asks(&w, IC_FREEZE);
	says(&w, 1, HV_VSS_FREEZE, OK);
	says(&w, 2, HV_VSS_FREEZE, NO);
	h = hears(&w, FS);
	must_equal(h.req[0].app, 2);
	must_equal(h.req[0].pid, pid);
	must_equal(h.apps, 3);
	for (int i = 0; i < HV_VSS_HEARD_APPS; i++)
		must_equal(h.app_pid[i], i < 3 ?
		    w.core.openers[1 + i].pid : 0);
	h = hears(&w, 3);
	must_equal(h.req[0].app, 2);
	must_equal(h.req[0].pid, 0);
	must_equal(h.apps, 3);
	for (int i = 0; i < HV_VSS_HEARD_APPS; i++)
		must_equal(h.app_pid[i], 0);
	/* It goes, and another takes its number: the pid told is its own. */
	closes(&w, 2);
	h = hears(&w, FS);
	must_equal(h.req[0].pid, pid);
	must(h.apps == 2 && h.app_pid[1] == 0);
	must_equal(opens(&w, VSS_NODE_APP), 2);
	h = hears(&w, FS);
	must_equal(h.req[0].pid, pid);
	must(h.apps == 3 && h.app_pid[1] == w.core.openers[2].pid);
}

static void
an_app_that_says_no_to_a_thaw_is_named_even_if_it_closes_before_the_end(void)
{
	int32_t pid;

	a_guest(&w, 2);
	pid = w.core.openers[1].pid;
	host_asks(&w, IC_THAW);
	says(&w, FS, HV_VSS_THAW, OK);
	says(&w, 1, HV_VSS_THAW, NO);
	closes(&w, 1);
	must_equal(opens(&w, VSS_NODE_APP), 1);
	says(&w, 2, HV_VSS_THAW, NO);	/* the second to say so */
	told(HV_VSS_THAW, NO, HV_VSS_WHY_APP_REFUSED, 1);
	must_equal(last_heard(&w).pid, pid);

	/* Without the daemon it is the daemon's doing, though one refused. */
	a_guest(&w, 2);
	host_asks(&w, IC_THAW);
	says(&w, FS, HV_VSS_THAW, OK);
	says(&w, 1, HV_VSS_THAW, NO);
	closes(&w, FS);
	opens(&w, VSS_NODE_FS);
	told(HV_VSS_THAW, NO, HV_VSS_WHY_FS_GONE, 0);
}

static void
a_thaw_without_an_end_names_the_app_that_did_not_answer(void)
{
	a_guest(&w, 3);
	host_asks(&w, IC_THAW);
	says(&w, FS, HV_VSS_THAW, OK);
	says(&w, 1, HV_VSS_THAW, NO);
	says(&w, 2, HV_VSS_THAW, OK);
	time_is_up(&w);
	told(HV_VSS_THAW, NO, HV_VSS_WHY_APP_TIMEOUT, 3);
}

static void
the_drivers_own_thaws_and_other_messages_are_not_told(void)
{
	a_guest(&w, 1);
	host_asks(&w, IC_FREEZE);
	says(&w, 1, HV_VSS_FREEZE, OK);
	says(&w, FS, HV_VSS_FREEZE, NO);
	says(&w, 1, HV_VSS_THAW, NO);
	host_negotiates(&w);
	host_asks(&w, IC_DM_INFO);
	host_asks(&w, IC_BU_COMPLETE);
	host_asks(&w, 99);
	must_equal(hears(&w, FS).total, 1);
	told(HV_VSS_FREEZE, NO, HV_VSS_WHY_FS_REFUSED, 0);
}

static void
asking_needs_no_permission_to_write_but_an_open_node(void)
{
	struct hv_vss_heard h;

	a_guest(&w, 1);
	must_equal(vss_core_ioctl(&w.core, 1, IOCHVVSSHEARD, 0, &h), 0);
	must_equal(vss_core_heard(&w.core, 2, &h), ENXIO);
	must_equal(vss_core_heard(&w.core, -1, &h), ENXIO);
	must_equal(vss_core_heard(&w.core, VSS_OPENERS_MAX, &h), ENXIO);
	must_equal(h.version, 0);
	closes(&w, 1);
	must_equal(vss_core_ioctl(&w.core, 1, IOCHVVSSHEARD, 1, &h), ENXIO);
}

static void
asking_changes_nothing_and_works_after_detach(void)
{
	struct vss_core before;
	struct hv_vss_heard h;

	a_guest(&w, 1);
	host_asks(&w, IC_CHECK);
	before = w.core;
	hears(&w, FS);
	hears(&w, 1);
	must(memcmp(&before, &w.core, sizeof(before)) == 0);
	vss_core_detach(&w.core);
	h = hears(&w, 1);
	must_equal(h.req[0].why, HV_VSS_WHY_DETACHED);
	must_equal(h.req[0].status, VSS_FAIL);
}

/* What programs are compiled against; FreeBSD's numbers are checked there. */
static void
the_layout_is_the_one_that_is_documented(void)
{
	must_equal(sizeof(struct hv_vss_heard_req), 40);
	must_equal(sizeof(struct hv_vss_heard), 720);
	must_equal(offsetof(struct hv_vss_heard, late), 16);
	must_equal(offsetof(struct hv_vss_heard, apps), 24);
	must_equal(offsetof(struct hv_vss_heard, app_pid), 28);
	must_equal(offsetof(struct hv_vss_heard, req), 80);
	must_equal(offsetof(struct hv_vss_heard_req, why), 16);
	must_equal(offsetof(struct hv_vss_heard_req, pid), 24);
	must_equal(HV_VSS_WHY_DETACHED, 11);
	must_equal(VSS_APPS_MAX, HV_VSS_HEARD_APPS);
}

int
main(void)
{
	holds(before_the_first_request_it_tells_a_version_and_nothing_else);
	holds(each_end_of_a_request_is_told_with_its_reason);
	holds(an_answer_that_did_not_go_out_is_told_as_nothing_heard);
	holds(its_ids_are_those_that_were_read_and_all_differ);
	holds(the_last_sixteen_are_told_the_oldest_first);
	holds(a_place_that_is_used_again_keeps_nothing_of_the_last_request);
	holds(it_names_the_application_and_only_the_daemon_is_told_its_pid);
	holds(an_app_that_says_no_to_a_thaw_is_named_even_if_it_closes_before_the_end);
	holds(a_thaw_without_an_end_names_the_app_that_did_not_answer);
	holds(the_drivers_own_thaws_and_other_messages_are_not_told);
	holds(asking_needs_no_permission_to_write_but_an_open_node);
	holds(asking_changes_nothing_and_works_after_detach);
	holds(the_layout_is_the_one_that_is_documented);
	return (check_result());
}
