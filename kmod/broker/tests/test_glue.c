/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Stories about the FreeBSD glue on the stand-in kernel of kern/: the real
 * hv_vss.c, vss_nodes.c and vss_sysctl.c, with every lock, sleep and lifetime
 * rule asserted at each call.
 */
#include "../../tests/kern/kern.h"
#undef malloc
#undef free
#include "../hv_snapshot.h"
#include "../../tests/check.h"
#include "ic.h"

#define	OK	VSS_SUCCESS
#define	NO	VSS_FAIL

static struct kern_file *fs, *app;
static char text[128];

static struct kern_file *
opens(const char *node, int flags)
{
	int error;
	struct kern_file *f = kern_open(node, flags, &error);

	must_say(f != NULL, "open %s: error %d", node, error);
	return (f);
}

static int
open_error(const char *node)
{
	int error;

	must(kern_open(node, FWRITE, &error) == NULL);
	return (error);
}

static void
attached(void)
{
	kern_reset();
	must_equal(kern_attach("vmbus"), 0);
}

static void
running(void)
{
	attached();
	fs = opens(FS_VSS_DEV_NAME, FWRITE);
	app = opens(APP_VSS_DEV_NAME, FWRITE);
}

/* Everything down again; kern_reset() then claims that nothing is left. */
static void
gone(void)
{
	kern_close(fs);
	kern_close(app);
	must_equal(kern_detach(), 0);
	kern_reset();
}

static void
host_asks(unsigned operation)
{
	uint8_t m[IC_ROOM];

	kern_host_sends(m, ic_vss(m, operation));
}

/* The status of the one answer there is; 1 if there is none. */
static uint32_t
host_hears(void)
{
	uint8_t m[IC_ROOM];

	return (kern_host_gets(m, sizeof(m)) == 0 ? 1 : ic_status(m));
}

static void
says(struct kern_file *f, uint32_t opt, uint32_t status)
{
	struct hv_vss_opt_msg m;

	must_equal(kern_poll(f, POLLIN), POLLIN);
	must_equal(kern_ioctl(f, IOCHVVSSREAD, &m), 0);
	must_equal(m.opt, opt);
	m.status = status;
	must_equal(kern_ioctl(f, IOCHVVSSWRITE, &m), 0);
}

static void
a_backup_goes_from_the_channel_through_both_nodes_and_back(void)
{
	struct hv_vss_opt_msg m;

	running();
	host_asks(IC_CHECK);
	says(app, HV_VSS_CHECK, OK);
	must_equal(kern_ioctl(fs, IOCHVVSSREAD, &m), 0);
	must(m.msgid / 1000 == 1700000000ULL * 1000000 ||
	    m.msgid / 1000 == 1700000000ULL * 1000000 - 1);
	must_equal(kern_ioctl(fs, IOCHVVSSWRITE, &m), 0);
	must_equal(host_hears(), 0);
	must_equal(kern_callout_ms(), -1);
	host_asks(IC_FREEZE);
	must_equal(host_hears(), 1);
	says(app, HV_VSS_FREEZE, OK);
	says(fs, HV_VSS_FREEZE, OK);
	must_equal(host_hears(), 0);
	host_asks(IC_THAW);
	says(fs, HV_VSS_THAW, OK);
	says(app, HV_VSS_THAW, OK);
	must_equal(host_hears(), 0);
	must_equal(kern_sysctl_number("requests"), 3);
	gone();
}

static void
it_outbids_the_in_base_driver_for_the_vss_channel_and_no_other(void)
{
	kern_reset();
	must_equal(kern_probe("vmbus"), BUS_PROBE_VENDOR);
	must(BUS_PROBE_VENDOR > BUS_PROBE_DEFAULT);
	kern_fail_next("probe_guid", 1);
	must_equal(kern_probe("vmbus"), ENXIO);
	kern_hint("hvvssb.0.disabled", 1);
	must_equal(kern_probe("vmbus"), ENXIO);
	kern_reset();
}

