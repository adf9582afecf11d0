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

#include "vss_core.h"

#define	VSS_DRIVER_NAME		"hvvssb"	/* dev.hvvssb.N */

/* For a person's mistakes; the core allows less, for tests. */
#define	VSS_LIMIT_LOWEST_MS	1000

#define	VSS_EVENTS_MAX		16	/* devctl events held back, most */

struct vss_open;
struct vss_softc;

/* Sends an answer to the host; under mtx. */
typedef void vss_send_t(struct vss_softc *sc, uint64_t xactid, uint8_t *msg,
    size_t len);

struct vss_event {
	uint32_t	opt;
	uint32_t	status;
};

struct vss_softc {
	device_t		dev;			/* (c) */
	vss_send_t		*send;			/* (c) */
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
	int			log_level;		/* sysctl's; unlocked */
};

/* The nodes, over a host that can be sent answers.  An errno. */
int	vss_attach(struct vss_softc *sc, device_t dev, vss_send_t *send);
/* The host is already cut off: no vss_host_msg() is running or will come. */
void	vss_detach(struct vss_softc *sc);
/* EBUSY while a node is open. */
int	vss_quiesce(struct vss_softc *sc);
/* Takes mtx; the buffer is scribbled on. */
void	vss_host_msg(struct vss_softc *sc, uint8_t *msg, size_t len,
	    uint64_t xactid);

/* In vss_sysctl.c. */
void	vss_add_sysctls(struct vss_softc *sc);
const char *vss_opt_name(uint32_t opt);

/* How many hosts of either kind are attached; under the bus's lock. */
extern int vss_hosts;

MALLOC_DECLARE(M_HVVSS);

#endif /* !_HV_VSS_VAR_H_ */
