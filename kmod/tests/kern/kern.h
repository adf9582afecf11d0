/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A stand-in for the kernel, so that the driver's glue runs in user space:
 * just the interfaces the glue calls, single-threaded, each of them strict
 * about the rules the real one has (who owns which lock, what may sleep, what
 * must be initialised).  Breaking one ends the test.  Every sys/ and
 * dev/hyperv header the glue includes leads here; the second half is the
 * tests' own view of this kernel.
 */
#ifndef _KERN_H_
#define	_KERN_H_

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>

#define	__unused	__attribute__((unused))
#define	__offsetof	offsetof
#define	nitems(a)	(sizeof(a) / sizeof((a)[0]))
#define	PAGE_SIZE	4096
#define	howmany(x, y)	(((x) + (y) - 1) / (y))
#define	SBT_1MS		((int64_t)4294967)

/* A broken rule ends the test program. */
void	kern_panic(const char *fmt, ...) __attribute__((noreturn,
	    format(printf, 1, 2)));
#define	KASSERT(cond, msg)	do { if (!(cond)) kern_panic msg; } while (0)

/* Mutexes */
struct mtx { int alive, owned; };
enum { MTX_DEF, MA_OWNED };
void	mtx_init(struct mtx *, const char *, const char *, int);
void	mtx_destroy(struct mtx *);
void	mtx_lock(struct mtx *);
void	mtx_unlock(struct mtx *);
void	mtx_assert(struct mtx *, int);
enum { PCATCH = 0x100, hz = 100 };
int	mtx_sleep(void *, struct mtx *, int, const char *, int);
void	wakeup(void *);

/* Memory */
struct malloc_type { const char *name; };
#define	MALLOC_DECLARE(t)	extern struct malloc_type t[1]
#define	MALLOC_DEFINE(t, s, l)	struct malloc_type t[1] = { { s } }
enum { M_WAITOK = 2, M_ZERO = 0x100 };
void	*kern_malloc(size_t, struct malloc_type *, int);
void	kern_free(void *, struct malloc_type *);

/* Callouts and tasks */
struct callout {
	struct mtx *mtx;
	void (*fn)(void *);
	void *arg;
	int armed, drained;
	int64_t ms;
};
void	callout_init_mtx(struct callout *, struct mtx *, int);
int	callout_reset_sbt(struct callout *, int64_t, int64_t, void (*)(void *),
	    void *, int);
int	callout_stop(struct callout *);
int	callout_drain(struct callout *);

struct task { void (*fn)(void *, int); void *arg; int pending; };
struct taskqueue;
extern struct taskqueue *taskqueue_thread;
#define	TASK_INIT(t, pri, f, a)						\
	((t)->fn = (f), (t)->arg = (a), (t)->pending = 0)
int	taskqueue_enqueue(struct taskqueue *, struct task *);
void	taskqueue_drain(struct taskqueue *, struct task *);

/* select, poll, kevent */
struct knote;
struct knlist { struct knote *first; struct mtx *mtx; };
struct selinfo { struct knlist si_note; int recorded; };
struct filterops {
	int f_isfd;
	int (*f_attach)(struct knote *);
	void (*f_detach)(struct knote *);
	int (*f_event)(struct knote *, long);
};
struct knote {
	struct knote *next;
	struct knlist *list;
	const struct filterops *kn_fop;
	void *kn_hook;
	int64_t kn_data;
	int kn_filter, kn_flags, active;
};
enum { EVFILT_READ = -1, EVFILT_WRITE = -2, EV_EOF = 0x8000 };
struct thread;
void	selrecord(struct thread *, struct selinfo *);
void	selwakeup(struct selinfo *);
void	seldrain(struct selinfo *);
void	knlist_init_mtx(struct knlist *, struct mtx *);
void	knlist_destroy(struct knlist *);
void	knlist_add(struct knlist *, struct knote *, int);
void	knlist_remove(struct knlist *, struct knote *, int);
void	knlist_delete(struct knlist *, struct thread *, int);
#define	KNLIST_EMPTY(list)	((list)->first == NULL)
void	KNOTE_LOCKED(struct knlist *, long);

