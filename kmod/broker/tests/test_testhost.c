/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Stories about the test host's node on the stand-in kernel: a program that
 * plays the host by write(2) and read(2), and what keeps others from doing so.
 */
#include "../../tests/kern/kern.h"
#undef malloc
#undef free
#include "../hv_snapshot.h"
#include "../../tests/check.h"
#include "ic.h"

#define	NODE	"hv_vss_testhost"

static struct kern_file *host, *fs;

static struct kern_file *
opens(const char *node, int flags)
{
	int error;
	struct kern_file *f = kern_open(node, flags, &error);

	must_say(f != NULL, "open %s: error %d", node, error);
	return (f);
}

static void
attached(void)
{
	kern_reset();
	kern_set_tunable("testhost", 1);
	must_equal(kern_attach("nexus"), 0);
	host = opens(NODE, FWRITE);
	fs = opens(FS_VSS_DEV_NAME, FWRITE);
}

static void
gone(void)
{
	if (host != NULL)
		kern_close(host);
	kern_close(fs);
	must_equal(kern_detach(), 0);
	kern_set_tunable("testhost", 0);
	kern_reset();
}

static int
asks(unsigned operation)
{
	uint8_t m[IC_ROOM];

	return (kern_write(host, m, ic_vss(m, operation)));
}

static int
hears(uint32_t *status)
{
	uint8_t m[IC_ROOM];
	size_t len;
	int error = kern_read(host, m, sizeof(m), &len);

	if (error == 0)
		*status = ic_status(m);
	return (error);
}

static void
says(struct kern_file *f, uint32_t opt, uint32_t status)
{
	struct hv_vss_opt_msg m;

	must_equal(kern_ioctl(f, IOCHVVSSREAD, &m), 0);
	must_equal(m.opt, opt);
	m.status = status;
	must_equal(kern_ioctl(f, IOCHVVSSWRITE, &m), 0);
}

static void
without_its_tunable_there_is_no_test_host(void)
{
	kern_reset();
	kern_set_tunable("testhost", 0);
	must_equal(kern_attach("nexus"), ENOENT);
	must_equal(kern_mode(NODE), -1);
	kern_reset();
}

static void
beside_a_real_channel_it_is_refused_and_the_other_way_round(void)
{
	kern_reset();
	must_equal(kern_attach("vmbus"), 0);
	kern_set_tunable("testhost", 1);
	/* A second child, probed on the other bus: the softcs differ. */
	extern int vss_hosts;
	must_equal(vss_hosts, 1);
	must_equal(kern_detach(), 0);
	vss_hosts = 1;
	must_equal(kern_attach("nexus"), EBUSY);
	must(strstr(kern_console(), "refused") != NULL);
	must_equal(kern_attach("vmbus"), EBUSY);
	must(strstr(kern_console(), "hw.hv_vss_broker.testhost") != NULL);
	vss_hosts = 0;
	kern_set_tunable("testhost", 0);
	kern_reset();
}

static void
a_program_plays_the_host_in_raw_messages(void)
{
	uint32_t status = 1;

	attached();
	must_equal(kern_mode(NODE), 0600);
	must_equal(asks(IC_FREEZE), 0);
	says(fs, HV_VSS_FREEZE, VSS_SUCCESS);
	must_equal(hears(&status), 0);
	must_equal(status, 0);
	must_equal(asks(IC_THAW), 0);
	kern_callout_fires();
	must_equal(hears(&status), 0);
	must_equal(status, 0x80004005);
	gone();
}

static void
only_one_program_plays_the_host_at_a_time(void)
{
	int error;

	attached();
	must(kern_open(NODE, FWRITE, &error) == NULL);
	must_equal(error, EBUSY);
	kern_close(host);
	kern_fail_next("devfs_set_cdevpriv", ENOENT);
	must(kern_open(NODE, FWRITE, &error) == NULL);
	must_equal(error, ENOENT);
	host = opens(NODE, FWRITE);
	gone();
}

static void
answers_come_in_order(void)
{
	uint8_t m[IC_ROOM];
	size_t len;

	attached();
	for (unsigned operation = 90; operation < 100; operation++)
		must_equal(asks(operation), 0);
	for (unsigned operation = 90; operation < 100; operation++) {
		must_equal(kern_read(host, m, sizeof(m), &len), 0);
		must_equal(m[28], operation);
	}
	gone();
}

static void
the_daemon_answers_meanwhile(void)
{
	says(fs, HV_VSS_CHECK, VSS_SUCCESS);
}

static void
a_read_sleeps_until_the_answer_unless_told_not_to(void)
{
	uint32_t status = 1;

	attached();
	must_equal(asks(IC_CHECK), 0);
	kern_while_asleep = the_daemon_answers_meanwhile;
	must_equal(hears(&status), 0);
	must_equal(status, 0);
	must_equal(hears(&status), EINTR);	/* a signal */
	kern_close(host);
	host = opens(NODE, FWRITE | O_NONBLOCK);
	must_equal(hears(&status), EWOULDBLOCK);
	gone();
}