static void
what_the_host_said_before_the_channel_opened_is_answered(void)
{
	kern_reset();
	host_asks(IC_DM_INFO);
	host_asks(IC_FREEZE);
	must_equal(kern_attach("vmbus"), 0);
	must_equal(host_hears(), 0);
	must_equal(host_hears(), 0x80004005);
	must_equal(kern_detach(), 0);
	kern_reset();
}

static void
a_program_asleep_in_poll_or_kevent_is_woken_by_its_request(void)
{
	struct knote kn, other;

	running();
	must_equal(kern_kevent(fs, &kn, EVFILT_WRITE), EINVAL);
	must_equal(kern_kevent(fs, &kn, EVFILT_READ), 0);
	must_equal(kern_kevent(app, &other, EVFILT_READ), 0);
	must_equal(kern_poll(fs, POLLIN), 0);
	must_equal(kern_poll(app, POLLIN), 0);
	host_asks(IC_THAW);
	must_equal(kern_selected(), 1);
	must(kn.active && kn.kn_data == 1 && !other.active);
	must_equal(kern_poll(fs, POLLIN | POLLRDNORM), POLLIN | POLLRDNORM);
	says(fs, HV_VSS_THAW, OK);
	must(other.active);
	must_equal(kern_selected(), 1);
	kn.kn_fop->f_detach(&kn);	/* as when a kqueue is closed */
	other.kn_fop->f_detach(&other);
	must(kn.list == NULL && other.list == NULL);
	must_equal(kern_poll(fs, POLLIN), 0);	/* asleep when it closes */
	gone();
	must_equal(kern_selected(), 0);		/* kern_reset() forgot it */
}

static void
when_the_callout_fires_the_host_hears_failure_and_the_late_are_told(void)
{
	struct hv_vss_opt_msg m;
	struct hv_vss_heard h;

	running();
	must_equal(kern_callout_ms(), -1);
	host_asks(IC_FREEZE);
	must_equal(kern_callout_ms(), 15000);
	must_equal(kern_ioctl(app, IOCHVVSSREAD, &m), 0);
	kern_callout_fires();
	must_equal(host_hears(), 0x80004005);
	/* The in-base driver's applications end when a WRITE fails. */
	must_equal(kern_ioctl(app, IOCHVVSSWRITE, &m), 0);
	must_equal(kern_ioctl(app, IOCHVVSSHEARD, &h), 0);
	must_equal(h.late, m.msgid);
	must_equal(kern_callout_ms(), -1);
	must_equal(kern_sysctl_number("timeouts"), 1);
	must_equal(kern_sysctl_number("late_answers"), 1);
	must_equal(kern_sysctl_number("driver_thaws"), 1);
	says(app, HV_VSS_THAW, OK);
	host_asks(IC_THAW);
	must_equal(kern_ioctl(fs, IOCHVVSSREAD, &m), 0);
	kern_callout_fires();
	must_equal(kern_ioctl(fs, IOCHVVSSWRITE, &m), ETIMEDOUT);
	gone();
}

static void
read_and_write_need_a_descriptor_open_for_writing_others_get_enotty(void)
{
	struct hv_vss_opt_msg m;
	struct hv_vss_heard h;
	struct kern_file *reader;
	int on = 1, off = 0;

	running();
	reader = opens(APP_VSS_DEV_NAME, 0);
	must_equal(kern_ioctl(reader, IOCHVVSSREAD, &m), EPERM);
	must_equal(kern_ioctl(reader, IOCHVVSSWRITE, &m), EPERM);
	must_equal(kern_ioctl(reader, IOCHVVSSHEARD, &h), 0);
	must_equal(h.version, HV_VSS_HEARD_VERSION);
	must_equal(kern_ioctl(fs, _IO('v', 1), NULL), ENOTTY);
	must_equal(kern_ioctl(fs, FIONBIO, &on), 0);	/* fcntl's */
	must_equal(kern_ioctl(fs, FIOASYNC, &off), 0);
	must_equal(kern_ioctl(fs, FIOASYNC, &on), ENOTTY);
	kern_close(reader);
	gone();
}

