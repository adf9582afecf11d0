/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Stories about the host's requests: their order, their time limit and
 * what the host hears.
 * The table of in-base defects in ../README.md names some of these claims.
 */
#include <errno.h>

#include "world.h"

static struct world w;

static void
check_and_freeze_go_to_the_app_then_to_the_fs_node(void)
{
	a_guest(&w, 1);
	host_asks(&w, IC_CHECK);
	did(&w, "arm, wake app1");
	reads(&w, FS, HV_VSS_NONE);
	says(&w, 1, HV_VSS_CHECK, OK);
	did(&w, "wake fs");
	says(&w, FS, HV_VSS_CHECK, OK);
	did(&w, "ok CHECK");

	host_asks(&w, IC_FREEZE);
	says(&w, 1, HV_VSS_FREEZE, OK);
	did(&w, "arm, wake app1, wake fs");
	says(&w, FS, HV_VSS_FREEZE, OK);
	did(&w, "ok FREEZE");
}

static void
thaw_goes_to_the_fs_node_then_to_the_app(void)
{
	a_guest(&w, 1);
	host_asks(&w, IC_THAW);
	did(&w, "arm, wake fs");
	reads(&w, 1, HV_VSS_NONE);
	says(&w, FS, HV_VSS_THAW, OK);
	did(&w, "wake app1");
	says(&w, 1, HV_VSS_THAW, OK);
	did(&w, "ok THAW");
}

static void
without_applications_the_fs_node_alone_decides(void)
{
	a_guest(&w, 0);
	host_asks(&w, IC_CHECK);
	says(&w, FS, HV_VSS_CHECK, NO);
	host_asks(&w, IC_FREEZE);
	says(&w, FS, HV_VSS_FREEZE, OK);
	host_asks(&w, IC_THAW);
	says(&w, FS, HV_VSS_THAW, OK);
	did(&w, "arm, wake fs, fail CHECK, arm, wake fs, ok FREEZE, "
	    "arm, wake fs, ok THAW");
}

static void
the_answer_to_check_carries_flags_5_and_to_dm_info_flags_0(void)
{
	uint8_t m[IC_ROOM];

	a_guest(&w, 0);
	host_asks(&w, IC_CHECK);
	says(&w, FS, HV_VSS_CHECK, OK);
	must_equal(ic_get32(w.answer + 36), 5);
	must_equal(w.answer_len, IC_VSS_LEN);

	size_t len = ic_vss(m, IC_DM_INFO);
	m[36] = 0xff;
	host_sends(&w, m, len, IC_DM_INFO);
	must_equal(ic_get32(w.answer + 36), 0);
	did(&w, "arm, wake fs, ok CHECK, ok DM_INFO");
}

static void
negotiation_is_answered_at_any_time_even_before_the_first_open(void)
{
	world_init(&w, 0);
	host_negotiates(&w);
	did(&w, "ok NEGOTIATE");
	opens(&w, VSS_NODE_FS);
	host_asks(&w, IC_FREEZE);
	host_negotiates(&w);
	did(&w, "arm, wake fs, ok NEGOTIATE");
	says(&w, FS, HV_VSS_FREEZE, OK);
	did(&w, "ok FREEZE");
	must_equal(w.core.fw_version, 0x30000);
	must_equal(w.core.msg_version, 0x50000);
}

static void
with_the_fs_node_closed_each_request_fails_at_once(void)
{
	world_init(&w, 0);
	host_asks(&w, IC_CHECK);
	must_equal(ic_get32(w.answer + 36), 5);
	host_asks(&w, IC_FREEZE);
	host_asks(&w, IC_THAW);
	did(&w, "fail CHECK, fail FREEZE, fail THAW");
	opens(&w, VSS_NODE_APP);
	host_asks(&w, IC_CHECK);
	host_asks(&w, IC_DM_INFO);
	did(&w, "fail CHECK, ok DM_INFO");
}

static void
every_message_is_answered_but_one_without_a_whole_header(void)
{
	uint8_t m[IC_ROOM];

	a_guest(&w, 0);
	for (size_t len = 0; len <= IC_ROOM; len++) {
		for (unsigned type = 0; type <= 6; type++) {
			ic_header(m, type, sizeof(m));
			host_sends(&w, m, len, 0xfe);
			must_equal(w.answered[w.sent], len >= 28);
			/* Operation 0 is CREATE, when all of it is there. */
			must(len < 28 || (ic_status(w.answer) == HV_S_OK) ==
			    (type == 5 && len >= 36));
			must(len < 28 || w.answer_len == len);
			w.trace[0] = '\0';
		}
		if (w.sent + 16 > WORLD_HOST_MSGS)
			w.sent = 0;
	}
	for (unsigned op = 0; op <= 0xff; op++) {
		if (op == IC_CHECK || op == IC_FREEZE || op == IC_THAW)
			continue;
		host_asks(&w, op);
		must(w.answered[w.sent]);
		must_equal(ic_status(w.answer), op <= IC_AUTO_RECOVER ?
		    HV_S_OK : HV_ERROR_NOT_SUPPORTED);
		w.trace[0] = '\0';
	}
}

