/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The stand-in kernel's locks, memory, callouts, tasks and knotes.  See kern.h.
 */
#define	KERN_IMPLEMENTATION
#include <stdarg.h>

#include "kern_impl.h"

struct taskqueue *taskqueue_thread;
void (*kern_while_asleep)(void);

static int locks, allocations, selected, knlists;
static void *woken;
#define	BOOT_NS	((int64_t)1700000000 * 1000000000)
static int64_t clock_ns = BOOT_NS;
static struct callout *callout;		/* the driver has just one */
static struct task *tasks[4];
static struct { char call[32]; int error; } failure;

void
kern_panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("# panic: ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	fflush(stdout);
	abort();
}

void
may_sleep(const char *what)
{
	KASSERT(locks == 0, ("%s may sleep, and a mutex is held", what));
}

int
others_run(void)
{
	void (*meanwhile)(void) = kern_while_asleep;

	kern_while_asleep = NULL;
	if (meanwhile != NULL)
		meanwhile();
	return (meanwhile != NULL);
}

int
failing(const char *call)
{
	int error = strcmp(failure.call, call) == 0 ? failure.error : 0;

	if (error != 0)
		failure.call[0] = '\0';
	return (error);
}

void
kern_fail_next(const char *call, int error)
{
	snprintf(failure.call, sizeof(failure.call), "%s", call);
	failure.error = error;
}

int
kern_allocations(void)
{
	return (allocations);
}

int
kern_locks(void)
{
	return (locks);
}

void
mtx_init(struct mtx *m, const char *name, const char *type, int opts)
{
	(void)name;
	(void)type;
	KASSERT(!m->alive && opts == MTX_DEF, ("mutex initialised twice"));
	m->alive = 1;
	m->owned = 0;
}

void
mtx_destroy(struct mtx *m)
{
	KASSERT(m->alive && !m->owned, ("destroyed a held or dead mutex"));
	/* A stopped callout may still be waiting for its mutex. */
	KASSERT(callout == NULL || callout->mtx != m || callout->drained,
	    ("a mutex is destroyed and its callout not drained"));
	if (callout != NULL && callout->mtx == m)
		callout = NULL;
	m->alive = 0;
}

void
mtx_lock(struct mtx *m)
{
	KASSERT(m->alive, ("locked a dead mutex"));
	KASSERT(!m->owned, ("locked a mutex that is held: deadlock"));
	m->owned = 1;
	locks++;
}

void
mtx_unlock(struct mtx *m)
{
	KASSERT(m->alive && m->owned, ("unlocked a mutex that is not held"));
	m->owned = 0;
	locks--;
}

void
mtx_assert(struct mtx *m, int what)
{
	KASSERT(what == MA_OWNED && m->alive && m->owned, ("mutex not held"));
}

int
mtx_sleep(void *chan, struct mtx *m, int prio, const char *msg, int timo)
{
	int ran;

	(void)msg;
	KASSERT(m->owned && locks == 1, ("sleep: wrong locks"));
	KASSERT((prio & PCATCH) != 0 || timo > 0, ("a sleep without an end"));
	woken = NULL;
	mtx_unlock(m);
	ran = others_run();
	mtx_lock(m);
	if (timo > 0)
		return (EWOULDBLOCK);
	KASSERT(!ran || woken == chan, ("a sleeper was not woken"));
	return (ran ? 0 : EINTR);
}

void
wakeup(void *chan)
{
	woken = chan;
	kern_thread_wake(chan);
}

void *
kern_malloc(size_t size, struct malloc_type *type, int flags)
{
	void *p;

	(void)type;
	KASSERT((flags & M_WAITOK) != 0, ("malloc without M_WAITOK"));
	may_sleep("malloc");
	/* A writer that waits may be the one that could give it. */
	KASSERT(curthread->holding == 0, ("allocates while it suspends"));
	p = calloc(1, size);
	KASSERT(p != NULL, ("out of memory"));
	if ((flags & M_ZERO) == 0)
		memset(p, 0xa5, size);
	allocations++;
	return (p);
}

void
kern_free(void *p, struct malloc_type *type)
{
	(void)type;
	allocations -= p != NULL;
	free(p);
}

void
nanotime(struct timespec *ts)
{
	ts->tv_sec = clock_ns / 1000000000;
	ts->tv_nsec = clock_ns % 1000000000;
}

/* As the kernel's: once more than maxpps in the second since lasttime, no. */
int
ppsratecheck(struct timeval *lasttime, int *curpps, int maxpps)
{
	int64_t ticks = clock_ns / (1000000000 / hz);

	if (lasttime->tv_sec == 0 || ticks - lasttime->tv_sec >= hz) {
		lasttime->tv_sec = ticks;
		*curpps = 1;
		return (maxpps != 0);
	}
	++*curpps;
	return (maxpps < 0 || *curpps <= maxpps);
}

void
kern_step_clock(int64_t ns)
{
	clock_ns += ns;
}

sbintime_t
sbinuptime(void)
{
	int64_t up = clock_ns - BOOT_NS;

	return (SBT_1S + up / 1000000000 * SBT_1S +
	    (up % 1000000000 << 32) / 1000000000);
}

int64_t
sbttous(sbintime_t t)
{
	return ((t >> 32) * 1000000 + ((t & 0xffffffff) * 1000000 >> 32));
}

void
callout_init_mtx(struct callout *c, struct mtx *m, int flags)
{
	KASSERT(m->alive && flags == 0, ("callout without its mutex"));
	memset(c, 0, sizeof(*c));
	c->mtx = m;
	c->drained = 1;
	callout = c;
}