/* Character devices */
struct cdev;
struct uio { size_t uio_resid; uint8_t *at; int is_write; };
int	uiomove(void *, int, struct uio *);
#define	FWRITE	2
struct cdevsw {
	int d_version;
	const char *d_name;
	int (*d_open)(struct cdev *, int, int, struct thread *);
	int (*d_read)(struct cdev *, struct uio *, int);
	int (*d_write)(struct cdev *, struct uio *, int);
	int (*d_ioctl)(struct cdev *, u_long, caddr_t, int, struct thread *);
	int (*d_poll)(struct cdev *, int, struct thread *);
	int (*d_kqfilter)(struct cdev *, struct knote *);
};
struct cdev {
	void *si_drv1, *si_drv2;
	struct cdevsw *sw;
	char name[32];
	int mode;
};
struct make_dev_args {
	size_t mda_size;
	int mda_flags;
	struct cdevsw *mda_devsw;
	int mda_uid, mda_gid, mda_mode;
	void *mda_si_drv1, *mda_si_drv2;
};
enum { D_VERSION = 4, UID_ROOT = 0, GID_WHEEL = 0 };
enum { MAKEDEV_WAITOK = 8, MAKEDEV_CHECKNAME = 32 };
#define	make_dev_args_init(a)						\
	(memset(a, 0, sizeof(*(a))), (a)->mda_size = sizeof(*(a)))
int	make_dev_s(struct make_dev_args *, struct cdev **, const char *, ...);
void	destroy_dev(struct cdev *);
int	devfs_set_cdevpriv(void *, void (*)(void *));
int	devfs_get_cdevpriv(void **);

/* sysctl */
struct sysctl_req { void *old; size_t old_len; const void *newptr; };
struct sysctl_oid { int unused; };
struct sysctl_oid_list { int unused; };
struct sysctl_ctx_list { int alive; };
#define	SYSCTL_HANDLER_ARGS	struct sysctl_oid *oidp __unused,	\
	void *arg1 __unused, intmax_t arg2 __unused, struct sysctl_req *req
typedef int kern_sysctl_t(struct sysctl_oid *, void *, intmax_t,
    struct sysctl_req *);
enum { OID_AUTO, CTLTYPE_STRING = 1, CTLTYPE_UINT = 2, CTLTYPE_U64 = 4,
    CTLFLAG_RD = 8, CTLFLAG_RWTUN = 16, CTLFLAG_RDTUN = 32,
    CTLFLAG_MPSAFE = 64 };
#define	SYSCTL_CHILDREN(oid)	((struct sysctl_oid_list *)(oid))
struct sysctl_oid *SYSCTL_ADD_PROC(struct sysctl_ctx_list *,
	    struct sysctl_oid_list *, int, const char *, int, void *, intmax_t,
	    kern_sysctl_t *, const char *, const char *);
struct sysctl_oid *SYSCTL_ADD_INT(struct sysctl_ctx_list *,
	    struct sysctl_oid_list *, int, const char *, int, int *, int,
	    const char *);
struct sysctl_oid *SYSCTL_ADD_U64(struct sysctl_ctx_list *,
	    struct sysctl_oid_list *, int, const char *, int, uint64_t *,
	    uint64_t, const char *);
int	sysctl_ctx_init(struct sysctl_ctx_list *);
int	sysctl_ctx_free(struct sysctl_ctx_list *);
int	sysctl_handle_string(struct sysctl_oid *, char *, size_t,
	    struct sysctl_req *);
int	sysctl_handle_int(struct sysctl_oid *, void *, intmax_t,
	    struct sysctl_req *);
#define	SYSCTL_NODE(parent, nbr, name, access, h, descr)		\
	int kern_node_##name __unused
#define	SYSCTL_INT(parent, nbr, name, access, ptr, val, descr)		\
	static void __attribute__((constructor))			\
	kern_int_##name(void) { kern_tunable(#name, ptr); }		\
	struct kern_int_##name
void	kern_tunable(const char *, int *);

/* Devices, drivers, modules */
typedef struct device *device_t;
typedef struct { const char *name; void (*fn)(void); } device_method_t;
typedef struct driver { const char *name; device_method_t *methods;
    size_t size; } driver_t;
#define	DEVMETHOD(name, fn)	{ #name, (void (*)(void))(fn) }
#define	DEVMETHOD_END		{ NULL, NULL }
#define	DRIVER_MODULE(name, bus, driver, evh, arg)			\
	static void __attribute__((constructor))			\
	kern_driver_##bus(void) { kern_driver(#bus, &(driver)); }	\
	struct kern_driver_##bus
