/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The two device nodes: the request core (vss_core.c) put into the FreeBSD
 * kernel.  Opens, ioctls, polls and kevents go in; wake-ups, a timer and news
 * for devd(8) come out.  What a request means and which program is asked when
 * is not decided here.
 *
 *	attach: mtx -> sysctls -> nodes      -> (the host is opened)
 *	detach: (the host is closed) -> core detached, all woken and told ->
 *	        callout drained -> nodes destroyed (which closes what is open)
 *	        -> task drained -> sysctls -> mtx
 *
 * Locking: one mutex, sc->mtx, for the core, the callout, the knote lists and
 * all fields marked (m); held in every call into the core and its callbacks.
 * Nothing that may sleep is called with it, and it is destroyed last.
 */
#include <sys/param.h>
#include <sys/event.h>
#include <sys/fcntl.h>
#include <sys/filio.h>
#include <sys/proc.h>
#include <sys/time.h>

#include "hv_vss_var.h"

/* State per open, in the descriptor's cdevpriv. */
struct vss_open {
	struct vss_softc	*sc;			/* (c) */
	int			opener;			/* (c) */
	bool			told;			/* (m) by kevent */
	struct selinfo		sel;			/* knotes: (m) */
};

#define	VSS_HINT_NOTIFY		1	/* f_event is called by vss_notify() */

/* Console lines in a second, most: about failures, and others. */
#define	VSS_FAILURE_LINES	10
#define	VSS_OTHER_LINES		100

MALLOC_DEFINE(M_HVVSS, "hvvss", "Hyper-V VSS broker");

int vss_hosts;
/*
 * What the core asks for.  All of these run with sc->mtx held.
 */