static void
the_nodes_belong_to_root_and_are_bounded(void)
{
	struct kern_file *more[8];

	attached();
	must_equal(kern_mode(FS_VSS_DEV_NAME), 0600);
	must_equal(kern_mode(APP_VSS_DEV_NAME), 0660);
	fs = opens(FS_VSS_DEV_NAME, FWRITE);
	must_equal(open_error(FS_VSS_DEV_NAME), EBUSY);
	for (int i = 0; i < 8; i++)
		more[i] = opens(APP_VSS_DEV_NAME, FWRITE);
	must_equal(open_error(APP_VSS_DEV_NAME), EBUSY);
	for (int i = 0; i < 8; i++)
		kern_close(more[i]);
	kern_close(fs);
	must_equal(kern_detach(), 0);
	kern_reset();

	kern_hint("hvvssb.0.max_apps", 1);
	must_equal(kern_attach("vmbus"), 0);
	app = opens(APP_VSS_DEV_NAME, FWRITE);
	must_equal(open_error(APP_VSS_DEV_NAME), EBUSY);
	kern_close(app);
	must_equal(kern_detach(), 0);
	kern_reset();

	kern_hint("hvvssb.0.max_apps", -1);	/* nonsense: the default */
	must_equal(kern_attach("vmbus"), 0);
	fs = opens(FS_VSS_DEV_NAME, FWRITE);
	app = opens(APP_VSS_DEV_NAME, FWRITE);
	more[0] = opens(APP_VSS_DEV_NAME, FWRITE);
	kern_close(more[0]);
	gone();
}

static void
unloading_is_refused_while_a_node_is_open(void)
{
	attached();
	must_equal(kern_quiesce(), 0);
	fs = opens(FS_VSS_DEV_NAME, FWRITE);
	must_equal(kern_quiesce(), EBUSY);
	kern_close(fs);
	app = opens(APP_VSS_DEV_NAME, FWRITE);
	must_equal(kern_quiesce(), EBUSY);
	kern_close(app);
	must_equal(kern_quiesce(), 0);
	must_equal(kern_detach(), 0);
	kern_reset();
}

static struct knote note;

static void
others_meet_a_driver_that_is_going_away(void)
{
	struct hv_vss_opt_msg m;
	struct hv_vss_heard h;

	must_equal(kern_ioctl(fs, IOCHVVSSREAD, &m), ENXIO);
	must_equal(kern_poll(fs, POLLIN), POLLIN | POLLHUP);
	must_equal(open_error(APP_VSS_DEV_NAME), ENXIO);
	must_equal(kern_selected(), 2);
	/* The host was answered while its channel was open, and no more. */
	must_equal(host_hears(), 0x80004005);
	must_equal(host_hears(), 1);
	must_equal(kern_ioctl(fs, IOCHVVSSHEARD, &h), 0);
	must_equal(h.req[0].why, HV_VSS_WHY_DETACHED);
	must_equal(h.req[0].status, VSS_FAIL);
	/* The sleeper in kevent(2) is back, has its event, and not lost it. */
	must(note.active && (note.kn_flags & EV_EOF) != 0 && note.list != NULL);
}

static void
detach_with_a_request_pending_answers_it_wakes_all_and_kills_none(void)
{
	struct hv_vss_opt_msg m;
	struct hv_vss_heard h;

	running();
	must_equal(kern_kevent(fs, &note, EVFILT_READ), 0);
	host_asks(IC_FREEZE);
	must_equal(kern_ioctl(app, IOCHVVSSREAD, &m), 0);
	must_equal(kern_poll(fs, POLLIN), 0);
	must_equal(kern_poll(app, POLLIN), 0);
	kern_while_asleep = others_meet_a_driver_that_is_going_away;
	must_equal(kern_detach(), 0);
	must(kern_while_asleep == NULL);
	must(note.list == NULL);	/* none is left behind */
	must_equal(kern_ioctl(app, IOCHVVSSWRITE, &m), ENXIO);
	must_equal(kern_ioctl(fs, IOCHVVSSREAD, &m), ENXIO);
	must_equal(kern_ioctl(fs, IOCHVVSSHEARD, &h), ENXIO);
	must((kern_poll(fs, POLLIN) & POLLHUP) != 0);
	must_equal(open_error(FS_VSS_DEV_NAME), ENXIO);
	must_equal(kern_callout_ms(), -1);
	kern_close(fs);
	kern_close(app);
	kern_reset();
}

