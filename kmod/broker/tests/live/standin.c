/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The live claims' way to the driver on the stand-in kernel.
 */
#include "../../../tests/kern/kern.h"
#include "live.h"

static struct kern_file *files[32];

int
live_open(const char *node, int how, int *fd)
{
	int error;

	for (*fd = 0; files[*fd] != NULL; ++*fd)
		continue;
	files[*fd] = kern_open(node, how == LIVE_READ_WRITE ? FWRITE : 0,
	    &error);
	return (error);
}

void
live_close(int fd)
{
	kern_close(files[fd]);
	files[fd] = NULL;
}

int
live_ioctl(int fd, unsigned long cmd, void *data)
{
	return (kern_ioctl(files[fd], cmd, data));
}

int
live_pollin(int fd)
{
	return (kern_poll(files[fd], POLLIN) == POLLIN);
}

int
live_kevent(int fd)
{
	struct knote kn;
	int error = kern_kevent(files[fd], &kn, EVFILT_READ);

	if (error == 0)
		kn.kn_fop->f_detach(&kn);
	return (error == 0 && kn.active);
}

int
live_write(int fd, const void *message, size_t len)
{
	return (kern_write(files[fd], message, len));
}

int
live_read(int fd, void *message, size_t room, size_t *len)
{
	return (kern_read(files[fd], message, room, len));
}

int
live_set_timeout_ms(unsigned ms)
{
	return (kern_sysctl_set("timeout_ms", ms));
}

void
live_time_limit_passes(void)
{
	kern_callout_fires();
}

int
live_pid(void)
{
	return (curthread->td_proc->p_pid);
}

void
live_begin(void)
{
	kern_reset();
	kern_pid(4242);
	kern_set_tunable("testhost", 1);
	if (kern_attach("nexus") != 0)
		kern_panic("the test host does not attach");
}

void
live_end(void)
{
	kern_detach();
	kern_reset();
}
