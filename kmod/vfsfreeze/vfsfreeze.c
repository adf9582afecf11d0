/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * /dev/vfsfreeze holds a mounted filesystem of any local type still, one for
 * each descriptor, for a bounded time.  See vfsfreeze(4).  Here are the node,
 * its requests and the module; what is held and let go is in vff_hold.c.
 *
 *	unload: refused while a descriptor is open or anything is held ->
 *	        no new opens -> shutdown handler off -> node destroyed ->
 *	        threads gone
 */
#include "vff_var.h"

#include <sys/conf.h>
#include <sys/eventhandler.h>
#include <sys/fcntl.h>
#include <sys/filio.h>
#include <sys/jail.h>
#include <sys/module.h>
#include <sys/poll.h>
#include <sys/priv.h>
#include <sys/reboot.h>

u_int vff_opens;
static struct cdev *vff_dev;			/* (c) */
static eventhandler_tag vff_shutdown_tag;	/* (c) */
static const uint32_t vff_zero[6];		/* reserved fields */

static u_int vff_max_hold_ms = VFF_MAX_HOLD_MS;	/* (s) */
SYSCTL_UINT(_vfs_vfsfreeze, OID_AUTO, max_hold_ms, CTLFLAG_RWTUN,
    &vff_max_hold_ms, 0, "Longest hold that may be asked for, up to 600000");

u_int
vff_max_ms(void)
{
	return (MIN(vff_max_hold_ms, VFF_MAX_HOLD_MS));
}

int
vff_busy(fsid_t *fsid, uint32_t flags, struct mount **mpp)
{
	struct mount *mp;
	const char *type;
	int error;

	mp = vfs_getvfs(fsid);
	if (mp == NULL)
		return (ENOENT);
	type = mp->mnt_vfc->vfc_name;
	/*
	 * Writes to a filesystem on top of another are gated below.  ext2fs
	 * does not wait for its writes.  One held gjournal stops the switcher
	 * of all, and a full journal panics.
	 */
	if ((mp->mnt_vfc->vfc_flags & (VFCF_NETWORK | VFCF_SYNTHETIC |
	    VFCF_LOOPBACK)) != 0 || strcmp(type, "fusefs") == 0 ||
	    strcmp(type, "ext2fs") == 0 || (mp->mnt_flag & MNT_GJOURNAL) != 0 ||
	    (strcmp(type, "zfs") == 0 && (flags & VFSFREEZE_GATE_ONLY) == 0))
		error = EOPNOTSUPP;
	else if ((mp->mnt_flag & MNT_RDONLY) != 0)
		error = EROFS;
	else	/* ENOENT: it is being unmounted. */
		error = vfs_busy(mp, MBF_NOWAIT) != 0 ? EBUSY : 0;
	vfs_rel(mp);
	*mpp = mp;
	return (error);
}

/*
 * Writes out what is dirty while writers run, and waits for it, once over.
 * VFS_SYNC(MNT_WAIT) is not for that: ffs_sync() starts anew for as long as
 * anything is dirty, so it need not end while there are writers.
 */
static int
vff_flush(struct vfsfreeze_flush *req)
{
	struct mount *mp;
	int error, save, sync_error;

	if (req->flags != 0 ||
	    memcmp(req->reserved, vff_zero, sizeof(req->reserved)) != 0)
		return (EINVAL);
	error = vff_busy(&req->fsid, VFSFREEZE_GATE_ONLY, &mp);
	if (error != 0)
		return (error);
	if (vn_start_write(NULL, &mp, V_NOWAIT) != 0) {
		vfs_unbusy(mp);
		return (EBUSY);
	}
	save = curthread_pflags_set(TDP_SYNCIO);
	vfs_periodic(mp, MNT_WAIT);
	error = vfs_stdsync(mp, MNT_WAIT);
	sync_error = VFS_SYNC(mp, MNT_NOWAIT);
	curthread_pflags_restore(save);
	vn_finished_write(mp);
	vfs_unbusy(mp);
	return (error != 0 ? error : sync_error);
}

