/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the stand-in kernel's files share.
 */
#ifndef _KERN_IMPL_H_
#define	_KERN_IMPL_H_

#include "kern.h"

/* Ends the test if a mutex is held. */
void	may_sleep(const char *what);
/* Runs kern_while_asleep, if it is set; 1 if it was. */
int	others_run(void);
/* The error that kern_fail_next() put on this call, once; else 0. */
int	failing(const char *call);
/* Each forgets what a test left, and ends the test if it may not be left. */
void	kern_sysctl_reset(void);
void	kern_bus_reset(void);
void	kern_cdev_reset(void);
void	kern_vmbus_reset(void);
void	kern_thread_reset(void);
void	kern_vfs_reset(void);
/* Sleeps until woken or until then (0: without an end). */
int	kern_thread_sleep(const void *chan, sbintime_t until);
/* Does a thread of the module own a suspension? */
int	kern_holds_any(void);
/* Is this the one bus, or its one child? */
int	kern_is_bus(device_t dev);
int	kern_is_child(device_t dev);

#endif /* !_KERN_IMPL_H_ */