static uint64_t
vss_now_ns(void *arg __unused)
{
	struct timespec ts;

	nanotime(&ts);
	return ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

static void
vss_notify(void *arg, int opener)
{
	struct vss_softc *sc = arg;
	struct vss_open *o = sc->opens[opener];

	mtx_assert(&sc->mtx, MA_OWNED);
	selwakeup(&o->sel);
	KNOTE_LOCKED(&o->sel.si_note, VSS_HINT_NOTIFY);
}

/* The callout is bound to sc->mtx: it runs with it. */
static void
vss_timer(void *arg)
{
	struct vss_softc *sc = arg;

	mtx_assert(&sc->mtx, MA_OWNED);
	vss_core_timeout(&sc->core);
}

static void
vss_timer_arm(void *arg, uint32_t ms)
{
	struct vss_softc *sc = arg;

	callout_reset_sbt(&sc->timer, SBT_1MS * ms, 0, vss_timer, sc, 0);
}

/* With the mutex held a stopped callout is one that will not run. */
static void
vss_timer_cancel(void *arg)
{
	struct vss_softc *sc = arg;

	callout_stop(&sc->timer);
}

/*
 * Keeps the result for devd(8).  Not of a good FREEZE: devd runs programs,
 * and none can start before the thaw.  What finds no room is not told.
 */
static void
vss_done(void *arg, const struct hv_vss_heard_req *heard,
    int may_hold __unused)
{
	struct vss_softc *sc = arg;

	mtx_assert(&sc->mtx, MA_OWNED);
	if ((heard->opt == HV_VSS_FREEZE && heard->why == HV_VSS_WHY_DONE) ||
	    sc->event_count == VSS_EVENTS_MAX)
		return;
	sc->events[sc->event_count].opt = (uint8_t)heard->opt;
	sc->events[sc->event_count++].why = (uint8_t)heard->why;
	taskqueue_enqueue(taskqueue_thread, &sc->event_task);
}

/*
 * Whether one more line may go to the console.  A host or a program can cause
 * any number of them, and each is printed with the mutex held.
 */
bool
vss_may_print(struct vss_softc *sc, int level)
{
	struct vss_lines *lines;
	int left_out, most;

	mtx_assert(&sc->mtx, MA_OWNED);
	lines = &sc->lines[level == VSS_LOG_ERR ? 0 : 1];
	most = level == VSS_LOG_ERR ? VSS_FAILURE_LINES : VSS_OTHER_LINES;
	left_out = lines->tried - most;
	if (ppsratecheck(&lines->since, &lines->tried, most) == 0)
		return (false);
	/* The first of a new second tells what became of the last one. */
	if (lines->tried == 1 && left_out > 0)
		device_printf(sc->dev, "%d lines were left out\n", left_out);
	return (true);
}

static void
vss_log(void *arg, int level, const char *what, int opener, uint32_t opt,
    uint64_t msgid)
{
	struct vss_softc *sc = arg;
	char app[32];

	if (level > sc->log_level || !vss_may_print(sc, level))
		return;
	if (opener > VSS_FS_OPENER)
		snprintf(app, sizeof(app), "application %d: ", opener);
	device_printf(sc->dev, "%s: %s%s (%ju)\n", vss_opt_name(opt),
	    opener > VSS_FS_OPENER ? app : opener < 0 ? "" : "daemon: ", what,
	    (uintmax_t)msgid);
}

static const struct vss_core_ops vss_ops = {
	.now_ns = vss_now_ns,
	.notify = vss_notify,
	.timer_arm = vss_timer_arm,
	.timer_cancel = vss_timer_cancel,
	.done = vss_done,
	.log = vss_log,
};

/*
 * Tells devd(8) of the requests that are over; of none while filesystems may
 * be frozen, since devd would then block on what it starts.
 */
static void
vss_event_task(void *arg, int pending __unused)
{
	struct vss_softc *sc = arg;
	struct vss_event events[VSS_EVENTS_MAX];
	char data[96];
	u_int count, i;

	mtx_lock(&sc->mtx);
	count = VSS_CORE_MAY_HOLD(&sc->core) ? 0 : sc->event_count;
	memcpy(events, sc->events, count * sizeof(events[0]));
	sc->event_count -= count;
	mtx_unlock(&sc->mtx);

	for (i = 0; i < count; i++) {
		snprintf(data, sizeof(data), "device=%s result=%s why=%s",
		    device_get_nameunit(sc->dev),
		    events[i].why == HV_VSS_WHY_DONE ? "success" : "failure",
		    vss_why_name(events[i].why));
		devctl_notify("HYPERV", "VSS", vss_opt_name(events[i].opt),
		    data);
	}
}

void
vss_host_msg(struct vss_softc *sc, uint8_t *msg, size_t len, uint64_t xactid)
{
	mtx_lock(&sc->mtx);
	vss_core_host_msg(&sc->core, msg, len, xactid);
	mtx_unlock(&sc->mtx);
}

/*
 * The nodes.
 */
static void
vss_open_free(struct vss_open *o)
{
	/* No knote may stay behind: it would call us when we are unloaded. */
	knlist_delete(&o->sel.si_note, curthread, 0);
	seldrain(&o->sel);
	knlist_destroy(&o->sel.si_note);
	free(o, M_HVVSS);
}

/* The last close of a descriptor, or the destruction of its node. */
static void
vss_close(void *arg)
{
	struct vss_open *o = arg;
	struct vss_softc *sc = o->sc;

	mtx_lock(&sc->mtx);
	vss_core_close(&sc->core, o->opener);
	sc->opens[o->opener] = NULL;
	/* With the daemon gone nothing is frozen: tell what was held back. */
	if (sc->event_count != 0 && !sc->core.detached)
		taskqueue_enqueue(taskqueue_thread, &sc->event_task);
	mtx_unlock(&sc->mtx);
	vss_open_free(o);
}

static int
vss_open(struct cdev *dev, int oflags __unused, int devtype __unused,
    struct thread *td)
{
	struct vss_softc *sc = dev->si_drv1;
	enum vss_node node = (enum vss_node)(uintptr_t)dev->si_drv2;
	struct vss_open *o;
	int error;

	o = malloc(sizeof(*o), M_HVVSS, M_WAITOK | M_ZERO);
	o->sc = sc;
	knlist_init_mtx(&o->sel.si_note, &sc->mtx);

	mtx_lock(&sc->mtx);
	error = vss_core_open(&sc->core, node, td->td_proc->p_pid, &o->opener);
	if (error == 0)
		sc->opens[o->opener] = o;
	mtx_unlock(&sc->mtx);
	if (error != 0) {
		vss_open_free(o);
		return (error);
	}
	error = devfs_set_cdevpriv(o, vss_close);
	if (error != 0)
		vss_close(o);
	return (error);
}

static int
vss_ioctl(struct cdev *dev __unused, u_long cmd, caddr_t data, int fflag,
    struct thread *td __unused)
{
	struct vss_open *o;
	int error;

	error = devfs_get_cdevpriv((void **)&o);
	if (error != 0)
		return (error);
	/* fcntl(F_SETFL) sends these; READ never blocks anyway. */
	if (cmd == FIONBIO || (cmd == FIOASYNC && *(int *)data == 0))
		return (0);

	mtx_lock(&o->sc->mtx);
	error = vss_core_ioctl(&o->sc->core, o->opener, cmd,
	    (fflag & FWRITE) != 0, data);
	mtx_unlock(&o->sc->mtx);
	return (error);
}

static int
vss_poll(struct cdev *dev __unused, int events, struct thread *td)
{
	struct vss_open *o;
	int revents;

	if (devfs_get_cdevpriv((void **)&o) != 0)
		return (POLLNVAL);
	mtx_lock(&o->sc->mtx);
	revents = o->sc->core.detached ? POLLHUP : 0;
	if (vss_core_is_readable(&o->sc->core, o->opener))
		revents |= events & (POLLIN | POLLRDNORM);
	if (revents == 0)
		selrecord(td, &o->sel);
	mtx_unlock(&o->sc->mtx);
	return (revents);
}

static void
vss_knote_detach(struct knote *kn)
{
	struct vss_open *o = kn->kn_hook;

	knlist_remove(&o->sel.si_note, kn, 0);
}

static int
vss_knote_event(struct knote *kn, long hint)
{
	struct vss_open *o = kn->kn_hook;

	mtx_assert(&o->sc->mtx, MA_OWNED);
	if (o->sc->core.detached) {
		kn->kn_flags |= EV_EOF;
		o->told = o->told || hint != VSS_HINT_NOTIFY;
	}
	kn->kn_data = vss_core_is_readable(&o->sc->core, o->opener);
	return (kn->kn_data != 0);
}

/* Not const: 14's kn_fop is not. */
static struct filterops vss_filterops = {
	.f_isfd = 1,
	.f_detach = vss_knote_detach,
	.f_event = vss_knote_event,
};

static int
vss_kqfilter(struct cdev *dev __unused, struct knote *kn)
{
	struct vss_open *o;
	int error;

	error = devfs_get_cdevpriv((void **)&o);
	if (error != 0)
		return (error);
	if (kn->kn_filter != EVFILT_READ)
		return (EINVAL);
	kn->kn_fop = &vss_filterops;
	kn->kn_hook = o;
	knlist_add(&o->sel.si_note, kn, 0);
	return (0);
}

static struct cdevsw vss_cdevsw = {
	.d_version = D_VERSION,
	.d_name = "hv_vss_broker",
	.d_open = vss_open,
	.d_ioctl = vss_ioctl,
	.d_poll = vss_poll,
	.d_kqfilter = vss_kqfilter,
};

int
vss_make_node(struct vss_softc *sc, struct cdev **devp, struct cdevsw *csw,
    enum vss_node node, int mode, const char *name)
{
	struct make_dev_args args;
	int error;

	make_dev_args_init(&args);
	args.mda_flags = MAKEDEV_CHECKNAME | MAKEDEV_WAITOK;
	args.mda_devsw = csw;
	args.mda_uid = UID_ROOT;
	args.mda_gid = GID_WHEEL;
	args.mda_mode = mode;
	args.mda_si_drv1 = sc;
	args.mda_si_drv2 = (void *)(uintptr_t)node;
	error = make_dev_s(&args, devp, "%s", name);
	if (error != 0)
		device_printf(sc->dev, "can't make /dev/%s: error %d%s\n",
		    name, error, error != EEXIST ? "" : ": the in-base driver "
		    "has it; set hint.hvvss.0.disabled=\"1\" in "
		    "/boot/loader.conf and reboot");
	return (error);
}

int
vss_attach(struct vss_softc *sc, device_t dev,
    int (*send)(void *, uint64_t, uint8_t *, size_t))
{
	struct vss_core_config config = { .max_apps = VSS_APPS_MAX };
	struct vss_core_ops ops = vss_ops;
	int error, max_apps;

	if (vss_hosts != 0) {
		device_printf(dev, "refused: there is a host already; is "
		    "hw.hv_vss_broker.testhost set?\n");
		return (EBUSY);
	}
	vss_hosts++;
	sc->dev = dev;
	ops.send = send;
	if (resource_int_value(VSS_DRIVER_NAME, device_get_unit(dev),
	    "max_apps", &max_apps) == 0 && max_apps > 0)
		config.max_apps = (uint32_t)max_apps;
	mtx_init(&sc->mtx, "hv_vss", NULL, MTX_DEF);
	callout_init_mtx(&sc->timer, &sc->mtx, 0);
	TASK_INIT(&sc->event_task, 0, vss_event_task, sc);
	vss_core_init(&sc->core, &config, &ops, sc);
	vss_add_sysctls(sc);

	error = vss_make_node(sc, &sc->fs_dev, &vss_cdevsw, VSS_NODE_FS, 0600,
	    FS_VSS_DEV_NAME);
	if (error == 0)
		error = vss_make_node(sc, &sc->app_dev, &vss_cdevsw,
		    VSS_NODE_APP, 0660, APP_VSS_DEV_NAME);
	if (error != 0)
		vss_detach(sc);
	return (error);
}

int
vss_quiesce(device_t dev)
{
	struct vss_softc *sc = device_get_softc(dev);
	bool open;

	mtx_lock(&sc->mtx);
	open = sc->host_open || vss_core_openers(&sc->core, VSS_NODE_FS) +
	    vss_core_openers(&sc->core, VSS_NODE_APP) != 0;
	mtx_unlock(&sc->mtx);
	return (open ? EBUSY : 0);
}

/* A program may be in kevent(2), woken and not yet told why. */
static bool
vss_untold(struct vss_softc *sc)
{
	int i;

	for (i = 0; i < VSS_OPENERS_MAX; i++)
		if (sc->opens[i] != NULL && !sc->opens[i]->told &&
		    !KNLIST_EMPTY(&sc->opens[i]->sel.si_note))
			return (true);
	return (false);
}

void
vss_detach(struct vss_softc *sc)
{
	int tries;

	mtx_lock(&sc->mtx);
	vss_core_detach(&sc->core);
	/* For a second at most: a knote is no proof of a sleeper. */
	for (tries = 0; tries < 100 && vss_untold(sc); tries++)
		mtx_sleep(sc, &sc->mtx, 0, "vssbye", howmany(hz, 100));
	mtx_unlock(&sc->mtx);
	callout_drain(&sc->timer);

	/* Each waits for the threads inside and closes what is open. */
	if (sc->fs_dev != NULL)
		destroy_dev(sc->fs_dev);
	if (sc->app_dev != NULL)
		destroy_dev(sc->app_dev);
	taskqueue_drain(taskqueue_thread, &sc->event_task);
	sysctl_ctx_free(&sc->sysctls);
	mtx_destroy(&sc->mtx);
	vss_hosts--;
}
