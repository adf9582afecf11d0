/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The stand-in kernel's threads, mounts, sbufs and module events; included by
 * kern.h.  Kernel threads are coroutines: one runs until it blocks, and only
 * when the test lets it.  Filesystems are as slow, as busy and as broken as
 * the test wants.
 */
#ifndef _KERN_VFS_H_
#define	_KERN_VFS_H_

#include <sys/queue.h>

#define	MAX(a, b)	((a) > (b) ? (a) : (b))
#define	MIN(a, b)	((a) < (b) ? (a) : (b))
#define	strlcpy(to, from, room)	((void)snprintf(to, room, "%s", from))

/* Time: an uptime in sbintime_t, moved by kern_step_clock() and by sleeps. */
typedef int64_t sbintime_t;
#define	SBT_1S		((int64_t)1 << 32)
enum { PVFS = 20, C_ABSOLUTE = 0x200 };
sbintime_t sbinuptime(void);
int64_t	sbttous(sbintime_t);
#define	msleep_sbt(chan, mtx, pri, msg, until, pr, flags)		\
	kern_msleep_until(chan, mtx, until, flags)
int	kern_msleep_until(void *chan, struct mtx *, sbintime_t, int flags);
#define	pause(msg, ticks)	kern_pause(ticks)
void	kern_pause(int ticks);
#define	MTX_SYSINIT(name, m, descr, opts)				\
	static void __attribute__((constructor))			\
	kern_mtx_##name(void) { mtx_init(m, descr, NULL, opts); }	\
	struct kern_mtx_##name

/* Threads */
struct ucred { int jailed, root; };
struct proc { pid_t p_pid; };
struct thread {
	TAILQ_ENTRY(thread) link;
	struct proc *td_proc;
	struct ucred *td_ucred;
	char td_name[20];
	int td_pflags;
	struct kern_stack *stack;	/* NULL: the test itself */
	const void *wait;		/* what it sleeps on, if anything */
	sbintime_t until;		/* or until then; 0: no limit */
	int runnable, holding;		/* suspensions it owns */
};
TAILQ_HEAD(kern_threads, thread);
extern struct kern_threads kern_threads;
extern struct proc proc0;
struct thread *kern_curthread(void);
#define	curthread	kern_curthread()
#define	PROC_LOCK(p)	mtx_lock(&kern_proc_mtx)
#define	PROC_UNLOCK(p)	mtx_unlock(&kern_proc_mtx)
extern struct mtx kern_proc_mtx;
#define	FOREACH_THREAD_IN_PROC(p, td)					\
	for ((td) = kern_first_thread(p); (td) != NULL;			\
	    (td) = TAILQ_NEXT(td, link))
struct thread *kern_first_thread(struct proc *);
int	kthread_add(void (*)(void *), void *, struct proc *, struct thread **,
	    int flags, int pages, const char *fmt, ...);
void	kthread_exit(void) __attribute__((noreturn));
enum { TDP_SYNCIO = 0x8 };
int	curthread_pflags_set(int);
void	curthread_pflags_restore(int);
enum { PRIV_VFS_MOUNT = 330 };
int	jailed(struct ucred *);
int	priv_check(struct thread *, int);

/* Mounts */
#define	MNAMELEN	1024
#define	MFSNAMELEN	16
enum { MNT_WAIT = 1, MNT_NOWAIT = 2 };
enum { MNT_RDONLY = 0x1, MNT_GJOURNAL = 0x02000000 };
enum { MNTK_UNMOUNT = 0x1, MNTK_SUSPEND = 0x2, MNTK_SUSPENDED = 0x4 };
enum { VFCF_NETWORK = 0x20000, VFCF_SYNTHETIC = 0x80000,
    VFCF_LOOPBACK = 0x100000 };
enum { MBF_NOWAIT = 1, V_WAIT = 1, V_NOWAIT = 2, VS_SKIP_UNMOUNT = 1,
    VR_NO_SUSPCLR = 2 };
struct vfsconf { char vfc_name[MFSNAMELEN]; int vfc_flags; };
struct mount {
	struct { fsid_t f_fsid; char f_mntonname[MNAMELEN]; } mnt_stat;
	struct vfsconf *mnt_vfc;
	uint64_t mnt_flag;
	int mnt_kern_flag;		/* under mnt_mtx */
	struct mtx mnt_mtx;
	struct vfsconf conf;
	int gone, refs, lockref, writers;
	struct thread *owner;
	/* What the test says of it. */
	int suspend_error, sync_error, slow_clean;
	char trace[256];		/* what was asked of it, in words */
};
#define	MNT_ILOCK(mp)	mtx_lock(&(mp)->mnt_mtx)
#define	MNT_IUNLOCK(mp)	mtx_unlock(&(mp)->mnt_mtx)
#define	VFS_SYNC(mp, how)	kern_vfs_sync(mp, how)
#define	VFS_SUSP_CLEAN(mp)	kern_susp_clean(mp)
struct mount *vfs_getvfs(fsid_t *);
void	vfs_rel(struct mount *);
int	vfs_busy(struct mount *, int);
void	vfs_unbusy(struct mount *);
int	vfs_write_suspend(struct mount *, int);
void	vfs_write_resume(struct mount *, int);
int	vn_start_write(void *, struct mount **, int);
void	vn_finished_write(struct mount *);
void	vfs_periodic(struct mount *, int);
int	vfs_stdsync(struct mount *, int);
int	kern_vfs_sync(struct mount *, int);
void	kern_susp_clean(struct mount *);