static void
a_request_longer_than_any_real_one_is_served_and_echoed_in_part(void)
{
	uint8_t m[IC_ROOM];

	a_guest(&w, 0);
	ic_header(m, 5, sizeof(m));
	m[28] = IC_FREEZE;
	for (size_t len = VSS_HOST_MSG_MAX - 1; len <= IC_ROOM; len++) {
		host_sends(&w, m, len, IC_FREEZE);
		says(&w, FS, HV_VSS_FREEZE, OK);
		did(&w, "arm, wake fs, ok FREEZE");
		must_equal(w.answer_len, len < VSS_HOST_MSG_MAX ? len :
		    VSS_HOST_MSG_MAX);
	}
}

static void
a_second_message_never_overwrites_the_pending_one(void)
{
	uint8_t m[IC_ROOM];
	size_t len;

	a_guest(&w, 0);
	len = ic_vss(m, IC_CHECK);
	m[24] = 0x55;				/* its transaction id */
	host_sends(&w, m, len, IC_CHECK);
	len = ic_vss(m, IC_FREEZE);
	m[24] = 0x66;
	host_sends(&w, m, len, IC_FREEZE);
	did(&w, "arm, wake fs, fail FREEZE");
	must_equal(w.answer[24], 0x66);
	says(&w, FS, HV_VSS_CHECK, OK);
	did(&w, "ok CHECK");
	must_equal(w.answer[24], 0x55);
	must_equal(w.answer[28], IC_CHECK);
}

static void
a_message_that_arrives_while_busy_is_answered_with_failure(void)
{
	const unsigned ops[] = { IC_CHECK, IC_FREEZE, IC_THAW };

	for (int pending = 0; pending < 3; pending++)
		for (int next = 0; next < 3; next++) {
			if (ops[next] == IC_THAW && ops[pending] != IC_THAW)
				continue;	/* the next two claims */
			a_guest(&w, 0);
			host_asks(&w, ops[pending]);
			did(&w, "arm, wake fs");
			host_asks(&w, ops[next]);
			must(w.answered[2] && !w.answered[1]);
			must_equal(ic_status(w.answer), HV_E_FAIL);
			w.trace[0] = '\0';
			must_equal(w.core.counters.refused, 1);
		}
}

static void
a_thaw_fails_a_pending_check_or_freeze_and_takes_its_place(void)
{
	struct hv_vss_opt_msg late;

	a_guest(&w, 0);
	host_asks(&w, IC_FREEZE);
	late = reads(&w, FS, HV_VSS_FREEZE);
	host_asks(&w, IC_THAW);
	did(&w, "arm, wake fs, fail FREEZE, arm, wake fs");
	must_equal(writes(&w, FS, late, OK), ETIMEDOUT);
	says(&w, FS, HV_VSS_THAW, OK);
	did(&w, "ok THAW");

	host_asks(&w, IC_CHECK);
	host_asks(&w, IC_THAW);
	did(&w, "arm, wake fs, fail CHECK, arm, wake fs");
	says(&w, FS, HV_VSS_THAW, OK);
	did(&w, "ok THAW");
	must_equal(w.core.counters.cancelled, 2);
}

static void
closing_the_fs_node_answers_a_pending_request_at_once(void)
{
	const unsigned ops[] = { IC_CHECK, IC_FREEZE, IC_THAW };
	const uint32_t opts[] = { HV_VSS_CHECK, HV_VSS_FREEZE, HV_VSS_THAW };

	for (int i = 0; i < 3; i++)
		for (int progress = 0; progress < 3; progress++) {
			int first = ops[i] == IC_THAW ? FS : 1;
			int second = first == FS ? 1 : FS;

			a_guest(&w, 1);
			host_asks(&w, ops[i]);
			if (progress > 0)
				says(&w, first, opts[i], OK);
			if (progress > 1)
				reads(&w, second, opts[i]);
			closes(&w, FS);
			must(w.answered[1]);
			must_equal(ic_status(w.answer), HV_E_FAIL);
			must(!w.timer_armed);
		}
}

static void
the_time_limit_is_one_for_app_and_fs_together(void)
{
	a_guest(&w, 1);
	host_asks(&w, IC_FREEZE);
	must_equal(w.timer_ms, 15000);
	says(&w, 1, HV_VSS_FREEZE, OK);
	did(&w, "arm, wake app1, wake fs");	/* armed once */
	time_is_up(&w);
	did(&w, "fail FREEZE, wake app1");
	must_equal(w.core.counters.timeouts, 1);
}

