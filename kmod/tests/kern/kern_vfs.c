/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The stand-in kernel's mounts and those who work on them.  Each call keeps
 * the real one's rules: busy before a suspension, resumed by the thread that
 * suspended, nothing used once it is gone.  See kern_vfs.h.
 */
#define	KERN_IMPLEMENTATION
#include "kern_impl.h"

static struct mount *mounts[8];
static int (*module_event)(module_t, int, void *);
static void (*on_shutdown)(void *, int);

static struct mount *
is_there(struct mount *mp)
{
	KASSERT(!mp->gone, ("%s was used after its end",
	    mp->mnt_stat.f_mntonname));
	return (mp);
}

static void
note(struct mount *mp, const char *what)
{
	size_t used = strlen(mp->trace);

	snprintf(mp->trace + used, sizeof(mp->trace) - used, "%s%s",
	    used != 0 ? ", " : "", what);
}

const char *
kern_trace(struct mount *mp)
{
	static char copy[sizeof(mp->trace)];

	memcpy(copy, mp->trace, sizeof(copy));
	mp->trace[0] = '\0';
	return (copy);
}

struct mount *
kern_mount(const char *on, const char *type, int vfc_flags, uint64_t flags)
{
	struct mount *mp = calloc(1, sizeof(*mp));
	size_t i;

	for (i = 0; mounts[i] != NULL; i++)
		KASSERT(i + 1 < nitems(mounts), ("too many mounts"));
	mounts[i] = mp;
	memset(&mp->mnt_stat.f_fsid, (int)i + 1, sizeof(fsid_t));
	strlcpy(mp->mnt_stat.f_mntonname, on, MNAMELEN);
	strlcpy(mp->conf.vfc_name, type, MFSNAMELEN);
	mp->conf.vfc_flags = vfc_flags;
	mp->mnt_vfc = &mp->conf;
	mp->mnt_flag = flags;
	mtx_init(&mp->mnt_mtx, "mount", NULL, MTX_DEF);
	return (mp);
}

void
kern_unmounted(struct mount *mp)
{
	size_t i;

	KASSERT(mp->refs == 0 && mp->lockref == 0 && mp->writers == 0 &&
	    mp->owner == NULL, ("%s is still in use",
	    mp->mnt_stat.f_mntonname));
	for (i = 0; mounts[i] != mp; i++)
		;
	mounts[i] = NULL;
	free(mp);
}

struct mount *
vfs_getvfs(fsid_t *id)
{
	may_sleep("vfs_getvfs");
	for (size_t i = 0; i < nitems(mounts); i++)
		if (mounts[i] != NULL && !mounts[i]->gone &&
		    memcmp(&mounts[i]->mnt_stat.f_fsid, id, sizeof(*id)) == 0) {
			mounts[i]->refs++;
			return (mounts[i]);
		}
	return (NULL);
}

void
vfs_rel(struct mount *mp)
{
	KASSERT(mp->refs > 0, ("released a mount without a reference"));
	mp->refs--;
}

int
vfs_busy(struct mount *mp, int flags)
{
	may_sleep("vfs_busy");
	KASSERT(flags == MBF_NOWAIT, ("vfs_busy waits for an unmount"));
	KASSERT(mp->refs > 0 || mp->lockref > 0, ("busied without reference"));
	if (mp->gone || (mp->mnt_kern_flag & MNTK_UNMOUNT) != 0)
		return (ENOENT);
	mp->lockref++;
	return (0);
}

void
vfs_unbusy(struct mount *mp)
{
	is_there(mp);
	KASSERT(mp->lockref > 0, ("unbusied too often"));
	KASSERT(mp->owner != curthread, ("unbusied while it suspends"));
	if (--mp->lockref == 0)
		kern_thread_wake(&mp->lockref);
}

int
kern_is_suspended(struct mount *mp)
{
	return ((mp->mnt_kern_flag & MNTK_SUSPEND) != 0);
}

static int
is_complete(struct mount *mp)
{
	return (strcmp(mp->conf.vfc_name, "ufs") == 0 ||
	    strcmp(mp->conf.vfc_name, "tmpfs") == 0 ||
	    strcmp(mp->conf.vfc_name, "msdosfs") == 0);
}

int
vfs_write_suspend(struct mount *mp, int flags)
{
	may_sleep("vfs_write_suspend");
	KASSERT(is_there(mp)->lockref > 0, ("suspends what is not busy"));
	KASSERT(flags == VS_SKIP_UNMOUNT, ("suspends in an unmount"));
	if (mp->owner == curthread)
		return (EALREADY);
	while (kern_is_suspended(mp))
		kern_thread_sleep(mp, 0);
	if ((mp->mnt_kern_flag & MNTK_UNMOUNT) != 0)
		return (EBUSY);
	mp->mnt_kern_flag |= MNTK_SUSPEND;
	mp->owner = curthread;
	mp->owner->holding++;
	while (mp->writers > 0)
		kern_thread_sleep(&mp->writers, 0);
	/* The sync takes a while: all others may run. */
	kern_thread_sleep(NULL, sbinuptime());
	note(mp, "suspend");
	if (mp->suspend_error != 0) {
		vfs_write_resume(mp, 0);
		return (mp->suspend_error);
	}
	if (is_complete(mp))
		mp->mnt_kern_flag |= MNTK_SUSPENDED;
	return (0);
}

