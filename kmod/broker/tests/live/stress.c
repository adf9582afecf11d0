/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Many programs at once on the loaded module, on a FreeBSD machine: a host
 * that sends whatever it likes, a daemon, applications that come and go, and
 * those that sleep in poll(2), kevent(2) and read(2).  It claims nothing about
 * answers; it is for the kernel's own checks (INVARIANTS, WITNESS) and for
 * what only several processors show.
 *
 * Each part lets go by itself when the module goes away beneath it, and starts
 * over when it is back.  SIGTERM ends it all; exits 0 if all parts have ended
 * well within ten seconds of that, and none hangs.
 */
#include <sys/types.h>
#include <sys/event.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../hv_snapshot.h"
#include "../ic.h"

enum { PARTS = 8 };

static volatile sig_atomic_t stop;
static pid_t parts[PARTS];
static int started;

/* One round on an open node; until it ends the node is not closed. */
typedef void part_t(int fd);

static void
play_host(int fd)
{
	static const unsigned operations[] = { IC_CHECK, IC_FREEZE, IC_THAW,
	    IC_DM_INFO, 99 };
	uint8_t m[IC_ROOM];
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (int i = 0; i < 200; i++) {
		size_t len = ic_vss(m, operations[arc4random_uniform(5)]);

		if (arc4random_uniform(50) == 0)
			len = arc4random_uniform(sizeof(m));
		if (write(fd, m, len) == -1 && errno == ENXIO)
			return;
		while (poll(&p, 1, (int)arc4random_uniform(5)) == 1)
			if (read(fd, m, sizeof(m)) == -1)
				break;
	}
}

static void
sleep_in_read(int fd)
{
	uint8_t m[IC_ROOM];

	size_t len = ic_vss(m, IC_DM_INFO);
	for (int i = 0; i < 3; i++)
		if (write(fd, m, len) == -1)
			return;
	/* The fourth sleeps until the module goes, or a signal comes. */
	alarm(2);
	for (int i = 0; i < 4; i++)
		if (read(fd, m, sizeof(m)) == -1)
			break;
	alarm(0);
}

static void
answer(int fd)
{
	struct hv_vss_opt_msg m;
	struct hv_vss_heard h;

	/* What must not be, whatever happens: this ends the part. */
	if (ioctl(fd, IOCHVVSSHEARD, &h) == 0 &&
	    (h.version != HV_VSS_HEARD_VERSION || h.count > h.total ||
	    h.count > HV_VSS_HEARD_MAX))
		_exit(1);
	if (ioctl(fd, IOCHVVSSREAD, &m) == -1 || m.status != VSS_SUCCESS)
		return;
	m.status = arc4random_uniform(4) == 0 ? VSS_FAIL : VSS_SUCCESS;
	if (arc4random_uniform(16) == 0)
		m.opt = arc4random();
	if (arc4random_uniform(16) == 0)
		m.msgid ^= 1;
	ioctl(fd, IOCHVVSSWRITE, &m);
}

static void
answer_by_poll(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (int i = 0; i < 100; i++) {
		if (poll(&p, 1, 50) == 1 && (p.revents & POLLHUP) != 0)
			return;
		answer(fd);
	}
}

static void
answer_by_kevent(int fd)
{
	struct timespec limit = { 0, 50000000 };
	struct kevent ev;
	int kq = kqueue();

	EV_SET(&ev, fd, EVFILT_READ, EV_ADD, 0, 0, NULL);
	if (kevent(kq, &ev, 1, NULL, 0, NULL) == 0)
		for (int i = 0; i < 100; i++) {
			if (kevent(kq, NULL, 0, &ev, 1, &limit) == 1 &&
			    (ev.flags & EV_EOF) != 0)
				break;
			answer(fd);
		}
	close(kq);
}

static void
leave_at_once(int fd)
{
	if (arc4random_uniform(2) == 0)
		answer(fd);
}

static void
start(const char *node, part_t *part)
{
	parts[started] = fork();
	if (parts[started++] != 0)
		return;
	started = 0;			/* a part has no parts to stop */
	while (!stop) {
		int fd = open(node, O_RDWR | O_CLOEXEC);

		if (fd == -1) {
			usleep(1000);	/* busy, or the module is away */
			continue;
		}
		part(fd);
		close(fd);
	}
	_exit(0);
}

static void
on_signal(int signo)
{
	if (signo == SIGTERM)
		stop = 1;
	for (int i = 0; signo == SIGTERM && i < started; i++)
		kill(parts[i], SIGTERM);
	if (signo == SIGTERM && started != 0)
		alarm(10);
	else if (started != 0)
		_exit(2);		/* a part hangs */
}

int
main(void)
{
	const char *fs = VSS_DEV(FS_VSS_DEV_NAME);
	const char *app = VSS_DEV(APP_VSS_DEV_NAME);
	struct sigaction sa = { .sa_handler = on_signal };
	int ended = 0, well = 0, status;

	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	start("/dev/hv_vss_testhost", play_host);
	start("/dev/hv_vss_testhost", sleep_in_read);
	start(fs, answer_by_poll);
	start(fs, answer_by_kevent);
	start(app, answer_by_poll);
	start(app, answer_by_kevent);
	start(app, leave_at_once);
	start(app, leave_at_once);
	while (ended < PARTS) {
		if (wait(&status) == -1)
			continue;	/* SIGTERM; or the alarm ends us */
		ended++;
		well += WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	printf("# stress: %d of %d parts came to their end\n", well, ended);
	return (stop && well == PARTS ? 0 : 1);
}