#define	MODULE_VERSION(name, v)		struct kern_version_##name
#define	MODULE_DEPEND(name, on, a, b, c)	struct kern_depend_##name
void	kern_driver(const char *, driver_t *);
enum { BUS_PROBE_VENDOR = -10, BUS_PROBE_DEFAULT = -20,
    BUS_PROBE_NOWILDCARD = -2000000000 };
void	*device_get_softc(device_t);
int	device_get_unit(device_t);
const char *device_get_nameunit(device_t);
device_t device_get_parent(device_t);
struct sysctl_oid *device_get_sysctl_tree(device_t);
void	device_set_desc(device_t, const char *);
int	device_printf(device_t, const char *, ...) __attribute__((
	    format(printf, 2, 3)));
device_t device_find_child(device_t, const char *, int);
device_t BUS_ADD_CHILD(device_t, u_int, const char *, int);
int	resource_int_value(const char *, int, const char *, int *);
int	resource_disabled(const char *, int);
void	devctl_notify(const char *, const char *, const char *, const char *);
void	nanotime(struct timespec *);
int	ppsratecheck(struct timeval *, int *, int);

/* VMBus */
struct hyperv_guid { uint8_t hv_guid[16]; };
struct vmbus_channel;
typedef void (*vmbus_chan_callback_t)(struct vmbus_channel *, void *);
enum { VMBUS_CHANPKT_TYPE_INBAND = 6 };
int	VMBUS_PROBE_GUID(device_t, device_t, const struct hyperv_guid *);
struct vmbus_channel *vmbus_get_channel(device_t);
void	vmbus_chan_set_readbatch(struct vmbus_channel *, bool);
int	vmbus_chan_open(struct vmbus_channel *, int, int, const void *, int,
	    vmbus_chan_callback_t, void *);
void	vmbus_chan_close(struct vmbus_channel *);
int	vmbus_chan_recv(struct vmbus_channel *, void *, int *, uint64_t *);
int	vmbus_chan_send(struct vmbus_channel *, uint16_t, uint16_t, void *,
	    int, uint64_t);

#include "kern_vfs.h"

/*
 * The tests' view.
 */
struct kern_file;
void	kern_reset(void);		/* and claim that nothing is left */
int	kern_allocations(void);
int	kern_locks(void);
void	kern_step_clock(int64_t ns);
int	kern_attach(const char *bus);	/* identify, probe, attach */
int	kern_probe(const char *bus);
int	kern_quiesce(void);
int	kern_detach(void);
void	kern_hint(const char *name, int value);
void	kern_set_tunable(const char *name, int value);
void	kern_fail_next(const char *call, int error);
int	kern_mode(const char *node);	/* -1: no such node */

struct kern_file *kern_open(const char *node, int flags, int *error);
void	kern_close(struct kern_file *);
int	kern_ioctl(struct kern_file *, u_long cmd, void *data);
int	kern_poll(struct kern_file *, int events);
int	kern_selected(void);		/* sleepers in poll(2) woken since */
int	kern_kevent(struct kern_file *, struct knote *, int filter);
int	kern_read(struct kern_file *, void *, size_t room, size_t *len);
int	kern_write(struct kern_file *, const void *, size_t len);
/* What others do once, while the driver sleeps, drains or destroys a node. */
extern void (*kern_while_asleep)(void);

int64_t	kern_callout_ms(void);		/* -1: none armed */
void	kern_callout_fires(void);
void	kern_runs_tasks(void);
int	kern_sysctl_text(const char *name, char *text, size_t room);
int64_t	kern_sysctl_number(const char *name);
int	kern_sysctl_set(const char *name, unsigned value);
const char *kern_events(void);		/* devctl's, and forgets them */
const char *kern_console(void);		/* device_printf's, same */

void	kern_host_sends(const void *, size_t len);
size_t	kern_host_gets(void *, size_t room);	/* 0: no answer */

#ifndef KERN_IMPLEMENTATION
#define	malloc(size, type, flags)	kern_malloc(size, type, flags)
#define	free(p, type)			kern_free(p, type)
#endif

#endif /* !_KERN_H_ */
