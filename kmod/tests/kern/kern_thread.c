/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The stand-in kernel's threads: coroutines that run one at a time, each until
 * it sleeps.  The test itself is one more thread, which lets the others run
 * while it sleeps.  See kern_vfs.h.
 */
#define	KERN_IMPLEMENTATION
#include <stdarg.h>
#include <ucontext.h>

#include "kern_impl.h"

#if defined(__SANITIZE_ADDRESS__)
#define	ASAN	1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define	ASAN	1
#endif
#endif
#ifdef ASAN
#include <sanitizer/common_interface_defs.h>
#define	fiber_start(save, to, size)					\
	__sanitizer_start_switch_fiber(save, to, size)
#define	fiber_finish(save, from, size)					\
	__sanitizer_finish_switch_fiber(save, from, size)
#else
#define	fiber_start(save, to, size)	((void)(to), (void)(size))
#define	fiber_finish(save, from, size)	((void)0)
#endif

enum { STACK = 64 * 1024 };
struct kern_stack {
	ucontext_t context;
	void (*fn)(void *);
	void *arg, *shadow, *memory;
	int ended;
};

struct kern_threads kern_threads = TAILQ_HEAD_INITIALIZER(kern_threads);
struct proc proc0;
struct mtx kern_proc_mtx = { 1, 0 };
enum { USER_PID = 4711 };
static struct proc user_proc = { USER_PID };
static struct ucred user_cred = { 0, 1 }, kernel_cred = { 0, 1 };
static struct thread user = { .td_proc = &user_proc, .td_ucred = &user_cred };
static struct thread *running = &user;
static ucontext_t main_context;
static const void *main_stack;
static size_t main_stack_size;
static int naps;
static void *spare;			/* a stack, for the next thread */

struct thread *
kern_curthread(void)
{
	return (running);
}

void
kern_become(int is_jailed, int is_root)
{
	user_cred.jailed = is_jailed;
	user_cred.root = is_root;
}

void
kern_pid(int pid)
{
	user_proc.p_pid = pid;
}

int
jailed(struct ucred *cred)
{
	return (cred->jailed);
}

int
priv_check(struct thread *td, int priv)
{
	KASSERT(priv == PRIV_VFS_MOUNT && td == running, ("priv_check"));
	return (td->td_ucred->root ? 0 : EPERM);
}

int
curthread_pflags_set(int flags)
{
	int save = ~flags | (running->td_pflags & flags);

	running->td_pflags |= flags;
	return (save);
}

void
curthread_pflags_restore(int save)
{
	running->td_pflags &= save;
}

struct thread *
kern_first_thread(struct proc *p)
{
	KASSERT(p == &proc0 && kern_proc_mtx.owned, ("a list without lock"));
	return (TAILQ_FIRST(&kern_threads));
}

int
kern_thread_count(void)
{
	struct thread *td;
	int n = 0;

	TAILQ_FOREACH(td, &kern_threads, link)
		n++;
	return (n);
}

static void
entry(void)
{
	fiber_finish(NULL, &main_stack, &main_stack_size);
	running->stack->fn(running->stack->arg);
	kern_panic("a kernel thread returned");
}

/* Away from the running thread, to the test. */
static void
leave(void)
{
	struct thread *td = running;

	running = &user;
	fiber_start(td->stack->ended ? NULL : &td->stack->shadow, main_stack,
	    main_stack_size);
	swapcontext(&td->stack->context, &main_context);
	fiber_finish(td->stack->shadow, NULL, NULL);
}

static void
enter(struct thread *td)
{
	void *shadow;

	KASSERT(running == &user, ("a thread ran another"));
	td->runnable = 0;
	td->wait = NULL;
	td->until = 0;
	running = td;
	fiber_start(&shadow, td->stack->memory, STACK);
	swapcontext(&main_context, &td->stack->context);
	fiber_finish(shadow, NULL, NULL);
	if (!td->stack->ended)
		return;
	TAILQ_REMOVE(&kern_threads, td, link);
	if (spare == NULL)
		spare = td->stack->memory;
	else
		free(td->stack->memory);
	free(td->stack);
	free(td);
}

int
kthread_add(void (*fn)(void *), void *arg, struct proc *p,
    struct thread **tdp, int flags, int pages, const char *fmt, ...)
{
	struct thread *td;
	int error = failing("kthread_add");
	va_list ap;

