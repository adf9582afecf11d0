/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the live claims (live.c) do to a driver, whichever it is: the module
 * in a FreeBSD kernel (freebsd.c, by system calls) or the same sources on the
 * stand-in kernel (standin.c), where the claims themselves are tried out.
 * All return 0 or an errno.
 */
#ifndef _LIVE_H_
#define	_LIVE_H_

#include <stddef.h>
#include <stdint.h>

#include "../../hv_snapshot.h"

enum { LIVE_READ_ONLY, LIVE_READ_WRITE };

int	live_open(const char *node, int how, int *fd);
void	live_close(int fd);
int	live_ioctl(int fd, unsigned long cmd, void *data);
int	live_pollin(int fd);		/* 1 if readable within a moment */
int	live_kevent(int fd);		/* the same, by EVFILT_READ */
int	live_write(int fd, const void *message, size_t len);
int	live_read(int fd, void *message, size_t room, size_t *len);
int	live_set_timeout_ms(unsigned ms);
void	live_time_limit_passes(void);	/* a bit more than what was set */
int	live_pid(void);			/* that the driver sees */
void	live_begin(void);
void	live_end(void);

#endif /* !_LIVE_H_ */