static void
a_stray_timer_changes_nothing(void)
{
	a_guest(&w, 0);
	vss_core_timeout(&w.core);
	did(&w, "");
	must_equal(w.core.counters.timeouts, 0);
}

static void
done_says_whether_filesystems_may_be_frozen(void)
{
	a_guest(&w, 0);
	host_asks(&w, IC_CHECK);
	says(&w, FS, HV_VSS_CHECK, OK);
	must(w.done_opt == HV_VSS_CHECK && !w.done_may_hold);
	host_asks(&w, IC_FREEZE);
	says(&w, FS, HV_VSS_FREEZE, NO);
	must(w.done_opt == HV_VSS_FREEZE && !w.done_may_hold);
	host_asks(&w, IC_FREEZE);
	says(&w, FS, HV_VSS_FREEZE, OK);
	must(w.done_status == OK && w.done_may_hold);
	host_asks(&w, IC_CHECK);
	says(&w, FS, HV_VSS_CHECK, NO);
	must(w.done_opt == HV_VSS_CHECK && w.done_may_hold);
	host_asks(&w, IC_THAW);
	says(&w, FS, HV_VSS_THAW, NO);
	must(w.done_opt == HV_VSS_THAW && w.done_may_hold);
	host_asks(&w, IC_THAW);
	says(&w, FS, HV_VSS_THAW, OK);
	must(w.done_opt == HV_VSS_THAW && !w.done_may_hold);
	host_asks(&w, IC_FREEZE);
	reads(&w, FS, HV_VSS_FREEZE);
	time_is_up(&w);
	must(w.done_status == NO && w.done_may_hold);
	must(VSS_CORE_MAY_HOLD(&w.core));
	closes(&w, FS);
	must(!VSS_CORE_MAY_HOLD(&w.core));
	host_asks(&w, IC_THAW);
	must(w.done_opt == HV_VSS_THAW && !w.done_may_hold);
	must_equal(w.done_status, NO);
	must_equal(w.done_calls, 8);
}

static void
settings_are_clamped_and_a_new_time_limit_meets_the_next_request(void)
{
	struct vss_core_config config = { .max_apps = 99, .timeout_ms = 1 };

	memset(&w, 0, sizeof(w));
	vss_core_init(&w.core, &config, &world_ops, &w);
	must_equal(w.core.timeout_ms, VSS_TIMEOUT_LOWEST_MS);
	must_equal(w.core.max_apps, VSS_APPS_MAX);
	must_equal(w.core.freeze_timeout_ms, 0);
	vss_core_set_timeout_ms(&w.core, 0xffffffff);
	must_equal(w.core.timeout_ms, VSS_TIMEOUT_HIGHEST_MS);
	vss_core_set_freeze_timeout_ms(&w.core, 1);
	must_equal(w.core.freeze_timeout_ms, VSS_TIMEOUT_LOWEST_MS);
	vss_core_set_freeze_timeout_ms(&w.core, 0xffffffff);
	must_equal(w.core.freeze_timeout_ms, 900000);
	vss_core_set_timeout_ms(&w.core, 300);
	opens(&w, VSS_NODE_FS);
	host_asks(&w, IC_CHECK);
	must_equal(w.timer_ms, 300);
	vss_core_init(&w.core, NULL, &world_ops, &w);
	must_equal(w.core.timeout_ms, 15000);
	must_equal(w.core.max_apps, VSS_APPS_MAX);
}

static void
freeze_may_have_a_longer_limit_than_check_and_thaw(void)
{
	const unsigned ops[] = { IC_CHECK, IC_FREEZE, IC_THAW };

	a_guest(&w, 0);
	vss_core_set_freeze_timeout_ms(&w.core, 300000);
	for (int i = 0; i < 3; i++) {
		host_asks(&w, ops[i]);
		must_equal(w.timer_ms, ops[i] == IC_FREEZE ? 300000 : 15000);
		time_is_up(&w);
	}
	vss_core_set_freeze_timeout_ms(&w.core, 0);
	host_asks(&w, IC_FREEZE);
	must_equal(w.timer_ms, 15000);
	/* The THAW that displaces a FREEZE has a THAW's limit. */
	vss_core_set_freeze_timeout_ms(&w.core, 300000);
	host_asks(&w, IC_THAW);
	must_equal(w.timer_ms, 15000);
}

