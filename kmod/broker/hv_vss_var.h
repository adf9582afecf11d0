/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the parts of the FreeBSD driver share: vss_nodes.c (the nodes that
 * programs open) with either of the two hosts, hv_vss.c (Hyper-V, through
 * VMBus) or vss_testhost.c (a program that plays one).
 *
 * Lock marks: (c) constant while attached, (m) protected by mtx.
 */
#ifndef _HV_VSS_VAR_H_
#define	_HV_VSS_VAR_H_

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/bus.h>
#include <sys/callout.h>
#include <sys/conf.h>
#include <sys/kernel.h>
#include <sys/lock.h>
#include <sys/malloc.h>
#include <sys/module.h>
#include <sys/mutex.h>
#include <sys/poll.h>
#include <sys/selinfo.h>
#include <sys/sysctl.h>
#include <sys/taskqueue.h>
#include <sys/time.h>

#include "vss_core.h"

#define	VSS_DRIVER_NAME		"hvvssb"	/* dev.hvvssb.N */

#define	VSS_LIMIT_LOWEST_MS	1000	/* the core allows less, for tests */
#define	VSS_EVENTS_MAX		16	/* devctl events held back, most */

/* An event for devd(8). */
struct vss_event {
	uint8_t	opt;		/* HV_VSS_* */
	uint8_t	why;		/* HV_VSS_WHY_* */
};

/* Console lines of one second, for ppsratecheck(9). */
struct vss_lines {
	struct timeval	since;
	int		tried;
};

struct vss_softc {
	device_t		dev;			/* (c) */
	struct cdev		*fs_dev;		/* (c) */
	struct cdev		*app_dev;		/* (c) */
	struct sysctl_ctx_list	sysctls;		/* (c) */
	struct task		event_task;		/* (c) */
	struct mtx		mtx;
	struct callout		timer;			/* (m) */
	struct vss_core		core;			/* (m) */
	struct vss_open		*opens[VSS_OPENERS_MAX];/* (m) */
	struct vss_event	events[VSS_EVENTS_MAX];	/* (m) */
	u_int			event_count;		/* (m) */
	bool			host_open;		/* (m) testhost */
	struct vss_lines	lines[2];		/* (m) errors, others */
	int			log_level;		/* sysctl's; unlocked */
};

/* Makes the nodes of a host that is sent answers so, under mtx; an errno. */
int	vss_attach(struct vss_softc *sc, device_t dev,
	    int (*send)(void *sc, uint64_t xactid, uint8_t *msg, size_t len));
/* The host is already cut off: no vss_host_msg() is running or will come. */
void	vss_detach(struct vss_softc *sc);
/* With mtx: whether a line of this VSS_LOG_* may go to the console now. */
bool	vss_may_print(struct vss_softc *sc, int level);
/* A node of root's, with the softc in si_drv1; says on the console why not. */
int	vss_make_node(struct vss_softc *sc, struct cdev **devp,
	    struct cdevsw *csw, enum vss_node node, int mode, const char *name);
/* DEVICE_QUIESCE of both hosts, whose softc begins with ours. */
int	vss_quiesce(device_t dev);
/* Takes mtx; the buffer is scribbled on. */
void	vss_host_msg(struct vss_softc *sc, uint8_t *msg, size_t len,
	    uint64_t xactid);

/* In vss_sysctl.c. */
void	vss_add_sysctls(struct vss_softc *sc);
const char *vss_opt_name(uint32_t opt);
const char *vss_why_name(uint32_t why);

extern int vss_hosts;	/* attached, of either kind; under the bus's lock */
MALLOC_DECLARE(M_HVVSS);

#endif /* !_HV_VSS_VAR_H_ */
