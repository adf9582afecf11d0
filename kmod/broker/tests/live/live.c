/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Claims about the driver as a whole, through nothing but its nodes: the test
 * host's, the daemon's and an application's.  live.sh runs them against the
 * loaded module on a FreeBSD machine.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../../tests/check.h"
#include "../ic.h"
#include "live.h"

#define	HOST_NODE	"hv_vss_testhost"

static int host, fs, app;

static void
all_open(void)
{
	must_equal(live_open(HOST_NODE, LIVE_READ_WRITE, &host), 0);
	must_equal(live_open(FS_VSS_DEV_NAME, LIVE_READ_WRITE, &fs), 0);
	must_equal(live_open(APP_VSS_DEV_NAME, LIVE_READ_WRITE, &app), 0);
}

static void
all_closed(void)
{
	live_close(app);
	live_close(fs);
	live_close(host);
}

static void
asks(unsigned operation)
{
	uint8_t m[IC_ROOM];

	must_equal(live_write(host, m, ic_vss(m, operation)), 0);
}

static uint32_t
hears(void)
{
	uint8_t m[IC_ROOM];
	size_t len = 0;

	must(live_pollin(host));
	must_equal(live_read(host, m, sizeof(m), &len), 0);
	must_equal(len, IC_VSS_LEN);
	return (ic_status(m));
}

static struct hv_vss_opt_msg
reads(int fd, uint32_t opt)
{
	struct hv_vss_opt_msg m;

	must_equal(live_pollin(fd), opt != HV_VSS_NONE);
	must_equal(live_ioctl(fd, IOCHVVSSREAD, &m), 0);
	must_equal(m.opt, opt);
	must_equal(m.status, opt == HV_VSS_NONE ? VSS_FAIL : VSS_SUCCESS);
	return (m);
}

static void
says(int fd, uint32_t opt, uint32_t status)
{
	struct hv_vss_opt_msg m = reads(fd, opt);

	m.status = status;
	must_equal(live_ioctl(fd, IOCHVVSSWRITE, &m), 0);
}

static void
a_whole_backup_passes_through_the_nodes_in_order(void)
{
	all_open();
	asks(IC_CHECK);
	reads(fs, HV_VSS_NONE);
	says(app, HV_VSS_CHECK, VSS_SUCCESS);
	says(fs, HV_VSS_CHECK, VSS_SUCCESS);
	must_equal(hears(), 0);
	asks(IC_FREEZE);
	says(app, HV_VSS_FREEZE, VSS_SUCCESS);
	says(fs, HV_VSS_FREEZE, VSS_SUCCESS);
	must_equal(hears(), 0);
	asks(IC_THAW);
	reads(app, HV_VSS_NONE);
	says(fs, HV_VSS_THAW, VSS_SUCCESS);
	says(app, HV_VSS_THAW, VSS_SUCCESS);
	must_equal(hears(), 0);
	all_closed();
}

static void
kevent_reports_a_request(void)
{
	all_open();
	must_equal(live_kevent(fs), 0);
	asks(IC_THAW);
	must_equal(live_kevent(fs), 1);
	says(fs, HV_VSS_THAW, VSS_SUCCESS);
	says(app, HV_VSS_THAW, VSS_SUCCESS);
	must_equal(hears(), 0);
	all_closed();
}

static void
a_refused_freeze_is_thawed_for_the_application(void)
{
	all_open();
	asks(IC_FREEZE);
	says(app, HV_VSS_FREEZE, VSS_SUCCESS);
	says(fs, HV_VSS_FREEZE, VSS_FAIL);
	must_equal(hears(), 0x80004005);
	says(app, HV_VSS_THAW, VSS_SUCCESS);
	all_closed();
}

static void
the_time_limit_ends_a_request_and_late_writers_learn_it(void)
{
	struct hv_vss_opt_msg m;
	struct hv_vss_heard h;

	all_open();
	must_equal(live_set_timeout_ms(999), EINVAL);
	must_equal(live_set_timeout_ms(1000), 0);
	asks(IC_FREEZE);
	m = reads(app, HV_VSS_FREEZE);
	live_time_limit_passes();
	must_equal(hears(), 0x80004005);
	must_equal(live_ioctl(app, IOCHVVSSWRITE, &m), 0);
	must_equal(live_ioctl(app, IOCHVVSSHEARD, &h), 0);
	must_equal(h.late, m.msgid);
	m.msgid++;
	must_equal(live_ioctl(app, IOCHVVSSWRITE, &m), ENOENT);
	says(app, HV_VSS_THAW, VSS_SUCCESS);
	asks(IC_THAW);
	m = reads(fs, HV_VSS_THAW);
	live_time_limit_passes();
	must_equal(hears(), 0x80004005);
	must_equal(live_ioctl(fs, IOCHVVSSWRITE, &m), ETIMEDOUT);
	must_equal(live_ioctl(fs, IOCHVVSSHEARD, &h), 0);
	must_equal(h.late, m.msgid);
	must_equal(h.req[h.count - 1].why, HV_VSS_WHY_FS_TIMEOUT);
	must_equal(live_set_timeout_ms(15000), 0);
	all_closed();
}

