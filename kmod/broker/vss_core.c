/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The request state machine of the VSS driver.  It has no lock: its caller's is
 * held in every function.  See vss_core.h for what else it leaves to others.
 *
 *                 CHECK, FREEZE                        THAW
 *          .------------------------. idle .------------------------.
 *          |                        `--^---'                        |
 *          v                           |                            v
 *    asking the apps -- no, gone ----->+<---- no, node closed -- asking fs
 *          | all yes, or none there    |                            | yes
 *          v                           |                            v
 *      asking fs ----- yes or no ----->+<-- all done or gone -- asking the apps
 *
 * - One request at a time.  Any other that comes meanwhile fails at once; but
 *   a THAW fails a pending CHECK or FREEZE instead, and takes its place.
 * - The time limit is one for both stages; when it passes, the host hears
 *   HV_E_FAIL, and answers that come later are late.
 * - CHECK and FREEZE fail as soon as one of those that were asked says no or
 *   closes, even after it had said yes.  In a THAW all are asked to the end:
 *   an application that closes is passed over, one that says no makes it fail.
 * - With the filesystem node closed, requests fail at once; negotiation and
 *   GET_DM_INFO, which need no program, are answered all the same.  (The
 *   in-base driver stays silent until the node's first open.)
 * - An application that has READ a FREEZE "holds" until it READs a THAW.
 *   When a FREEZE fails or a THAW ends, each that still holds is handed a THAW
 *   of the driver's own, for which nothing waits.  A FREEZE that a THAW
 *   displaced is left to that THAW, so that filesystems are released first.
 * - An opener reads its own THAW before the host's next request.
 */
#ifdef _KERNEL
#include <sys/param.h>
#include <sys/systm.h>
#include <sys/errno.h>
#else
#include <errno.h>
#include <string.h>
#endif

#include "hv_utilreg.h"
#include "vss_core.h"
#include "vss_ic.h"

/* msgids are unique among this many requests, whatever the clock does. */
#define	MSGID_SEQ_MASK	1023U

#define	FS(c)			(&(c)->openers[VSS_FS_OPENER])
#define	FOREACH_APP(o, c)						\
	for ((o) = &(c)->openers[1];					\
	    (o) < &(c)->openers[VSS_OPENERS_MAX]; (o)++)

static int
index_of(const struct vss_core *c, const struct vss_opener *o)
{
	return ((int)(o - c->openers));
}

static struct vss_opener *
find_opener(struct vss_core *c, int opener)
{
	if (opener < 0 || opener >= VSS_OPENERS_MAX ||
	    !c->openers[opener].open)
		return (NULL);
	return (&c->openers[opener]);
}

static void
say(struct vss_core *c, int level, const char *what, int opener, uint32_t opt,
    uint64_t msgid)
{
	if (c->ops.log != NULL)
		c->ops.log(c->arg, level, what, opener, opt, msgid);
}

/* 0, or an errno if the answer did not go out. */
static int
send_answer(struct vss_core *c, uint64_t xactid, uint8_t *msg, size_t len,
    uint32_t status)
{
	int error;

	vss_ic_answer(msg, status);
	c->counters.answers++;
	error = c->ops.send(c->arg, xactid, msg, len);
	if (error != 0)
		c->counters.unsent++;
	return (error);
}

/*
 * The arrival time, to the microsecond; the rest is a sequence number.  So a
 * program can tell from it how much of the limit is spent, and a clock that is
 * set back can't make two requests look like one.
 */
static uint64_t
new_msgid(struct vss_core *c)
{
	return ((c->ops.now_ns(c->arg) & ~(uint64_t)MSGID_SEQ_MASK) |
	    (c->next_seq++ & MSGID_SEQ_MASK));
}

/* This application is why the request fails. */
static void
blame(struct vss_core *c, int app, int32_t pid)
{
	c->req.app = (uint32_t)app;
	c->req.app_pid = pid;
}

static int
has_read(const struct vss_opener *o, uint64_t msgid)
{
	for (int i = 0; i < VSS_RECENT_IDS; i++)
		if (o->recent[i] == msgid && msgid != 0)
			return (1);
	return (0);
}

/* Hands a THAW to every application that was handed FREEZE and left so. */
static void
release_holders(struct vss_core *c)
{
	struct vss_opener *o;

	FOREACH_APP(o, c) {
		if (!o->open || !o->holds || o->own == VSS_PART_QUEUED)
			continue;
		o->own = VSS_PART_QUEUED;
		o->own_id = new_msgid(c);
		c->counters.driver_thaws++;
		say(c, VSS_LOG_INFO, "driver's own THAW", index_of(c, o),
		    HV_VSS_THAW, o->own_id);
		c->ops.notify(c->arg, index_of(c, o));
	}
}

/* The host hears how its CHECK, FREEZE or THAW ended, and it is noted why. */
static void
conclude(struct vss_core *c, const char *what, uint32_t opt, uint64_t msgid,
    uint64_t xactid, uint8_t *msg, size_t len, enum hv_vss_why why)
{
	struct hv_vss_heard_req *h;
	int error, yes = why == HV_VSS_WHY_DONE;

	if (opt == HV_VSS_CHECK)
		vss_ic_set_flags(msg, VSS_HBU_NO_AUTO_RECOVERY);
	say(c, yes ? VSS_LOG_INFO : VSS_LOG_ERR, what, -1, opt, msgid);
	error = send_answer(c, xactid, msg, len, yes ? HV_S_OK : HV_E_FAIL);

	h = &c->heard[c->heard_total++ % HV_VSS_HEARD_MAX];
	memset(h, 0, sizeof(*h));
	h->msgid = msgid;
	h->opt = opt;
	h->status = error != 0 ? HV_VSS_HEARD_NOTHING :
	    yes ? VSS_SUCCESS : VSS_FAIL;
	h->why = why;
	if (why == HV_VSS_WHY_APP_REFUSED || why == HV_VSS_WHY_APP_TIMEOUT ||
	    why == HV_VSS_WHY_APP_GONE) {
		h->app = c->req.app;
		h->pid = c->req.app_pid;
	}
	if (c->ops.done != NULL)
		c->ops.done(c->arg, h, VSS_CORE_MAY_HOLD(c));
}

/* Answers the pending request and withdraws it from all openers. */
static void
end_request(struct vss_core *c, enum hv_vss_why why)
{
	struct vss_request *r = &c->req;

	c->ops.timer_cancel(c->arg);
	c->stage = VSS_IDLE;
	for (int i = 0; i < VSS_OPENERS_MAX; i++)
		c->openers[i].part = VSS_PART_NONE;
	conclude(c, why == HV_VSS_WHY_DONE ? "host hears success" :
	    "host hears failure", r->opt, r->msgid, r->xactid, r->msg, r->len,
	    why);
}

static void
finish(struct vss_core *c, enum hv_vss_why why)
{
	uint32_t opt = c->req.opt;

	end_request(c, why);
	if (opt == HV_VSS_THAW ||
	    (opt == HV_VSS_FREEZE && why != HV_VSS_WHY_DONE))
		release_holders(c);
}

static void
ask_fs(struct vss_core *c)
{
	c->stage = VSS_ASKING_FS;
	FS(c)->part = VSS_PART_QUEUED;
	c->ops.notify(c->arg, VSS_FS_OPENER);
}

/* Asks all applications at once; returns how many there are. */
static int
ask_apps(struct vss_core *c)
{
	struct vss_opener *o;
	int asked;

	asked = vss_core_openers(c, VSS_NODE_APP);
	if (asked != 0)
		c->stage = VSS_ASKING_APPS;
	FOREACH_APP(o, c)
		if (o->open) {
			o->part = VSS_PART_QUEUED;
			c->ops.notify(c->arg, index_of(c, o));
		}
	return (asked);
}

/* The first application whose answer is awaited, if any is. */
static struct vss_opener *
awaited_app(struct vss_core *c)
{
	struct vss_opener *o;

	FOREACH_APP(o, c)
		if (o->part == VSS_PART_QUEUED || o->part == VSS_PART_READ)
			return (o);
	return (NULL);
}

/* One of the applications asked has answered or is gone: was it the last? */
static void
check_apps(struct vss_core *c)
{
	if (awaited_app(c) != NULL)
		return;
	if (c->req.opt == HV_VSS_THAW)
		finish(c, c->req.app != 0 ? HV_VSS_WHY_APP_REFUSED :
		    HV_VSS_WHY_DONE);
	else
		ask_fs(c);
}

static void
begin(struct vss_core *c, uint32_t opt, const uint8_t *msg, size_t len,
    uint64_t xactid)
{
	struct vss_request *r = &c->req;

	r->opt = opt;
	r->app = 0;
	r->msgid = new_msgid(c);
	r->xactid = xactid;
	/* All that the format defines fits in; more is not echoed. */
	r->len = len < sizeof(r->msg) ? (uint32_t)len : sizeof(r->msg);
	memcpy(r->msg, msg, r->len);
	say(c, VSS_LOG_INFO, "host asks", -1, opt, r->msgid);

	/* Armed first: a program that is woken may answer before we return. */
	c->ops.timer_arm(c->arg, opt == HV_VSS_FREEZE &&
	    c->freeze_timeout_ms != 0 ? c->freeze_timeout_ms : c->timeout_ms);
	if (opt == HV_VSS_THAW || ask_apps(c) == 0)
		ask_fs(c);
}

static void
host_request(struct vss_core *c, uint32_t opt, uint8_t *msg, size_t len,
    uint64_t xactid)
{
	enum hv_vss_why why = HV_VSS_WHY_NONE;

	c->counters.requests++;
	if (!FS(c)->open)
		why = HV_VSS_WHY_FS_CLOSED;
	else if (c->stage != VSS_IDLE &&
	    (opt != HV_VSS_THAW || c->req.opt == HV_VSS_THAW))
		why = HV_VSS_WHY_BUSY;
	if (why != HV_VSS_WHY_NONE) {
		c->counters.refused++;
		conclude(c, why == HV_VSS_WHY_BUSY ?
		    "refused: another request is pending" :
		    "refused: filesystem node is closed", opt, new_msgid(c),
		    xactid, msg, len, why);
		if (opt == HV_VSS_THAW && c->stage == VSS_IDLE)
			release_holders(c);
		return;
	}
	if (c->stage != VSS_IDLE) {
		c->counters.cancelled++;
		end_request(c, HV_VSS_WHY_DISPLACED);
	}
	begin(c, opt, msg, len, xactid);
}

void
vss_core_host_msg(struct vss_core *c, uint8_t *msg, size_t len,
    uint64_t xactid)
{
	enum vss_ic_kind kind;
	uint32_t status;

	if (c->detached)
		return;
	kind = vss_ic_kind(msg, len);
	if (kind == VSS_IC_RUNT) {
		c->counters.runts++;
		say(c, VSS_LOG_ERR, "dropped: shorter than a header", -1,
		    HV_VSS_NONE, 0);
		return;
	}
	c->counters.messages++;

	switch (kind) {
	case VSS_IC_CHECK:
	case VSS_IC_FREEZE:
	case VSS_IC_THAW:
		host_request(c, HV_VSS_CHECK + (kind - VSS_IC_CHECK), msg, len,
		    xactid);
		return;
	case VSS_IC_NEGOTIATE:
		status = vss_ic_negotiate(msg, len, &c->fw_version,
		    &c->msg_version);
		break;
	case VSS_IC_DM_INFO:
		vss_ic_set_flags(msg, 0);
		status = HV_S_OK;
		break;
	case VSS_IC_NOTHING_TO_DO:
		status = HV_S_OK;
		break;
	case VSS_IC_UNSUPPORTED:
		status = HV_ERROR_NOT_SUPPORTED;
		break;
	default:
		status = HV_E_FAIL;
		break;
	}
	if (status != HV_S_OK)
		say(c, VSS_LOG_ERR, "message refused", -1, HV_VSS_NONE, 0);
	(void)send_answer(c, xactid, msg, len, status);
}

int
vss_core_open(struct vss_core *c, enum vss_node node, int32_t pid,
    int *openerp)
{
	struct vss_opener *o, *end;

	if (c->detached)
		return (ENXIO);
	o = node == VSS_NODE_FS ? FS(c) : &c->openers[1];
	end = o + (node == VSS_NODE_FS ? 1 : c->max_apps);
	while (o < end && o->open)
		o++;
	if (o == end)
		return (EBUSY);

	o->open = 1;		/* all else was cleared by the last close */
	o->pid = pid;
	*openerp = index_of(c, o);
	return (0);
}

void
vss_core_close(struct vss_core *c, int opener)
{
	struct vss_opener *o = find_opener(c, opener), was;

	if (o == NULL)
		return;
	was = *o;
	memset(o, 0, sizeof(*o));
	if (c->stage == VSS_IDLE)
		return;
	/* The daemon's part may be yet to come, or over: without it, no. */
	if (opener == VSS_FS_OPENER) {
		finish(c, HV_VSS_WHY_FS_GONE);
	} else if (was.part != VSS_PART_NONE && c->req.opt != HV_VSS_THAW) {
		blame(c, opener, was.pid);
		finish(c, HV_VSS_WHY_APP_GONE);
	} else if (was.part != VSS_PART_NONE)
		check_apps(c);
}

int
vss_core_read(struct vss_core *c, int opener, struct hv_vss_opt_msg *msg)
{
	struct vss_opener *o = find_opener(c, opener);

	memset(msg, 0, sizeof(*msg));
	if (o == NULL || c->detached)
		return (ENXIO);

	if (o->own == VSS_PART_QUEUED) {
		o->own = VSS_PART_READ;
		msg->opt = HV_VSS_THAW;
		msg->msgid = o->own_id;
	} else if (o->part == VSS_PART_QUEUED) {
		o->part = VSS_PART_READ;
		msg->opt = c->req.opt;
		msg->msgid = c->req.msgid;
	} else {
		msg->status = VSS_FAIL;
		return (0);
	}
	o->recent[o->recent_next] = msg->msgid;
	o->recent_next = (o->recent_next + 1) % VSS_RECENT_IDS;
	/* An application is let go by hearing of it, the daemon by doing it. */
	if (msg->opt == HV_VSS_FREEZE)
		o->holds = 1;
	else if (msg->opt == HV_VSS_THAW && opener != VSS_FS_OPENER)
		o->holds = 0;
	say(c, VSS_LOG_DEBUG, "READ", opener, msg->opt, msg->msgid);
	return (0);
}

static void
fs_answered(struct vss_core *c, int yes)
{
	if ((c->req.opt == HV_VSS_FREEZE && !yes) ||
	    (c->req.opt == HV_VSS_THAW && yes))
		FS(c)->holds = 0;
	if (!yes)
		finish(c, HV_VSS_WHY_FS_REFUSED);
	else if (c->req.opt != HV_VSS_THAW || ask_apps(c) == 0)
		finish(c, HV_VSS_WHY_DONE);
}

static void
app_answered(struct vss_core *c, const struct vss_opener *o, int yes)
{
	/* Of several that refuse a THAW the first is named. */
	if (!yes && c->req.app == 0)
		blame(c, index_of(c, o), o->pid);
	if (!yes && c->req.opt != HV_VSS_THAW)
		finish(c, HV_VSS_WHY_APP_REFUSED);
	else
		check_apps(c);
}

int
vss_core_write(struct vss_core *c, int opener,
    const struct hv_vss_opt_msg *msg)
{
	struct vss_opener *o = find_opener(c, opener);
	int own, yes = msg->status == VSS_SUCCESS;

	if (o == NULL || c->detached)
		return (ENXIO);

	own = o->own == VSS_PART_READ && o->own_id == msg->msgid;
	if (!own && (o->part != VSS_PART_READ || c->req.msgid != msg->msgid)) {
		if (!has_read(o, msg->msgid)) {
			say(c, VSS_LOG_INFO, "WRITE of an id it never READ",
			    opener, msg->opt, msg->msgid);
			return (ENOENT);
		}
		c->counters.late_answers++;
		o->late = msg->msgid;
		say(c, VSS_LOG_INFO, "WRITE too late", opener, msg->opt,
		    msg->msgid);
		return (opener == VSS_FS_OPENER ? ETIMEDOUT : 0);
	}
	if (msg->opt != (own ? HV_VSS_THAW : c->req.opt)) {
		say(c, VSS_LOG_INFO, "WRITE of another opt than it READ",
		    opener, msg->opt, msg->msgid);
		return (EINVAL);
	}
	say(c, VSS_LOG_DEBUG, yes ? "says done" : "says no", opener, msg->opt,
	    msg->msgid);

	if (own) {
		o->own = VSS_PART_NONE;
		return (0);
	}
	o->part = VSS_PART_DONE;
	if (opener == VSS_FS_OPENER)
		fs_answered(c, yes);
	else
		app_answered(c, o, yes);
	return (0);
}

int
vss_core_heard(const struct vss_core *c, int opener,
    struct hv_vss_heard *heard)
{
	uint64_t first;

	memset(heard, 0, sizeof(*heard));
	if (opener < 0 || opener >= VSS_OPENERS_MAX ||
	    !c->openers[opener].open)
		return (ENXIO);

	heard->version = HV_VSS_HEARD_VERSION;
	heard->total = c->heard_total;
	heard->late = c->openers[opener].late;
	heard->apps = (uint32_t)vss_core_openers(c, VSS_NODE_APP);
	heard->count = c->heard_total < HV_VSS_HEARD_MAX ?
	    (uint32_t)c->heard_total : HV_VSS_HEARD_MAX;
	first = c->heard_total - heard->count;
	for (uint32_t i = 0; i < heard->count; i++) {
		heard->req[i] = c->heard[(first + i) % HV_VSS_HEARD_MAX];
		if (opener != VSS_FS_OPENER)
			heard->req[i].pid = 0;
	}
	for (int i = 0; i < VSS_APPS_MAX && opener == VSS_FS_OPENER; i++)
		heard->app_pid[i] = c->openers[1 + i].pid;
	return (0);
}

int
vss_core_ioctl(struct vss_core *c, int opener, unsigned long cmd,
    int open_for_writing, void *data)
{
	if (cmd == IOCHVVSSHEARD)
		return (vss_core_heard(c, opener, data));
	if (c->detached)
		return (ENXIO);
	if (cmd != IOCHVVSSREAD && cmd != IOCHVVSSWRITE)
		return (ENOTTY);
	if (!open_for_writing)
		return (EPERM);
	return (cmd == IOCHVVSSREAD ? vss_core_read(c, opener, data) :
	    vss_core_write(c, opener, data));
}

int
vss_core_is_readable(const struct vss_core *c, int opener)
{
	const struct vss_opener *o;

	if (opener < 0 || opener >= VSS_OPENERS_MAX)
		return (0);
	o = &c->openers[opener];
	return (o->open && (c->detached || o->own == VSS_PART_QUEUED ||
	    o->part == VSS_PART_QUEUED));
}

void
vss_core_timeout(struct vss_core *c)
{
	const struct vss_opener *o;

	if (c->stage == VSS_IDLE)
		return;
	c->counters.timeouts++;
	say(c, VSS_LOG_ERR, c->stage == VSS_ASKING_FS ?
	    "no answer in time from the daemon" :
	    "no answer in time from an application", -1, c->req.opt,
	    c->req.msgid);
	o = awaited_app(c);
	if (o == NULL) {
		finish(c, HV_VSS_WHY_FS_TIMEOUT);
	} else {
		blame(c, index_of(c, o), o->pid);
		finish(c, HV_VSS_WHY_APP_TIMEOUT);
	}
}

void
vss_core_set_timeout_ms(struct vss_core *c, uint32_t timeout_ms)
{
	c->timeout_ms = timeout_ms < VSS_TIMEOUT_LOWEST_MS ?
	    VSS_TIMEOUT_LOWEST_MS : timeout_ms > VSS_TIMEOUT_HIGHEST_MS ?
	    VSS_TIMEOUT_HIGHEST_MS : timeout_ms;
}

void
vss_core_set_freeze_timeout_ms(struct vss_core *c, uint32_t timeout_ms)
{
	c->freeze_timeout_ms = timeout_ms == 0 ? 0 :
	    timeout_ms < VSS_TIMEOUT_LOWEST_MS ? VSS_TIMEOUT_LOWEST_MS :
	    timeout_ms > VSS_FREEZE_HIGHEST_MS ? VSS_FREEZE_HIGHEST_MS :
	    timeout_ms;
}

void
vss_core_init(struct vss_core *c, const struct vss_core_config *config,
    const struct vss_core_ops *ops, void *arg)
{
	memset(c, 0, sizeof(*c));
	c->ops = *ops;
	c->arg = arg;
	c->next_seq = 1;
	c->max_apps = VSS_APPS_MAX;
	c->timeout_ms = VSS_TIMEOUT_DEFAULT_MS;
	if (config == NULL)
		return;
	if (config->max_apps != 0 && config->max_apps < VSS_APPS_MAX)
		c->max_apps = config->max_apps;
	if (config->timeout_ms != 0)
		vss_core_set_timeout_ms(c, config->timeout_ms);
	vss_core_set_freeze_timeout_ms(c, config->freeze_timeout_ms);
}

void
vss_core_detach(struct vss_core *c)
{
	if (c->detached)
		return;
	if (c->stage != VSS_IDLE)
		end_request(c, HV_VSS_WHY_DETACHED);
	c->detached = 1;
	for (int i = 0; i < VSS_OPENERS_MAX; i++) {
		c->openers[i].own = VSS_PART_NONE;
		if (c->openers[i].open)
			c->ops.notify(c->arg, i);
	}
}

size_t
vss_core_size(void)
{
	return (sizeof(struct vss_core));
}

size_t
vss_core_align(void)
{
	return (_Alignof(struct vss_core));
}

enum vss_stage
vss_core_stage(const struct vss_core *c)
{
	return ((enum vss_stage)c->stage);
}

int
vss_core_openers(const struct vss_core *c, enum vss_node node)
{
	int count = 0;

	if (node == VSS_NODE_FS)
		return (c->openers[VSS_FS_OPENER].open);
	for (int i = 1; i < VSS_OPENERS_MAX; i++)
		count += c->openers[i].open;
	return (count);
}
