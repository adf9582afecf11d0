/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The world around one request core, for tests: a clock, a timer, a host that
 * counts its answers, openers.  What the core does is written to a trace in
 * words ("arm", "wake app1", "ok CHECK"); did() compares and clears it.
 *
 * Rules that hold in every test are asserted here: each message is answered
 * once, no closed opener is woken, no request waits without a timer, and the
 * reason that is noted fits the answer.
 */
#ifndef _WORLD_H_
#define	_WORLD_H_

#include "../hv_utilreg.h"
#include "../vss_core.h"
#include "../../tests/check.h"
#include "ic.h"

#define	OK	VSS_SUCCESS
#define	NO	VSS_FAIL

enum { FS = VSS_FS_OPENER, WORLD_HOST_MSGS = 4096 };

struct world {
	struct vss_core	core;
	uint64_t	now;
	int		timer_armed;
	uint32_t	timer_ms;
	uint64_t	sent;			/* host messages so far */
	uint8_t		kind[WORLD_HOST_MSGS];	/* operation, by xactid */
	uint8_t		answered[WORLD_HOST_MSGS];
	uint8_t		answer[IC_ROOM];	/* the last one's begin */
	size_t		answer_len;
	int		unsendable;		/* the errno of each answer */
	int		done_calls;
	uint32_t	done_opt, done_status, done_why;
	int		done_may_hold;
	char		trace[1024];
};

static const char *const word_for_opt[] = { "NONE", "CHECK", "FREEZE", "THAW" };

static const char *
word_for_operation(unsigned operation)
{
	switch (operation) {
	case IC_CHECK:
		return ("CHECK");
	case IC_FREEZE:
		return ("FREEZE");
	case IC_THAW:
		return ("THAW");
	case IC_DM_INFO:
		return ("DM_INFO");
	case 0xff:
		return ("NEGOTIATE");
	default:
		return ("OTHER");
	}
}

static void
trace(struct world *w, const char *a, const char *b)
{
	size_t used = strlen(w->trace);

	snprintf(w->trace + used, sizeof(w->trace) - used, "%s%s%s",
	    used != 0 ? ", " : "", a, b);
}

static uint64_t
world_now(void *arg)
{
	return (((struct world *)arg)->now);
}

static int
world_send(void *arg, uint64_t xactid, uint8_t *msg, size_t len)
{
	struct world *w = arg;

	must(xactid >= 1 && xactid <= w->sent);
	must_say(!w->answered[xactid], "a message was answered twice");
	w->answered[xactid] = 1;
	must_equal(msg[25], 1 | 4);
	/* A host's message may be longer than what is looked at. */
	memcpy(w->answer, msg, len < sizeof(w->answer) ? len :
	    sizeof(w->answer));
	w->answer_len = len;
	trace(w, w->unsendable != 0 ? "unsent " : ic_status(msg) == HV_S_OK ?
	    "ok " : ic_status(msg) == HV_E_FAIL ? "fail " : "unsupported ",
	    word_for_operation(w->kind[xactid]));
	return (w->unsendable);
}

static void
world_notify(void *arg, int opener)
{
	struct world *w = arg;
	char app[8];

	must(opener >= 0 && opener < VSS_OPENERS_MAX);
	must_say(w->core.openers[opener].open, "woke opener %d, which is "
	    "closed", opener);
	must_say(w->core.stage == VSS_IDLE || w->timer_armed,
	    "woke opener %d before the timer was armed", opener);
	must(vss_core_is_readable(&w->core, opener));
	snprintf(app, sizeof(app), "app%d", opener);
	trace(w, "wake ", opener == FS ? "fs" : app);
}

static void
world_arm(void *arg, uint32_t ms)
{
	struct world *w = arg;

	w->timer_armed = 1;
	w->timer_ms = ms;
	trace(w, "arm", "");
}

static void
world_cancel(void *arg)
{
	((struct world *)arg)->timer_armed = 0;
}

static void
world_done(void *arg, const struct hv_vss_heard_req *heard, int may_hold)
{
	struct world *w = arg;

	must_say((heard->why == HV_VSS_WHY_DONE) ==
	    (ic_status(w->answer) == HV_S_OK), "why and answer differ");
	must_equal(heard->status, w->unsendable != 0 ? HV_VSS_HEARD_NOTHING :
	    heard->why == HV_VSS_WHY_DONE ? OK : NO);
	w->done_calls++;
	w->done_opt = heard->opt;
	w->done_status = heard->status;
	w->done_why = heard->why;
	w->done_may_hold = may_hold;
}

static const struct vss_core_ops world_ops = {
	.now_ns = world_now,
	.send = world_send,
	.notify = world_notify,
	.timer_arm = world_arm,
	.timer_cancel = world_cancel,
	.done = world_done,
};

