/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the stand-in kernel's two files share.
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
void	kern_dev_reset(void);

#endif /* !_KERN_IMPL_H_ */