static void
create_delete_complete_and_auto_recover_succeed_and_touch_nothing(void)
{
	const unsigned ops[] = { 0, 1, 4, 7 };	/* in that order */
	uint8_t m[IC_ROOM];
	struct vss_core before;

	for (int state = 0; state < 3; state++)
		for (int i = 0; i < 4; i++) {
			if (state == 0)
				world_init(&w, 0);	/* no daemon */
			else
				a_guest(&w, 1);
			if (state == 2)
				host_asks(&w, IC_FREEZE);
			w.trace[0] = '\0';
			before = w.core;
			size_t len = ic_vss(m, ops[i]);
			m[36] = 0x5a;		/* its flags are echoed */
			host_sends(&w, m, len, ops[i]);
			did(&w, "ok OTHER");
			must_equal(w.answer[36], 0x5a);
			must_equal(w.answer_len, IC_VSS_LEN);
			before.counters.messages++;
			before.counters.answers++;
			must(memcmp(&before, &w.core, sizeof(before)) == 0);
			/* Without its operation it says nothing. */
			host_sends(&w, m, 35, ops[i]);
			did(&w, "fail OTHER");
		}
}

static void
the_counters_add_up_to_what_happened(void)
{
	uint8_t m[IC_ROOM] = { 0 };
	const struct vss_core_counters *c = &w.core.counters;

	a_guest(&w, 0);
	host_negotiates(&w);
	host_sends(&w, m, 27, 0xfe);
	host_asks(&w, IC_CHECK);
	host_asks(&w, IC_CHECK);
	host_asks(&w, IC_THAW);
	time_is_up(&w);
	host_asks(&w, 99);
	must_equal(c->messages, 5);
	must_equal(c->runts, 1);
	must_equal(c->requests, 3);
	must_equal(c->answers, 5);
	must_equal(c->refused, 1);
	must_equal(c->cancelled, 1);
	must_equal(c->timeouts, 1);
	must_equal(c->unsent, 0);
	w.unsendable = EAGAIN;
	host_negotiates(&w);
	must_equal(c->answers, 6);
	must_equal(c->unsent, 1);
}

static int logged[3];
static const char *last_failure;

static void
count_log(void *arg, int level, const char *what, int opener, uint32_t opt,
    uint64_t msgid)
{
	(void)arg;
	(void)opener;
	(void)msgid;
	must(level >= VSS_LOG_ERR && level <= VSS_LOG_DEBUG);
	must(opt < HV_VSS_COUNT);
	logged[level]++;
	if (level == VSS_LOG_ERR)
		last_failure = what;
}

static void
a_failure_is_logged_as_one_and_a_success_is_not(void)
{
	a_guest(&w, 0);
	w.core.ops.log = count_log;
	memset(logged, 0, sizeof(logged));
	host_negotiates(&w);
	host_asks(&w, IC_CHECK);
	says(&w, FS, HV_VSS_CHECK, OK);
	must_equal(logged[VSS_LOG_ERR], 0);
	must(logged[VSS_LOG_INFO] >= 2 && logged[VSS_LOG_DEBUG] >= 2);
	host_asks(&w, IC_CHECK);
	says(&w, FS, HV_VSS_CHECK, NO);
	must_equal(logged[VSS_LOG_ERR], 1);
	must(strcmp(last_failure, "host hears failure") == 0);
	host_asks(&w, 99);
	must_equal(logged[VSS_LOG_ERR], 2);
	host_asks(&w, IC_FREEZE);
	host_asks(&w, IC_FREEZE);
	must_equal(logged[VSS_LOG_ERR], 3);
	must(strstr(last_failure, "pending") != NULL);
}

int
main(void)
{
	holds(check_and_freeze_go_to_the_app_then_to_the_fs_node);
	holds(thaw_goes_to_the_fs_node_then_to_the_app);
	holds(without_applications_the_fs_node_alone_decides);
	holds(the_answer_to_check_carries_flags_5_and_to_dm_info_flags_0);
	holds(negotiation_is_answered_at_any_time_even_before_the_first_open);
	holds(with_the_fs_node_closed_each_request_fails_at_once);
	holds(every_message_is_answered_but_one_without_a_whole_header);
	holds(a_request_longer_than_any_real_one_is_served_and_echoed_in_part);
	holds(a_second_message_never_overwrites_the_pending_one);
	holds(a_message_that_arrives_while_busy_is_answered_with_failure);
	holds(a_thaw_fails_a_pending_check_or_freeze_and_takes_its_place);
	holds(closing_the_fs_node_answers_a_pending_request_at_once);
	holds(the_time_limit_is_one_for_app_and_fs_together);
	holds(a_stray_timer_changes_nothing);
	holds(done_says_whether_filesystems_may_be_frozen);
	holds(settings_are_clamped_and_a_new_time_limit_meets_the_next_request);
	holds(freeze_may_have_a_longer_limit_than_check_and_thaw);
	holds(create_delete_complete_and_auto_recover_succeed_and_touch_nothing);
	holds(the_counters_add_up_to_what_happened);
	holds(a_failure_is_logged_as_one_and_a_success_is_not);
	return (check_result());
}