static void
poll_says_when_there_is_an_answer(void)
{
	uint32_t status;

	attached();
	must_equal(kern_poll(host, POLLIN | POLLOUT), POLLOUT);
	must_equal(asks(IC_DM_INFO), 0);
	must_equal(kern_selected(), 1);
	must_equal(kern_poll(host, POLLIN), POLLIN);
	must_equal(hears(&status), 0);
	must_equal(kern_poll(host, POLLIN), 0);
	gone();
}

static void
answers_are_never_dropped_a_seventeenth_question_is_refused(void)
{
	uint8_t runt[20] = { 0 };
	uint32_t status;

	attached();
	must_equal(asks(IC_FREEZE), 0);		/* pending */
	for (int i = 0; i < 15; i++)
		must_equal(asks(IC_DM_INFO), 0);
	must_equal(asks(IC_THAW), ENOBUFS);
	for (int i = 0; i < 15; i++)
		must_equal(hears(&status), 0);
	for (int i = 0; i < 100; i++)		/* these owe no answer */
		must_equal(kern_write(host, runt, sizeof(runt)), 0);
	must_equal(asks(IC_THAW), 0);
	must_equal(hears(&status), 0);
	must_equal(status, 0x80004005);		/* the FREEZE it displaced */
	says(fs, HV_VSS_THAW, VSS_SUCCESS);
	must_equal(hears(&status), 0);
	must_equal(status, 0);
	gone();
}

static void
a_message_or_a_buffer_of_the_wrong_size_gets_emsgsize_and_loses_nothing(void)
{
	uint8_t m[600];
	size_t len;

	attached();
	ic_header(m, 5, sizeof(m));
	must_equal(kern_write(host, m, 513), EMSGSIZE);
	must_equal(kern_write(host, m, 512), 0);	/* unknown operation */
	must_equal(kern_read(host, m, 511, &len), EMSGSIZE);
	must_equal(kern_read(host, m, 512, &len), 0);
	must_equal(len, 512);
	kern_fail_next("uiomove", EFAULT);
	must_equal(asks(IC_FREEZE), EFAULT);
	must_equal(kern_callout_ms(), -1);
	gone();
}

static void
an_answer_to_a_program_that_has_closed_is_not_given_to_the_next(void)
{
	uint32_t status;

	attached();
	must_equal(asks(IC_FREEZE), 0);
	must_equal(asks(IC_DM_INFO), 0);	/* answered, but not read */
	kern_close(host);
	host = opens(NODE, FWRITE | O_NONBLOCK);
	must_equal(hears(&status), EWOULDBLOCK);
	says(fs, HV_VSS_FREEZE, VSS_SUCCESS);
	must_equal(hears(&status), EWOULDBLOCK);
	must_equal(asks(IC_THAW), 0);
	says(fs, HV_VSS_THAW, VSS_SUCCESS);
	must_equal(hears(&status), 0);
	gone();
}

static void
others_meet_a_test_host_that_is_going_away(void)
{
	uint32_t status;
	int error;

	must_equal(kern_selected(), 1);
	must_equal(hears(&status), ENXIO);
	must_equal(asks(IC_FREEZE), ENXIO);
	must_equal(kern_poll(host, POLLIN), POLLIN);
	must(kern_open(NODE, FWRITE, &error) == NULL);
	must_equal(error, ENXIO);
}

static void
unloading_is_refused_while_the_node_is_open_and_detach_wakes_its_poller(void)
{
	uint32_t status;

	attached();
	must_equal(kern_quiesce(), EBUSY);
	kern_close(fs);
	must_equal(kern_quiesce(), EBUSY);	/* the host's own node */
	kern_close(host);
	must_equal(kern_quiesce(), 0);
	host = opens(NODE, FWRITE);
	must_equal(kern_poll(host, POLLIN), 0);
	kern_while_asleep = others_meet_a_test_host_that_is_going_away;
	must_equal(kern_detach(), 0);
	must(kern_while_asleep == NULL);
	must_equal(hears(&status), ENXIO);
	kern_close(host);
	kern_set_tunable("testhost", 0);
	kern_reset();
}

static void
a_node_it_cannot_make_undoes_the_attach(void)
{
	kern_reset();
	kern_set_tunable("testhost", 1);
	kern_fail_next(NODE, ENOSPC);
	must_equal(kern_attach("nexus"), ENOSPC);
	must_equal(kern_mode(FS_VSS_DEV_NAME), -1);
	kern_set_tunable("testhost", 0);
	kern_reset();
}

int
main(void)
{
	holds(without_its_tunable_there_is_no_test_host);
	holds(beside_a_real_channel_it_is_refused_and_the_other_way_round);
	holds(a_program_plays_the_host_in_raw_messages);
	holds(only_one_program_plays_the_host_at_a_time);
	holds(answers_come_in_order);
	holds(a_read_sleeps_until_the_answer_unless_told_not_to);
	holds(poll_says_when_there_is_an_answer);
	holds(answers_are_never_dropped_a_seventeenth_question_is_refused);
	holds(a_message_or_a_buffer_of_the_wrong_size_gets_emsgsize_and_loses_nothing);
	holds(an_answer_to_a_program_that_has_closed_is_not_given_to_the_next);
	holds(unloading_is_refused_while_the_node_is_open_and_detach_wakes_its_poller);
	holds(a_node_it_cannot_make_undoes_the_attach);
	return (check_result());
}