int
callout_reset_sbt(struct callout *c, int64_t sbt, int64_t precision,
    void (*fn)(void *), void *arg, int flags)
{
	(void)precision;
	(void)flags;
	mtx_assert(c->mtx, MA_OWNED);
	c->fn = fn;
	c->arg = arg;
	c->ms = sbt / SBT_1MS;
	c->armed = 1;
	c->drained = 0;
	return (0);
}

int
callout_stop(struct callout *c)
{
	/* Only with its lock is a stopped callout sure not to run. */
	mtx_assert(c->mtx, MA_OWNED);
	c->armed = 0;
	return (1);
}

int
callout_drain(struct callout *c)
{
	KASSERT(!c->mtx->owned, ("callout_drain with the callout's mutex"));
	may_sleep("callout_drain");
	others_run();
	c->armed = 0;
	c->drained = 1;
	return (1);
}

int64_t
kern_callout_ms(void)
{
	return (callout != NULL && callout->armed ? callout->ms : -1);
}

void
kern_callout_fires(void)
{
	KASSERT(kern_callout_ms() >= 0, ("no callout is armed"));
	callout->armed = 0;
	mtx_lock(callout->mtx);
	callout->fn(callout->arg);
	mtx_unlock(callout->mtx);
}

int
taskqueue_enqueue(struct taskqueue *q, struct task *t)
{
	(void)q;
	KASSERT(t->fn != NULL, ("task without TASK_INIT"));
	for (size_t i = 0; t->pending++ == 0 && i < nitems(tasks); i++) {
		if (tasks[i] != NULL) {
			t->pending--;
			continue;
		}
		tasks[i] = t;
		break;
	}
	return (0);
}

void
kern_runs_tasks(void)
{
	struct task *t;
	int pending;

	may_sleep("a task");
	for (size_t i = 0; i < nitems(tasks); i++) {
		if ((t = tasks[i]) == NULL)
			continue;
		tasks[i] = NULL;
		pending = t->pending;
		t->pending = 0;
		t->fn(t->arg, pending);
	}
}

void
taskqueue_drain(struct taskqueue *q, struct task *t)
{
	(void)q;
	may_sleep("taskqueue_drain");
	KASSERT(t->fn != NULL, ("drained a task without TASK_INIT"));
	kern_runs_tasks();
}

void
selrecord(struct thread *td, struct selinfo *si)
{
	(void)td;
	si->recorded = 1;
}

void
selwakeup(struct selinfo *si)
{
	selected += si->recorded;
	si->recorded = 0;
}

void
seldrain(struct selinfo *si)
{
	selwakeup(si);
}

int
kern_selected(void)
{
	int n = selected;

	selected = 0;
	return (n);
}

void
knlist_init_mtx(struct knlist *l, struct mtx *m)
{
	KASSERT(m->alive, ("knlist with a dead mutex"));
	l->first = NULL;
	l->mtx = m;
	knlists++;
}

void
knlist_destroy(struct knlist *l)
{
	/* Ours are all the first member of a selinfo. */
	KASSERT(!((struct selinfo *)l)->recorded, ("a poller was left"));
	KASSERT(l->first == NULL, ("knlist destroyed with knotes on it"));
	knlists--;
}

void
knlist_add(struct knlist *l, struct knote *kn, int islocked)
{
	if (!islocked)
		mtx_lock(l->mtx);
	mtx_assert(l->mtx, MA_OWNED);
	kn->list = l;
	kn->next = l->first;
	l->first = kn;
	kn->active = kn->kn_fop->f_event(kn, 0);
	if (!islocked)
		mtx_unlock(l->mtx);
}

void
knlist_remove(struct knlist *l, struct knote *kn, int islocked)
{
	struct knote **at;

	if (!islocked)
		mtx_lock(l->mtx);
	for (at = &l->first; *at != kn; at = &(*at)->next)
		KASSERT(*at != NULL, ("knote is not on the list"));
	*at = kn->next;
	kn->list = NULL;
	if (!islocked)
		mtx_unlock(l->mtx);
}

void
knlist_delete(struct knlist *l, struct thread *td, int islocked)
{
	struct knote *kn;

	(void)td;
	if (!islocked)
		mtx_lock(l->mtx);
	while ((kn = l->first) != NULL) {
		l->first = kn->next;
		kn->list = NULL;
	}
	if (!islocked)
		mtx_unlock(l->mtx);
}

void
KNOTE_LOCKED(struct knlist *l, long hint)
{
	mtx_assert(l->mtx, MA_OWNED);
	for (struct knote *kn = l->first; kn != NULL; kn = kn->next)
		kn->active |= kn->kn_fop->f_event(kn, hint);
}

void
kern_reset(void)
{
	KASSERT(locks == 0, ("a mutex is still held"));
	KASSERT(allocations == 0, ("%d blocks leaked", allocations));
	KASSERT(knlists == 0, ("%d knlists left", knlists));
	for (size_t i = 0; i < nitems(tasks); i++)
		KASSERT(tasks[i] == NULL, ("a task is still queued"));
	clock_ns = BOOT_NS;
	selected = 0;
	callout = NULL;
	failure.call[0] = '\0';
	kern_thread_reset();
	kern_vfs_reset();
	kern_sysctl_reset();
	kern_cdev_reset();
	kern_vmbus_reset();
	kern_bus_reset();
}