	may_sleep("kthread_add");
	KASSERT(p == NULL && tdp == NULL && flags == 0 && pages == 0,
	    ("kthread_add's arguments"));
	if (error != 0)
		return (error);
	td = calloc(1, sizeof(*td));
	td->stack = calloc(1, sizeof(*td->stack));
	td->stack->memory = spare != NULL ? spare : malloc(STACK);
	spare = NULL;
	td->stack->fn = fn;
	td->stack->arg = arg;
	td->td_proc = &proc0;
	td->td_ucred = &kernel_cred;
	td->runnable = 1;
	va_start(ap, fmt);
	vsnprintf(td->td_name, sizeof(td->td_name), fmt, ap);
	va_end(ap);
	getcontext(&td->stack->context);
	td->stack->context.uc_stack.ss_sp = td->stack->memory;
	td->stack->context.uc_stack.ss_size = STACK;
	makecontext(&td->stack->context, entry, 0);
	TAILQ_INSERT_TAIL(&kern_threads, td, link);
	return (0);
}

void
kthread_exit(void)
{
	may_sleep("kthread_exit");
	KASSERT(running != &user, ("the test called kthread_exit"));
	KASSERT(running->holding == 0, ("a thread ended and left its mount "
	    "suspended"));
	running->stack->ended = 1;
	leave();
	abort();
}

static int
can_run(struct thread *td)
{
	return (td->runnable || (td->until != 0 && sbinuptime() >= td->until));
}

int
kern_run_threads(void)
{
	struct thread *td, *next;
	int n = 0;

	for (td = TAILQ_FIRST(&kern_threads); td != NULL; td = next) {
		next = TAILQ_NEXT(td, link);
		if (can_run(td)) {
			enter(td);
			n++;
		}
	}
	return (n);
}

int
kern_run_thread(int nth)
{
	struct thread *td;

	TAILQ_FOREACH(td, &kern_threads, link)
		if (can_run(td) && nth-- == 0) {
			enter(td);
			return (1);
		}
	return (0);
}

void
kern_thread_words(char *text, size_t room)
{
	struct thread *td;
	size_t used = 0;

	text[0] = '\0';
	TAILQ_FOREACH(td, &kern_threads, link)
		used += (size_t)snprintf(text + used, room - used, "%s%c%d%d ",
		    td->td_name, can_run(td) ? '!' : '.', td->holding,
		    td->until != 0);
}

void
kern_settle(void)
{
	int rounds = 0;

	while (kern_run_threads() != 0)
		KASSERT(++rounds < 10000, ("threads that never rest"));
}

int
kern_holds_any(void)
{
	struct thread *td;

	TAILQ_FOREACH(td, &kern_threads, link)
		if (td->holding != 0 && strcmp(td->td_name, "snapshot") != 0)
			return (1);
	return (0);
}

void
kern_thread_wake(const void *chan)
{
	struct thread *td;

	TAILQ_FOREACH(td, &kern_threads, link)
		if (td->wait == chan)
			td->runnable = 1;
	if (user.wait == chan)
		user.runnable = 1;
}

/*
 * Sleeps until woken or until then (0: without an end).  The test's own sleep
 * lets the others run; if none can, time passes.
 */
int
kern_thread_sleep(const void *chan, sbintime_t until)
{
	may_sleep("a sleep");
	if (running != &user) {
		running->wait = chan;
		running->until = until;
		leave();
		return (until != 0 && sbinuptime() >= until ? EWOULDBLOCK : 0);
	}
	user.wait = chan;
	user.runnable = 0;
	while (!user.runnable) {
		if (until != 0 && sbinuptime() >= until)
			break;
		if (kern_run_threads() != 0)
			continue;
		KASSERT(until != 0, ("the test sleeps for ever"));
		kern_step_clock(sbttous(until - sbinuptime()) * 1000 + 2000);
	}
	user.wait = NULL;
	return (user.runnable ? 0 : EWOULDBLOCK);
}

int
kern_msleep_until(void *chan, struct mtx *m, sbintime_t until, int flags)
{
	int error;

	KASSERT(flags == C_ABSOLUTE && until > 0, ("a sleep without an end"));
	KASSERT(m->owned && kern_locks() == 1, ("sleep: wrong locks"));
	mtx_unlock(m);
	error = kern_thread_sleep(chan, until);
	mtx_lock(m);
	return (error);
}

void
kern_pause(int ticks)
{
	KASSERT(++naps < 1000, ("naps without an end"));
	kern_thread_sleep(&naps, sbinuptime() + ticks * (SBT_1S / hz));
}

void
kern_thread_reset(void)
{
	KASSERT(TAILQ_EMPTY(&kern_threads), ("%s is left",
	    TAILQ_FIRST(&kern_threads)->td_name));
	naps = 0;
	kern_become(0, 1);
	kern_pid(USER_PID);
}