static void
closing_the_daemons_node_answers_the_host_at_once(void)
{
	all_open();
	asks(IC_CHECK);
	says(app, HV_VSS_CHECK, VSS_SUCCESS);
	live_close(fs);
	must_equal(hears(), 0x80004005);
	must_equal(live_open(FS_VSS_DEV_NAME, LIVE_READ_WRITE, &fs), 0);
	reads(fs, HV_VSS_NONE);
	all_closed();
}

static void
the_daemon_is_told_what_the_host_heard_and_who_was_the_reason(void)
{
	static const uint32_t zero[5];
	struct hv_vss_heard before, h;
	struct hv_vss_heard_req *last;

	all_open();
	must_equal(live_ioctl(fs, IOCHVVSSHEARD, &before), 0);
	must_equal(before.version, HV_VSS_HEARD_VERSION);
	asks(IC_CHECK);
	says(app, HV_VSS_CHECK, VSS_FAIL);
	must_equal(hears(), 0x80004005);
	asks(IC_CREATE);
	must_equal(hears(), 0);
	must_equal(live_ioctl(fs, IOCHVVSSHEARD, &h), 0);
	must_equal(h.total, before.total + 1);
	must(h.count != 0 && h.count <= HV_VSS_HEARD_MAX);
	last = &h.req[h.count - 1];
	must_equal(last->opt, HV_VSS_CHECK);
	must_equal(last->status, VSS_FAIL);
	must_equal(last->why, HV_VSS_WHY_APP_REFUSED);
	must_equal(last->app, 1);
	must_equal(last->pid, live_pid());
	must_equal(h.apps, 1);
	must_equal(h.app_pid[0], live_pid());
	must(memcmp(h.reserved, zero, sizeof(h.reserved)) == 0);
	must(memcmp(last->reserved, zero, sizeof(last->reserved)) == 0);
	/* An application is told the same, but no process. */
	must_equal(live_ioctl(app, IOCHVVSSHEARD, &h), 0);
	must_equal(h.total, before.total + 1);
	must_equal(h.req[h.count - 1].pid, 0);
	must_equal(h.app_pid[0], 0);
	all_closed();
}

static void
openers_are_bounded_and_rights_are_demanded(void)
{
	struct hv_vss_opt_msg m;
	struct hv_vss_heard h;
	int fd, more[7];

	all_open();
	must_equal(live_open(FS_VSS_DEV_NAME, LIVE_READ_WRITE, &fd), EBUSY);
	must_equal(live_open(HOST_NODE, LIVE_READ_WRITE, &fd), EBUSY);
	for (int i = 0; i < 7; i++)
		must_equal(live_open(APP_VSS_DEV_NAME, LIVE_READ_ONLY,
		    &more[i]), 0);
	must_equal(live_open(APP_VSS_DEV_NAME, LIVE_READ_ONLY, &fd), EBUSY);
	must_equal(live_ioctl(more[0], IOCHVVSSREAD, &m), EPERM);
	must_equal(live_ioctl(more[0], IOCHVVSSHEARD, &h), 0);
	must_equal(h.apps, 8);
	must_equal(live_ioctl(fs, _IO('v', 1), NULL), ENOTTY);
	for (int i = 0; i < 7; i++)
		live_close(more[i]);
	all_closed();
}

int
main(void)
{
	live_begin();
	holds(a_whole_backup_passes_through_the_nodes_in_order);
	holds(kevent_reports_a_request);
	holds(a_refused_freeze_is_thawed_for_the_application);
	holds(the_time_limit_ends_a_request_and_late_writers_learn_it);
	holds(closing_the_daemons_node_answers_the_host_at_once);
	holds(the_daemon_is_told_what_the_host_heard_and_who_was_the_reason);
	holds(openers_are_bounded_and_rights_are_demanded);
	live_end();
	return (check_result());
}
