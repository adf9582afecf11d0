/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What vfsfreeze.c (the node, the module) and vff_hold.c (the holds, their
 * threads) share.
 *
 * Lock marks: (c) constant once set up, (m) protected by vff_mtx, (s) set by
 * a sysctl and read in one load.
 */
#ifndef _VFF_VAR_H_
#define	_VFF_VAR_H_

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/event.h>
#include <sys/kernel.h>
#include <sys/lock.h>
#include <sys/malloc.h>
#include <sys/mount.h>
#include <sys/mutex.h>
#include <sys/proc.h>
#include <sys/selinfo.h>
#include <sys/sysctl.h>
#include <sys/vnode.h>

#include "vfsfreeze.h"

#define	VFF_MAX_HOLD_MS		600000U

/* State per open, in the descriptor's cdevpriv. */
struct vff_open {
	struct vff_hold	*hold;		/* (m) the latest; NULL: none */
	bool		changed;	/* (m) since the last STATE */
	struct selinfo	sel;		/* knotes: (m) */
};

extern struct mtx vff_mtx;
extern u_int vff_opens;			/* (m) */
extern u_int vff_held;			/* (m) holds in the table */
extern bool vff_stopping;		/* (m) shutdown, or an unload */
MALLOC_DECLARE(M_VFSFREEZE);
SYSCTL_DECL(_vfs_vfsfreeze);

u_int	vff_max_ms(void);
/* Busies the mount of this id, or says why it can't be held. */
int	vff_busy(fsid_t *fsid, uint32_t flags, struct mount **mpp);
/* Begins a hold of a busied mount, and takes over the busy reference. */
int	vff_begin(struct vff_open *o, struct mount *mp, uint32_t hold_ms,
	    uint32_t flags, pid_t pid);
/* These three with vff_mtx. */
void	vff_state(struct vff_open *o, struct vfsfreeze_state *st);
int	vff_release(struct vff_open *o);
void	vff_forget(struct vff_open *o);
/* Lets everything go, and waits for it for some seconds. */
void	vff_stop(void);
/* True while a thread of ours may still run our text. */
bool	vff_has_threads(void);

#endif /* !_VFF_VAR_H_ */
