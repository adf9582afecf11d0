/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The live claims' way to the module in a FreeBSD kernel: plain system calls.
 */
#include <sys/types.h>
#include <sys/event.h>
#include <sys/ioctl.h>
#include <sys/sysctl.h>
#include <sys/time.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "live.h"

enum { A_MOMENT_MS = 100 };

static unsigned limit_ms = 15000;

int
live_open(const char *node, int how, int *fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/%s", node);
	*fd = open(path, (how == LIVE_READ_WRITE ? O_RDWR : O_RDONLY) |
	    O_CLOEXEC);
	return (*fd == -1 ? errno : 0);
}

void
live_close(int fd)
{
	close(fd);
}

int
live_ioctl(int fd, unsigned long cmd, void *data)
{
	return (ioctl(fd, cmd, data) == -1 ? errno : 0);
}

int
live_pollin(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return (poll(&p, 1, A_MOMENT_MS) == 1 && p.revents == POLLIN);
}

int
live_kevent(int fd)
{
	struct timespec moment = { 0, A_MOMENT_MS * 1000000L };
	struct kevent ev;
	int kq, n;

	kq = kqueue();
	EV_SET(&ev, fd, EVFILT_READ, EV_ADD, 0, 0, NULL);
	n = kevent(kq, &ev, 1, &ev, 1, &moment);
	close(kq);
	return (n == 1 && (ev.flags & EV_ERROR) == 0);
}

int
live_write(int fd, const void *message, size_t len)
{
	return (write(fd, message, len) == (ssize_t)len ? 0 : errno);
}

int
live_read(int fd, void *message, size_t room, size_t *len)
{
	ssize_t n = read(fd, message, room);

	*len = n > 0 ? (size_t)n : 0;
	return (n == -1 ? errno : 0);
}

int
live_set_timeout_ms(unsigned ms)
{
	if (sysctlbyname("dev.hvvssb.0.timeout_ms", NULL, NULL, &ms,
	    sizeof(ms)) == -1)
		return (errno);
	limit_ms = ms;
	return (0);
}

void
live_time_limit_passes(void)
{
	usleep((limit_ms + A_MOMENT_MS) * 1000);
}

int
live_pid(void)
{
	return (getpid());
}

void
live_begin(void)
{
}

void
live_end(void)
{
}