/* sbufs, of a fixed length */
struct sbuf { char *buf; size_t room, len; int full; struct sysctl_req *req; };
enum { SBUF_FIXEDLEN = 0 };
struct sbuf *sbuf_new(struct sbuf *, char *, int, int);
struct sbuf *sbuf_new_for_sysctl(struct sbuf *, char *, int,
	    struct sysctl_req *);
int	sbuf_printf(struct sbuf *, const char *, ...) __attribute__((
	    format(printf, 2, 3)));
int	sbuf_cat(struct sbuf *, const char *);
int	sbuf_finish(struct sbuf *);
char	*sbuf_data(struct sbuf *);
void	sbuf_delete(struct sbuf *);
void	devctl_safe_quote_sb(struct sbuf *, const char *);

/* Sysctls that live as long as the module */
int	sysctl_wire_old_buffer(struct sysctl_req *, size_t);
#define	SYSCTL_DECL(parent)	struct kern_decl##parent
#define	SYSCTL_PROC(parent, nbr, name, access, arg1, arg2, h, fmt, descr) \
	KERN_SYSCTL(name, h, arg1)
#define	SYSCTL_U64(parent, nbr, name, access, p, val, descr)		\
	KERN_SYSCTL(name, kern_handle_u64, p)
#define	SYSCTL_UINT(parent, nbr, name, access, p, val, descr)		\
	KERN_SYSCTL(name, sysctl_handle_int, p)
#define	KERN_SYSCTL(name, h, p)						\
	static void __attribute__((constructor))			\
	kern_sysctl_##name(void) { kern_sysctl_fixed(#name, h, p); }	\
	struct kern_sysctl_##name
void	kern_sysctl_fixed(const char *, kern_sysctl_t *, void *);
int	kern_handle_u64(struct sysctl_oid *, void *, intmax_t,
	    struct sysctl_req *);

/* Modules and shutdown */
typedef struct kern_module *module_t;
enum { MOD_LOAD, MOD_UNLOAD, MOD_SHUTDOWN, MOD_QUIESCE };
#define	DEV_MODULE(name, evh, arg)					\
	static void __attribute__((constructor))			\
	kern_module_##name(void) { kern_module(evh); }			\
	struct kern_module_##name
void	kern_module(int (*)(module_t, int, void *));
typedef void *eventhandler_tag;
#define	SHUTDOWN_PRI_FIRST	0
#define	EVENTHANDLER_REGISTER(event, fn, arg, pri)	kern_on_##event(fn)
#define	EVENTHANDLER_DEREGISTER(event, tag)		kern_off_##event(tag)
eventhandler_tag kern_on_shutdown_pre_sync(void (*)(void *, int));
void	kern_off_shutdown_pre_sync(eventhandler_tag);
#define	KERNEL_PANICKED()	0
#define	SCHEDULER_STOPPED()	0
#ifndef RB_NOSYNC
#define	RB_NOSYNC		0x004
#endif
#ifndef FIONBIO
#define	FIONBIO			0x5421
#endif
#ifndef FIOASYNC
#define	FIOASYNC		0x5452
#endif

/*
 * The tests' view.
 */
int	kern_load(void);		/* of the one module with events */
int	kern_unload(void);		/* QUIESCE, then UNLOAD */
int	kern_shutdown(int howto);	/* 0: nothing listens */
void	kern_become(int is_jailed, int is_root);
void	kern_pid(int pid);		/* of the test, until kern_reset() */
/* Runs each thread that can go on, once; how many did. */
int	kern_run_threads(void);
/* Runs the nth (from 0) of those that can; 0: there is none. */
int	kern_run_thread(int nth);
/* Runs them until all of them wait. */
void	kern_settle(void);
int	kern_thread_count(void);
/* Each thread's name, and whether it can go on; for a test that compares. */
void	kern_thread_words(char *text, size_t room);
void	kern_thread_wake(const void *chan);
struct mount *kern_mount(const char *on, const char *type, int vfc_flags,
	    uint64_t flags);
void	kern_unmounted(struct mount *);	/* forgets it; nothing may use it */
/* Other programs, each a thread; what becomes of them is seen in mp. */
void	kern_umounts(struct mount *);	/* mp->gone once it is through */
void	kern_snapshots(struct mount *);	/* suspends for a moment, if it can */
int	kern_is_suspended(struct mount *);
const char *kern_trace(struct mount *);	/* and forgets it */

#endif /* !_KERN_VFS_H_ */