static int
vff_hold(struct vff_open *o, struct vfsfreeze_hold *req, struct thread *td)
{
	struct mount *mp;
	int error;

	if (req->hold_ms == 0 || req->hold_ms > vff_max_ms() ||
	    (req->flags & ~VFSFREEZE_GATE_ONLY) != 0 ||
	    memcmp(req->reserved, vff_zero, sizeof(req->reserved)) != 0)
		return (EINVAL);
	error = vff_busy(&req->fsid, req->flags, &mp);
	if (error != 0)
		return (error);
	return (vff_begin(o, mp, req->hold_ms, req->flags,
	    td->td_proc->p_pid));
}

static int
vff_ioctl(struct cdev *dev __unused, u_long cmd, caddr_t data, int fflag,
    struct thread *td)
{
	struct vfsfreeze_version *version;
	struct vff_open *o;
	int error;

	error = devfs_get_cdevpriv((void **)&o);
	if (error != 0)
		return (error);
	/* fcntl(F_SETFL) sends these; no request waits for a hold anyway. */
	if (cmd == FIONBIO || (cmd == FIOASYNC && *(int *)data == 0))
		return (0);
	if (jailed(td->td_ucred))
		return (EPERM);
	if (cmd == VFSFREEZE_FLUSH || cmd == VFSFREEZE_HOLD ||
	    cmd == VFSFREEZE_RELEASE) {
		error = (fflag & FWRITE) != 0 ?
		    priv_check(td, PRIV_VFS_MOUNT) : EPERM;
		if (error != 0)
			return (error);
	}

	switch (cmd) {
	case VFSFREEZE_VERSION:
		version = (struct vfsfreeze_version *)data;
		memset(version, 0, sizeof(*version));
		version->abi = VFSFREEZE_ABI;
		version->max_hold_ms = vff_max_ms();
		return (0);
	case VFSFREEZE_FLUSH:
		return (vff_flush((struct vfsfreeze_flush *)data));
	case VFSFREEZE_HOLD:
		return (vff_hold(o, (struct vfsfreeze_hold *)data, td));
	case VFSFREEZE_STATE:
		mtx_lock(&vff_mtx);
		vff_state(o, (struct vfsfreeze_state *)data);
		mtx_unlock(&vff_mtx);
		return (0);
	case VFSFREEZE_RELEASE:
		mtx_lock(&vff_mtx);
		error = vff_release(o);
		mtx_unlock(&vff_mtx);
		return (error);
	default:
		return (ENOTTY);
	}
}

/* The last close of a descriptor: lets go, and waits for nothing. */
static void
vff_close(void *arg)
{
	struct vff_open *o = arg;

	mtx_lock(&vff_mtx);
	vff_forget(o);
	mtx_unlock(&vff_mtx);
	/* No knote may stay behind: it would call us when we are unloaded. */
	knlist_delete(&o->sel.si_note, curthread, 0);
	seldrain(&o->sel);
	knlist_destroy(&o->sel.si_note);
	free(o, M_VFSFREEZE);
	mtx_lock(&vff_mtx);
	vff_opens--;
	mtx_unlock(&vff_mtx);
}

static int
vff_open(struct cdev *dev __unused, int oflags __unused, int devtype __unused,
    struct thread *td)
{
	struct vff_open *o;
	int error;

	if (jailed(td->td_ucred))
		return (EPERM);
	mtx_lock(&vff_mtx);
	error = vff_stopping ? ESHUTDOWN : 0;
	vff_opens += error == 0;
	mtx_unlock(&vff_mtx);
	if (error != 0)
		return (error);
	o = malloc(sizeof(*o), M_VFSFREEZE, M_WAITOK | M_ZERO);
	knlist_init_mtx(&o->sel.si_note, &vff_mtx);
	error = devfs_set_cdevpriv(o, vff_close);
	if (error != 0)
		vff_close(o);
	return (error);
}

