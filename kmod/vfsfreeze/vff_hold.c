/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The holds: a table of the filesystems that are being held, and a kernel
 * thread for each.
 *
 *	BEGUN -> vfs_write_suspend(), the rest written -> HELD -> told or
 *	expired -> vfs_write_resume() -> RELEASED or EXPIRED -> cleaned up
 *
 * The thread that suspends is the one that resumes: the kernel asks for that.
 * From HELD to the resume it allocates nothing and locks no vnode: writers
 * wait then, and one of them may be what would give the memory or the lock.
 *
 * Locking: vff_mtx for the table and all that is marked (m).  Nothing that
 * may sleep is called with it, and no other lock is taken with it but those
 * of selwakeup() and of knotes.  A hold in the table keeps its mount busy.
 * It has a reference from its open, which points back, and one from its thread.
 */
#include "vff_var.h"

#include <sys/devctl.h>
#include <sys/kthread.h>
#include <sys/queue.h>
#include <sys/sbuf.h>
#include <sys/time.h>

#define	VFF_HOLDS_MAX		1024	/* kernel threads */
#define	VFF_STOP_S		10	/* longest wait for all to let go */
#define	VFF_LINE		(MNAMELEN + MFSNAMELEN + 64)
#define	VFF_THREAD_NAME		"vfsfreeze"

/* A filesystem being held, or what became of it. */
struct vff_hold {
	LIST_ENTRY(vff_hold) link;	/* (m) vff_table or vff_untold */
	struct vff_open	*open;		/* (m) NULL: closed, or used anew */
	struct mount	*mp;		/* (c) valid while in the table */
	sbintime_t	begun;		/* (c) */
	sbintime_t	until;		/* (c) */
	sbintime_t	held;		/* (m) 0: not yet */
	sbintime_t	ended;		/* (m) 0: not yet */
	enum vfsfreeze_what state;	/* (m) */
	pid_t		pid;		/* (c) of HOLD's caller */
	uint32_t	flags;		/* (c) VFSFREEZE_GATE_ONLY */
	int		error;		/* (m) */
	int		refs;		/* (m) */
	bool		quiesced;	/* (m) */
	bool		let_go;		/* (m) */
	char		type[MFSNAMELEN];	/* (c) */
	char		mount[MNAMELEN];	/* (c) */
};

MALLOC_DEFINE(M_VFSFREEZE, "vfsfreeze", "held filesystems");
struct mtx vff_mtx;
MTX_SYSINIT(vff_mtx, &vff_mtx, "vfsfreeze", MTX_DEF);
static LIST_HEAD(, vff_hold) vff_table =	/* (m) BEGUN and HELD */
    LIST_HEAD_INITIALIZER(vff_table);
static LIST_HEAD(, vff_hold) vff_untold =	/* (m) expired; for devctl */
    LIST_HEAD_INITIALIZER(vff_untold);
u_int vff_held;
bool vff_stopping;

SYSCTL_NODE(_vfs, OID_AUTO, vfsfreeze, CTLFLAG_RD | CTLFLAG_MPSAFE, NULL,
    "Filesystems held still");