static inline void
world_init(struct world *w, uint32_t max_apps)
{
	struct vss_core_config config = { .max_apps = max_apps };

	memset(w, 0, sizeof(*w));
	w->now = 1700000000ULL * 1000000000;
	vss_core_init(&w->core, &config, &world_ops, w);
}

static inline void
world_did(struct world *w, const char *want, const char *file, int line)
{
	if (strcmp(w->trace, want) != 0) {
		printf("# %s:%d: it did \"%s\", not \"%s\"\n", file, line,
		    w->trace, want);
		check_fail();
	}
	w->trace[0] = '\0';
	if ((w->core.stage != VSS_IDLE) != w->timer_armed) {
		printf("# %s:%d: timer and pending request differ\n", file,
		    line);
		check_fail();
	}
}
#define	did(w, want)	world_did(w, want, __FILE__, __LINE__)

static inline void
host_sends(struct world *w, uint8_t *m, size_t len, unsigned kind)
{
	/* An exact block on the heap: nothing beyond it may be touched. */
	uint8_t *copy = malloc(len != 0 ? len : 1);

	must(copy != NULL && w->sent + 1 < WORLD_HOST_MSGS);
	memcpy(copy, m, len);
	w->sent++;
	w->kind[w->sent] = (uint8_t)kind;
	w->answered[w->sent] = 0;
	vss_core_host_msg(&w->core, copy, len, w->sent);
	free(copy);
}

static inline void
host_asks(struct world *w, unsigned operation)
{
	uint8_t m[IC_ROOM];

	host_sends(w, m, ic_vss(m, operation), operation);
}

static inline void
host_negotiates(struct world *w)
{
	const uint16_t offer[] = { 1, 0, 3, 0, 1, 0, 5, 0 };
	uint8_t m[IC_ROOM];

	host_sends(w, m, ic_negotiate(m, 2, 2, offer), 0xff);
}

static inline int
opens(struct world *w, enum vss_node node)
{
	static int32_t pid = 100;
	int opener = -1;

	must_equal(vss_core_open(&w->core, node, ++pid, &opener), 0);
	must_equal(w->core.openers[opener].pid, pid);
	must(node == VSS_NODE_FS ? opener == FS : opener > FS);
	return (opener);
}

static inline void
closes(struct world *w, int opener)
{
	vss_core_close(&w->core, opener);
}

/* READs and claims what it gets; returns it for the answer. */
static inline struct hv_vss_opt_msg
reads(struct world *w, int opener, uint32_t opt)
{
	static const uint8_t zero[48];
	struct hv_vss_opt_msg m;

	memset(&m, 0xa5, sizeof(m));
	must_equal(vss_core_is_readable(&w->core, opener), opt != HV_VSS_NONE);
	must_equal(vss_core_read(&w->core, opener, &m), 0);
	must_say(m.opt == opt, "READ gave %s, not %s", word_for_opt[m.opt],
	    word_for_opt[opt]);
	must_equal(m.status, opt == HV_VSS_NONE ? VSS_FAIL : VSS_SUCCESS);
	must(memcmp(m.reserved, zero, sizeof(zero)) == 0);
	return (m);
}

static inline int
writes(struct world *w, int opener, struct hv_vss_opt_msg m, uint32_t status)
{
	m.status = status;
	return (vss_core_write(&w->core, opener, &m));
}

static inline void
says(struct world *w, int opener, uint32_t opt, uint32_t status)
{
	must_equal(writes(w, opener, reads(w, opener, opt), status), 0);
}

static inline void
time_is_up(struct world *w)
{
	must(w->timer_armed);
	w->timer_armed = 0;
	vss_core_timeout(&w->core);
}

/* What IOCHVVSSHEARD tells this opener. */
static inline struct hv_vss_heard
hears(struct world *w, int opener)
{
	struct hv_vss_heard h;

	memset(&h, 0xa5, sizeof(h));
	must_equal(vss_core_ioctl(&w->core, opener, IOCHVVSSHEARD, 0, &h), 0);
	return (h);
}

/* The newest request that the daemon is told of. */
static inline struct hv_vss_heard_req
last_heard(struct world *w)
{
	struct hv_vss_heard h = hears(w, FS);

	must(h.count != 0);
	return (h.req[h.count - 1]);
}

/* A guest with the daemon and that many applications. */
static inline void
a_guest(struct world *w, int apps)
{
	world_init(w, 0);
	opens(w, VSS_NODE_FS);
	for (int i = 1; i <= apps; i++)
		must_equal(opens(w, VSS_NODE_APP), i);
}

#endif /* !_WORLD_H_ */