static int
vff_poll(struct cdev *dev __unused, int events, struct thread *td)
{
	struct vff_open *o;
	int revents = 0;

	if (devfs_get_cdevpriv((void **)&o) != 0)
		return (POLLNVAL);
	mtx_lock(&vff_mtx);
	if (o->changed)
		revents = events & (POLLIN | POLLRDNORM);
	if (revents == 0)
		selrecord(td, &o->sel);
	mtx_unlock(&vff_mtx);
	return (revents);
}

static void
vff_knote_detach(struct knote *kn)
{
	struct vff_open *o = kn->kn_hook;

	knlist_remove(&o->sel.si_note, kn, 0);
}

static int
vff_knote_event(struct knote *kn, long hint __unused)
{
	struct vff_open *o = kn->kn_hook;

	mtx_assert(&vff_mtx, MA_OWNED);
	kn->kn_data = o->changed;
	return (o->changed);
}

/* Not const: 14's kn_fop is not. */
static struct filterops vff_filterops = {
	.f_isfd = 1,
	.f_detach = vff_knote_detach,
	.f_event = vff_knote_event,
};

static int
vff_kqfilter(struct cdev *dev __unused, struct knote *kn)
{
	struct vff_open *o;
	int error;

	error = devfs_get_cdevpriv((void **)&o);
	if (error != 0)
		return (error);
	if (kn->kn_filter != EVFILT_READ)
		return (EINVAL);
	kn->kn_fop = &vff_filterops;
	kn->kn_hook = o;
	knlist_add(&o->sel.si_note, kn, 0);
	return (0);
}

static struct cdevsw vff_cdevsw = {
	.d_version = D_VERSION,
	.d_name = VFSFREEZE_DEV_NAME,
	.d_open = vff_open,
	.d_ioctl = vff_ioctl,
	.d_poll = vff_poll,
	.d_kqfilter = vff_kqfilter,
};

/* Before the last sync, which would wait for what is held. */
static void
vff_shutdown(void *arg __unused, int howto)
{
	if (!KERNEL_PANICKED() && !SCHEDULER_STOPPED() &&
	    (howto & RB_NOSYNC) == 0)
		vff_stop();
}

static int
vff_load(void)
{
	struct make_dev_args args;
	int error;

	make_dev_args_init(&args);
	args.mda_flags = MAKEDEV_CHECKNAME | MAKEDEV_WAITOK;
	args.mda_devsw = &vff_cdevsw;
	args.mda_uid = UID_ROOT;
	args.mda_gid = GID_WHEEL;
	args.mda_mode = 0600;
	error = make_dev_s(&args, &vff_dev, "%s", VFSFREEZE_DEV_NAME);
	if (error == 0)
		vff_shutdown_tag = EVENTHANDLER_REGISTER(shutdown_pre_sync,
		    vff_shutdown, NULL, SHUTDOWN_PRI_FIRST);
	return (error);
}

static int
vff_unload(void)
{
	mtx_lock(&vff_mtx);
	if (vff_opens != 0 || vff_held != 0 || vff_stopping) {
		mtx_unlock(&vff_mtx);
		return (EBUSY);
	}
	vff_stopping = true;
	mtx_unlock(&vff_mtx);
	EVENTHANDLER_DEREGISTER(shutdown_pre_sync, vff_shutdown_tag);
	destroy_dev(vff_dev);
	/* A last close may be at its return; threads may be cleaning up. */
	do
		pause("vffbye", howmany(hz, 10));
	while (vff_has_threads());
	return (0);
}

static int
vff_modevent(module_t mod __unused, int what, void *arg __unused)
{
	switch (what) {
	case MOD_LOAD:
		return (vff_load());
	case MOD_UNLOAD:
		return (vff_unload());
	default:
		return (EOPNOTSUPP);
	}
}

DEV_MODULE(vfsfreeze, vff_modevent, NULL);
MODULE_VERSION(vfsfreeze, 1);