static void
it_can_be_attached_again_after_a_detach(void)
{
	for (int i = 0; i < 3; i++) {
		running();
		host_asks(IC_CHECK);
		says(app, HV_VSS_CHECK, NO);
		must_equal(host_hears(), 0x80004005);
		gone();
	}
}

static void
devd_hears_of_each_request_but_of_none_while_something_is_frozen(void)
{
	running();
	host_asks(IC_CHECK);
	says(app, HV_VSS_CHECK, OK);
	says(fs, HV_VSS_CHECK, OK);
	kern_runs_tasks();
	must(strcmp(kern_events(),
	    "HYPERV VSS check device=hvvssb0 result=success why=done\n") == 0);
	host_asks(IC_FREEZE);
	says(app, HV_VSS_FREEZE, OK);
	says(fs, HV_VSS_FREEZE, OK);
	kern_runs_tasks();
	must(strcmp(kern_events(), "") == 0);
	host_asks(IC_CHECK);
	says(app, HV_VSS_CHECK, NO);	/* fails, and must wait */
	kern_runs_tasks();
	must(strcmp(kern_events(), "") == 0);
	host_asks(IC_THAW);
	says(fs, HV_VSS_THAW, OK);
	says(app, HV_VSS_THAW, OK);
	kern_runs_tasks();
	must(strcmp(kern_events(),
	    "HYPERV VSS check device=hvvssb0 result=failure "
	    "why=application-refused\n"
	    "HYPERV VSS thaw device=hvvssb0 result=success why=done\n") == 0);
	gone();
}

static void
what_was_held_back_is_told_when_the_daemon_dies(void)
{
	struct hv_vss_opt_msg m;

	running();
	host_asks(IC_FREEZE);
	says(app, HV_VSS_FREEZE, OK);
	must_equal(kern_ioctl(fs, IOCHVVSSREAD, &m), 0);
	kern_callout_fires();
	kern_runs_tasks();
	must(strcmp(kern_events(), "") == 0);
	kern_close(fs);
	kern_runs_tasks();
	must(strcmp(kern_events(),
	    "HYPERV VSS freeze device=hvvssb0 result=failure "
	    "why=daemon-timeout\n") == 0);
	fs = opens(FS_VSS_DEV_NAME, FWRITE);
	gone();
}

static void
of_many_events_held_back_the_first_sixteen_are_told(void)
{
	const char *all;
	int lines = 0;

	attached();
	app = opens(APP_VSS_DEV_NAME, FWRITE);
	for (int i = 0; i < 20; i++)
		host_asks(i < 16 ? IC_CHECK : IC_THAW);	/* node closed */
	kern_runs_tasks();
	all = kern_events();
	must(strstr(all, "thaw") == NULL);
	for (; *all != '\0'; all++)
		lines += *all == '\n';
	must_equal(lines, 16);
	fs = opens(FS_VSS_DEV_NAME, FWRITE);
	gone();
}