#define	VFF_TOTAL(name, descr)						\
	static uint64_t vff_##name;			/* (m) */	\
	SYSCTL_U64(_vfs_vfsfreeze, OID_AUTO, name, CTLFLAG_RD,		\
	    &vff_##name, 0, descr)
VFF_TOTAL(holds, "Holds begun");
VFF_TOTAL(failed, "Holds that failed");
VFF_TOTAL(expired, "Holds ended by their time limit");
VFF_TOTAL(longest_ms, "Longest time from HOLD to its end");

static uint64_t
vff_us(sbintime_t t)
{
	return (t > 0 ? (uint64_t)sbttous(t) : 0);
}

static void
vff_unref(struct vff_hold *h)
{
	mtx_assert(&vff_mtx, MA_OWNED);
	if (--h->refs == 0)
		free(h, M_VFSFREEZE);
}

static void
vff_publish(struct vff_hold *h, enum vfsfreeze_what state)
{
	mtx_assert(&vff_mtx, MA_OWNED);
	h->state = state;
	if (h->open == NULL)
		return;
	h->open->changed = true;
	selwakeup(&h->open->sel);
	KNOTE_LOCKED(&h->open->sel.si_note, 0);
}

/* How the hold has to end now; VFSFREEZE_IDLE if it has not. */
static enum vfsfreeze_what
vff_is_over(struct vff_hold *h)
{
	mtx_assert(&vff_mtx, MA_OWNED);
	if (h->let_go)
		return (VFSFREEZE_RELEASED);
	return (sbinuptime() < h->until ? VFSFREEZE_IDLE : VFSFREEZE_EXPIRED);
}

/*
 * Stops the writers, waits for those inside and writes what is left.  Neither
 * wait can be ended from outside.
 */
static int
vff_suspend(struct vff_hold *h, bool *quiesced)
{
	struct mount *mp = h->mp;
	int error, sync_error;

	error = vfs_write_suspend(mp, VS_SKIP_UNMOUNT);
	if (error != 0)
		return (error);
	/*
	 * The sync for a suspension writes all and waits in these three; that
	 * of msdosfs does not wait for file data, and skips locked vnodes.
	 */
	if (strcmp(h->type, "ufs") != 0 && strcmp(h->type, "tmpfs") != 0 &&
	    strcmp(h->type, "zfs") != 0) {
		error = vfs_stdsync(mp, MNT_WAIT);
		sync_error = VFS_SYNC(mp, MNT_WAIT);
		error = error != 0 ? error : sync_error;
	}
	MNT_ILOCK(mp);
	*quiesced = (mp->mnt_kern_flag & MNTK_SUSPENDED) != 0;
	MNT_IUNLOCK(mp);
	if (error == 0 && !*quiesced && (h->flags & VFSFREEZE_GATE_ONLY) == 0)
		error = EOPNOTSUPP;
	if (error != 0)
		vfs_write_resume(mp, 0);
	return (error);
}

/* Takes the hold out of the table and says how it ended. */
static void
vff_end(struct vff_hold *h, enum vfsfreeze_what how, int error)
{
	mtx_assert(&vff_mtx, MA_OWNED);
	LIST_REMOVE(h, link);
	vff_held--;
	h->ended = sbinuptime();
	h->error = error;
	vff_failed += how == VFSFREEZE_FAILED;
	vff_expired += how == VFSFREEZE_EXPIRED;
	vff_longest_ms = MAX(vff_longest_ms, vff_us(h->ended - h->begun) / 1000);
	vff_publish(h, how);
	wakeup(&vff_table);
}

/*
 * Tells devd(8) of the holds that have expired, once this module holds
 * nothing: devd starts programs, and would wait for a held filesystem.
 */
static void
vff_tell(void)
{
	struct vff_hold *h;
	struct sbuf sb;

	mtx_assert(&vff_mtx, MA_OWNED);
	while (LIST_EMPTY(&vff_table) && (h = LIST_FIRST(&vff_untold)) != NULL) {
		LIST_REMOVE(h, link);
		mtx_unlock(&vff_mtx);
		sbuf_new(&sb, NULL, 2 * VFF_LINE, SBUF_FIXEDLEN);
		sbuf_printf(&sb, "type=%s pid=%d mount=\"", h->type, h->pid);
		devctl_safe_quote_sb(&sb, h->mount);
		sbuf_cat(&sb, "\"");
		if (sbuf_finish(&sb) == 0)
			devctl_notify("VFSFREEZE", "HOLD", "EXPIRED",
			    sbuf_data(&sb));
		sbuf_delete(&sb);
		mtx_lock(&vff_mtx);
		vff_unref(h);
	}
}

static void
vff_thread(void *arg)
{
	struct vff_hold *h = arg;
	struct mount *mp = h->mp;
	enum vfsfreeze_what how;
	bool quiesced, suspended;
	int error;

	error = 0;
	quiesced = suspended = false;
	mtx_lock(&vff_mtx);
	how = vff_is_over(h);
	if (how == VFSFREEZE_IDLE) {
		mtx_unlock(&vff_mtx);
		error = vff_suspend(h, &quiesced);
		mtx_lock(&vff_mtx);
		suspended = error == 0;
		how = suspended ? vff_is_over(h) : VFSFREEZE_FAILED;
	}
	if (how == VFSFREEZE_IDLE) {
		h->held = sbinuptime();
		h->quiesced = quiesced;
		vff_publish(h, VFSFREEZE_HELD);
		while ((how = vff_is_over(h)) == VFSFREEZE_IDLE)
			msleep_sbt(h, &vff_mtx, PVFS, "vffhold", h->until, 0,
			    C_ABSOLUTE);
	}
	if (suspended) {
		mtx_unlock(&vff_mtx);
		vfs_write_resume(mp, VR_NO_SUSPCLR);
		mtx_lock(&vff_mtx);
	}
	vff_end(h, how, error);
	mtx_unlock(&vff_mtx);

	/* Writes what was put off, and may wait for another's suspension. */
	if (suspended)
		VFS_SUSP_CLEAN(mp);
	vfs_unbusy(mp);

	mtx_lock(&vff_mtx);
	if (how == VFSFREEZE_EXPIRED)
		LIST_INSERT_HEAD(&vff_untold, h, link);	/* and the reference */
	else
		vff_unref(h);
	vff_tell();
	mtx_unlock(&vff_mtx);
	kthread_exit();
}

/* Puts the hold into the table, unless there is a reason not to. */
static int
vff_insert(struct vff_open *o, struct vff_hold *h)
{
	struct vff_hold *other;

	mtx_assert(&vff_mtx, MA_OWNED);
	if (vff_stopping)
		return (ESHUTDOWN);
	if (o->hold != NULL && o->hold->ended == 0)
		return (EBUSY);
	/* The kernel itself would wait for the other, and then hold anew. */
	LIST_FOREACH(other, &vff_table, link)
		if (other->mp == h->mp)
			return (EBUSY);
	if (vff_held == VFF_HOLDS_MAX)
		return (EAGAIN);
	if (o->hold != NULL) {
		o->hold->open = NULL;
		vff_unref(o->hold);
	}
	o->hold = h;
	o->changed = false;
	h->open = o;
	LIST_INSERT_HEAD(&vff_table, h, link);
	vff_held++;
	vff_holds++;
	return (0);
}

int
vff_begin(struct vff_open *o, struct mount *mp, uint32_t hold_ms,
    uint32_t flags, pid_t pid)
{
	struct vff_hold *h;
	int error;

	h = malloc(sizeof(*h), M_VFSFREEZE, M_WAITOK | M_ZERO);
	h->mp = mp;
	h->begun = sbinuptime();
	h->until = h->begun + hold_ms * SBT_1MS;
	h->state = VFSFREEZE_BEGUN;
	h->pid = pid;
	h->flags = flags;
	h->refs = 2;
	strlcpy(h->type, mp->mnt_vfc->vfc_name, sizeof(h->type));
	strlcpy(h->mount, mp->mnt_stat.f_mntonname, sizeof(h->mount));

	mtx_lock(&vff_mtx);
	error = vff_insert(o, h);
	mtx_unlock(&vff_mtx);
	if (error != 0) {
		free(h, M_VFSFREEZE);
		vfs_unbusy(mp);
		return (error);
	}
	error = kthread_add(vff_thread, h, NULL, NULL, 0, 0, VFF_THREAD_NAME);
	if (error != 0) {
		mtx_lock(&vff_mtx);
		vff_end(h, VFSFREEZE_FAILED, error);
		vff_unref(h);
		mtx_unlock(&vff_mtx);
		vfs_unbusy(mp);
	}
	return (error);
}

int
vff_release(struct vff_open *o)
{
	mtx_assert(&vff_mtx, MA_OWNED);
	if (o->hold == NULL)
		return (EINVAL);
	o->hold->let_go = true;
	wakeup(o->hold);
	return (0);
}

/* The open goes; its hold ends by itself. */
void
vff_forget(struct vff_open *o)
{
	if (vff_release(o) != 0)
		return;
	o->hold->open = NULL;
	vff_unref(o->hold);
	o->hold = NULL;
}

void
vff_state(struct vff_open *o, struct vfsfreeze_state *st)
{
	struct vff_hold *h = o->hold;
	sbintime_t now;

	mtx_assert(&vff_mtx, MA_OWNED);
	memset(st, 0, sizeof(*st));
	o->changed = false;
	if (h == NULL)
		return;		/* VFSFREEZE_IDLE */
	now = h->ended != 0 ? h->ended : sbinuptime();
	st->state = h->state;
	st->error = h->error;
	st->flags = h->flags | (h->quiesced ? VFSFREEZE_QUIESCED : 0);
	if (h->ended == 0)
		st->left_ms = (uint32_t)(vff_us(h->until - now) / 1000);
	st->begin_us = vff_us((h->held != 0 ? h->held : now) - h->begun);
	if (h->held != 0)
		st->held_us = vff_us(now - h->held);
}

void
vff_stop(void)
{
	struct vff_hold *h;
	sbintime_t until;

	mtx_lock(&vff_mtx);
	vff_stopping = true;
	LIST_FOREACH(h, &vff_table, link) {
		h->let_go = true;
		wakeup(h);
	}
	/* One that is stuck in its suspension can't be waited for. */
	until = sbinuptime() + VFF_STOP_S * SBT_1S;
	while (!LIST_EMPTY(&vff_table) && sbinuptime() < until)
		msleep_sbt(&vff_table, &vff_mtx, PVFS, "vffstop", until, 0,
		    C_ABSOLUTE);
	mtx_unlock(&vff_mtx);
}

/* A thread that has left its process runs the kernel's text only. */
bool
vff_has_threads(void)
{
	struct thread *td;
	bool found = false;

	PROC_LOCK(&proc0);
	FOREACH_THREAD_IN_PROC(&proc0, td)
		found = found || strcmp(td->td_name, VFF_THREAD_NAME) == 0;
	PROC_UNLOCK(&proc0);
	return (found);
}

/* A line for each hold: mount, type, pid, state, ms since HOLD, ms left. */
static int
vff_sysctl_list(SYSCTL_HANDLER_ARGS)
{
	struct vff_hold *h;
	struct sbuf sb;
	sbintime_t now;
	int error;

	/* Wired, since it is copied to with the mutex held. */
	error = sysctl_wire_old_buffer(req, 0);
	if (error != 0)
		return (error);
	sbuf_new_for_sysctl(&sb, NULL, VFF_LINE, req);
	mtx_lock(&vff_mtx);
	now = sbinuptime();
	LIST_FOREACH(h, &vff_table, link)
		sbuf_printf(&sb, "%s %s %d %s %ju %ju\n", h->mount, h->type,
		    h->pid, h->state == VFSFREEZE_HELD ? "held" : "begun",
		    (uintmax_t)(vff_us(now - h->begun) / 1000),
		    (uintmax_t)(vff_us(h->until - now) / 1000));
	mtx_unlock(&vff_mtx);
	error = sbuf_finish(&sb);
	sbuf_delete(&sb);
	return (error);
}
SYSCTL_PROC(_vfs_vfsfreeze, OID_AUTO, list, CTLTYPE_STRING | CTLFLAG_RD |
    CTLFLAG_MPSAFE, NULL, 0, vff_sysctl_list, "A", "What is being held");