void
vfs_write_resume(struct mount *mp, int flags)
{
	KASSERT(kern_locks() == 0, ("resumes with a mutex held"));
	KASSERT(kern_is_suspended(is_there(mp)), ("resumes what is not held"));
	KASSERT(mp->owner == curthread, ("another thread resumes"));
	mp->mnt_kern_flag &= ~(MNTK_SUSPEND | MNTK_SUSPENDED);
	mp->owner->holding--;
	mp->owner = NULL;
	kern_thread_wake(mp);
	note(mp, "resume");
	if ((flags & VR_NO_SUSPCLR) == 0)
		kern_susp_clean(mp);
}

void
kern_susp_clean(struct mount *mp)
{
	may_sleep("VFS_SUSP_CLEAN");
	KASSERT(is_there(mp)->owner != curthread, ("cleans what it suspends"));
	while (mp->slow_clean)
		kern_thread_sleep(&mp->slow_clean, 0);
	note(mp, "clean");
}

int
vn_start_write(void *vp, struct mount **mpp, int flags)
{
	struct mount *mp = is_there(*mpp);

	may_sleep("vn_start_write");
	KASSERT(vp == NULL, ("of a vnode"));
	while (kern_is_suspended(mp)) {
		if (flags == V_NOWAIT)
			return (EWOULDBLOCK);
		kern_thread_sleep(mp, 0);
	}
	mp->writers++;
	return (0);
}

void
vn_finished_write(struct mount *mp)
{
	KASSERT(is_there(mp)->writers > 0, ("finished no write"));
	if (--mp->writers == 0)
		kern_thread_wake(&mp->writers);
}

static void
writes_out(struct mount *mp, int how, const char *what)
{
	char text[32];

	may_sleep(what);
	KASSERT(is_there(mp)->lockref > 0, ("syncs what is not busy"));
	KASSERT(mp->owner == curthread || mp->writers > 0,
	    ("%s outside of a write", what));
	snprintf(text, sizeof(text), "%s%s", what,
	    how == MNT_WAIT ? " wait" : "");
	note(mp, text);
}

void
vfs_periodic(struct mount *mp, int how)
{
	KASSERT((curthread->td_pflags & TDP_SYNCIO) != 0, ("not TDP_SYNCIO"));
	writes_out(mp, how, "periodic");
}

int
vfs_stdsync(struct mount *mp, int how)
{
	writes_out(mp, how, "stdsync");
	return (mp->sync_error);
}

int
kern_vfs_sync(struct mount *mp, int how)
{
	writes_out(mp, how, "sync");
	return (0);
}

/*
 * Other programs.
 */
static void
umount_thread(void *arg)
{
	struct mount *mp = arg;

	vn_start_write(NULL, &mp, V_WAIT);
	mp->mnt_kern_flag |= MNTK_UNMOUNT;
	while (mp->lockref > 0)
		kern_thread_sleep(&mp->lockref, 0);
	vn_finished_write(mp);
	mp->gone = 1;
	kthread_exit();
}

void
kern_umounts(struct mount *mp)
{
	kthread_add(umount_thread, mp, NULL, NULL, 0, 0, "umount");
}

static void
snapshot_thread(void *arg)
{
	struct mount *mp = arg;

	mp->refs++;
	if (vfs_busy(mp, MBF_NOWAIT) == 0) {
		if (vfs_write_suspend(mp, VS_SKIP_UNMOUNT) == 0)
			vfs_write_resume(mp, 0);
		vfs_unbusy(mp);
	}
	vfs_rel(mp);
	kthread_exit();
}

void
kern_snapshots(struct mount *mp)
{
	kthread_add(snapshot_thread, mp, NULL, NULL, 0, 0, "snapshot");
}

/*
 * Modules and shutdown.
 */
void
kern_module(int (*event)(module_t, int, void *))
{
	module_event = event;
}

int
kern_load(void)
{
	return (module_event(NULL, MOD_LOAD, NULL));
}

int
kern_unload(void)
{
	int error = module_event(NULL, MOD_QUIESCE, NULL);

	if (error != 0 && error != EOPNOTSUPP)
		return (error);
	error = module_event(NULL, MOD_UNLOAD, NULL);
	KASSERT(kern_locks() == 0, ("unload left a mutex held"));
	return (error);
}

eventhandler_tag
kern_on_shutdown_pre_sync(void (*fn)(void *, int))
{
	KASSERT(on_shutdown == NULL, ("two shutdown handlers"));
	on_shutdown = fn;
	return (&on_shutdown);
}

void
kern_off_shutdown_pre_sync(eventhandler_tag tag)
{
	may_sleep("EVENTHANDLER_DEREGISTER");
	KASSERT(tag == &on_shutdown && on_shutdown != NULL, ("foreign tag"));
	on_shutdown = NULL;
}

int
kern_shutdown(int howto)
{
	if (on_shutdown == NULL)
		return (0);
	on_shutdown(NULL, howto);
	KASSERT(kern_locks() == 0, ("shutdown left a mutex held"));
	return (1);
}

void
kern_vfs_reset(void)
{
	for (size_t i = 0; i < nitems(mounts); i++)
		if (mounts[i] != NULL)
			kern_unmounted(mounts[i]);
	KASSERT(on_shutdown == NULL, ("a shutdown handler is left"));
}