static void
sysctls_show_the_state_and_bound_the_time_limit(void)
{
	running();
	must_equal(kern_sysctl_text("state", text, sizeof(text)), 0);
	must(strcmp(text, "none: idle; filesystem node open; "
	    "applications: 1") == 0);
	host_asks(IC_FREEZE);
	must_equal(kern_sysctl_text("state", text, sizeof(text)), 0);
	must(strncmp(text, "freeze: asking applications;", 28) == 0);
	must_equal(kern_sysctl_set("timeout_ms", 999), EINVAL);
	must_equal(kern_sysctl_set("timeout_ms", 60001), EINVAL);
	must_equal(kern_sysctl_set("timeout_ms", 2000), 0);
	must_equal(kern_sysctl_number("timeout_ms"), 2000);
	must_equal(kern_callout_ms(), 15000);	/* this one was promised */
	kern_callout_fires();
	host_asks(IC_CHECK);
	must_equal(kern_callout_ms(), 2000);
	kern_callout_fires();
	must_equal(kern_sysctl_set("freeze_timeout_ms", 999), EINVAL);
	must_equal(kern_sysctl_set("freeze_timeout_ms", 900001), EINVAL);
	must_equal(kern_sysctl_set("freeze_timeout_ms", 900000), 0);
	must_equal(kern_sysctl_number("freeze_timeout_ms"), 900000);
	host_asks(IC_FREEZE);
	must_equal(kern_callout_ms(), 900000);
	kern_callout_fires();
	must_equal(kern_sysctl_set("freeze_timeout_ms", 0), 0);
	host_asks(IC_FREEZE);
	must_equal(kern_callout_ms(), 2000);
	must_equal(kern_sysctl_number("messages"), 4);
	must_equal(kern_sysctl_number("answers"), 3);
	gone();
	must_equal(kern_sysctl_number("messages"), -1);
}

static void
the_console_says_what_failed_and_at_level_two_each_step(void)
{
	running();
	host_asks(IC_CHECK);
	says(app, HV_VSS_CHECK, OK);
	says(fs, HV_VSS_CHECK, OK);
	must(strcmp(kern_console(), "") == 0);
	host_asks(IC_CHECK);
	says(app, HV_VSS_CHECK, NO);
	must(strstr(kern_console(), "check: host hears failure") != NULL);
	must_equal(kern_sysctl_set("log_level", 2), 0);
	host_asks(IC_CHECK);
	says(app, HV_VSS_CHECK, OK);
	must(strstr(kern_console(), "check: application 1: says done") != NULL);
	says(fs, HV_VSS_CHECK, OK);
	must(strstr(kern_console(), "check: daemon: READ") != NULL);
	gone();
}

/* Lines on the console, and forgets them. */
static int
lines(const char *with)
{
	const char *at = kern_console();
	int n = 0;

	while ((at = strstr(at, with)) != NULL) {
		at++;
		n++;
	}
	return (n);
}

static void
the_console_is_bounded_however_much_a_host_or_a_program_causes(void)
{
	struct hv_vss_opt_msg foreign = { .opt = HV_VSS_CHECK, .msgid = 1 };

	running();
	for (int i = 0; i < 60; i++)
		host_asks(99);
	must_equal(lines("message refused"), 10);
	/* In the next second it goes on, and says what was left out. */
	kern_step_clock(1000000000);
	host_asks(99);
	must(strstr(kern_console(), "50 lines were left out") != NULL);
	for (int i = 0; i < 20; i++)
		host_asks(99);
	must_equal(lines("message refused"), 9);
	/* What is only said when it is asked for has a bound of its own. */
	must_equal(kern_sysctl_set("log_level", 1), 0);
	for (int i = 0; i < 150; i++)
		must_equal(kern_ioctl(app, IOCHVVSSWRITE, &foreign), ENOENT);
	must_equal(lines("never READ"), 100);
	kern_step_clock(1000000000);
	host_asks(99);
	must(strstr(kern_console(), "11 lines were left out") != NULL);
	gone();
}

static void
the_daemon_is_told_which_process_refused(void)
{
	struct hv_vss_heard h;

	attached();
	kern_pid(501);
	fs = opens(FS_VSS_DEV_NAME, FWRITE);
	kern_pid(812);
	app = opens(APP_VSS_DEV_NAME, FWRITE);
	kern_pid(1);			/* a child of it answers */
	host_asks(IC_FREEZE);
	says(app, HV_VSS_FREEZE, NO);
	must_equal(host_hears(), 0x80004005);
	must_equal(kern_ioctl(fs, IOCHVVSSHEARD, &h), 0);
	must_equal(h.count, 1);
	must_equal(h.req[0].opt, HV_VSS_FREEZE);
	must_equal(h.req[0].status, VSS_FAIL);
	must_equal(h.req[0].why, HV_VSS_WHY_APP_REFUSED);
	must_equal(h.req[0].app, 1);
	must_equal(h.req[0].pid, 812);
	must(h.apps == 1 && h.app_pid[0] == 812 && h.app_pid[1] == 0);
	gone();
}

static void
an_answer_the_channel_refuses_and_a_broken_channel_are_reported(void)
{
	struct hv_vss_heard h;

	running();
	kern_fail_next("vmbus_chan_send", EAGAIN);
	host_asks(IC_DM_INFO);
	must(strstr(kern_console(), "did not reach the host") != NULL);
	host_asks(IC_CHECK);
	kern_fail_next("vmbus_chan_send", EAGAIN);
	says(app, HV_VSS_CHECK, NO);
	must_equal(kern_ioctl(fs, IOCHVVSSHEARD, &h), 0);
	must_equal(h.req[0].status, HV_VSS_HEARD_NOTHING);
	must_equal(h.req[0].why, HV_VSS_WHY_APP_REFUSED);
	must_equal(kern_sysctl_number("unsent"), 2);
	kern_fail_next("vmbus_chan_recv", EIO);
	host_asks(IC_DM_INFO);
	must(strstr(kern_console(), "reading the channel failed") != NULL);
	gone();
}

static void
each_step_of_attach_that_fails_undoes_those_before_it(void)
{
	const char *steps[] = { FS_VSS_DEV_NAME, APP_VSS_DEV_NAME,
	    "vmbus_chan_open" };

	for (int i = 0; i < 3; i++) {
		kern_reset();
		kern_fail_next(steps[i], EEXIST);
		must_equal(kern_attach("vmbus"), EEXIST);
		must_equal(strstr(kern_console(), "hint.hvvss.0.disabled") !=
		    NULL, i < 2);
		kern_reset();
	}
}

static void
an_open_that_devfs_cannot_keep_leaves_no_opener_behind(void)
{
	attached();
	kern_fail_next("devfs_set_cdevpriv", ENOENT);
	must_equal(open_error(FS_VSS_DEV_NAME), ENOENT);
	must_equal(kern_allocations(), 1);	/* the channel's buffer */
	fs = opens(FS_VSS_DEV_NAME, FWRITE);
	app = opens(APP_VSS_DEV_NAME, FWRITE);
	gone();
}

int
main(void)
{
	holds(a_backup_goes_from_the_channel_through_both_nodes_and_back);
	holds(it_outbids_the_in_base_driver_for_the_vss_channel_and_no_other);
	holds(what_the_host_said_before_the_channel_opened_is_answered);
	holds(a_program_asleep_in_poll_or_kevent_is_woken_by_its_request);
	holds(when_the_callout_fires_the_host_hears_failure_and_the_late_are_told);
	holds(read_and_write_need_a_descriptor_open_for_writing_others_get_enotty);
	holds(the_nodes_belong_to_root_and_are_bounded);
	holds(unloading_is_refused_while_a_node_is_open);
	holds(detach_with_a_request_pending_answers_it_wakes_all_and_kills_none);
	holds(it_can_be_attached_again_after_a_detach);
	holds(devd_hears_of_each_request_but_of_none_while_something_is_frozen);
	holds(what_was_held_back_is_told_when_the_daemon_dies);
	holds(of_many_events_held_back_the_first_sixteen_are_told);
	holds(sysctls_show_the_state_and_bound_the_time_limit);
	holds(the_console_says_what_failed_and_at_level_two_each_step);
	holds(the_console_is_bounded_however_much_a_host_or_a_program_causes);
	holds(the_daemon_is_told_which_process_refused);
	holds(an_answer_the_channel_refuses_and_a_broken_channel_are_reported);
	holds(each_step_of_attach_that_fails_undoes_those_before_it);
	holds(an_open_that_devfs_cannot_keep_leaves_no_opener_behind);
	return (check_result());
}
