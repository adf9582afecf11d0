/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * All histories, not the ones we thought of.  A guest with the daemon and up
 * to three applications is driven by every event in every state, until no
 * new state appears (closure); and once more without merging states, as all
 * sequences of a bounded length.  After each single event the rules at the
 * end of step() are asserted.
 *
 * Two concrete states count as one if they differ only in the values of ids,
 * the clock and the counters: none of these decides what the core does, but
 * for id comparisons, and those are covered by offering the live, the late
 * and a foreign id in each state.
 */
#include <errno.h>

#include "world.h"

enum { APPS = 3, OPENERS = 1 + APPS, STATES_MAX = 1 << 18 };

enum event_kind {
	EV_CHECK, EV_FREEZE, EV_THAW, EV_NEGOTIATE, EV_TIMEOUT, EV_DETACH,
	EV_OPEN, EV_CLOSE, EV_READ, EV_YES, EV_NO, EV_WRONG_OPT, EV_OWN_DONE,
	EV_LATE, EV_FOREIGN, EV_KINDS
};

/* What an outside observer knows; the core is judged by it. */
struct ghost {
	struct vss_core core;
	uint8_t		frozen[OPENERS];	/* READ FREEZE, no THAW yet */
	uint8_t		asked[OPENERS];		/* READ, not answered */
	uint8_t		said_yes[OPENERS];	/* to the pending request */
	uint8_t		said_no;		/* to the pending THAW */
	uint64_t	part_id[OPENERS];	/* the request READ last */
	uint64_t	own_id[OPENERS];
	uint8_t		own_read[OPENERS];	/* has own_id to answer */
	uint64_t	late_id[OPENERS];
	uint64_t	told_late[OPENERS];	/* what IOCHVVSSHEARD tells */
	uint32_t	pending_opt;		/* what the host waits for */
};

static struct ghost *states;
static uint32_t states_used;
static unsigned long events_tried;

static struct world w;
static struct ghost g;

/* What happened within the event at hand. */
static int ended, ended_ok, answered, notes;
static uint32_t ended_opt;
static struct hv_vss_heard_req noted;

static int
walk_send(void *arg, uint64_t xactid, uint8_t *msg, size_t len)
{
	(void)arg;
	(void)len;
	if (xactid == 1)	/* a negotiation */
		return (0);
	answered++;
	must_say(w.answered[xactid] == 0, "answered twice");
	w.answered[xactid] = 1;
	if (xactid == 2) {
		must(g.pending_opt != HV_VSS_NONE);
		ended = 1;
		ended_ok = ic_status(msg) == HV_S_OK;
		ended_opt = g.pending_opt;
		g.pending_opt = HV_VSS_NONE;
		for (int i = 0; i < OPENERS; i++) {
			if (g.asked[i])
				g.late_id[i] = g.part_id[i];
			if (!ended_ok)
				continue;
			must_say(!g.said_no, "success, and an app said no");
			must_say(!g.asked[i], "success before %d answered", i);
			must_say(i != FS || g.said_yes[FS],
			    "success without the fs node");
		}
		memset(g.asked, 0, sizeof(g.asked));
		memset(g.said_yes, 0, sizeof(g.said_yes));
		g.said_no = 0;
	}
	return (0);
}

static void
walk_done(void *arg, const struct hv_vss_heard_req *heard, int may_hold)
{
	struct world *world = arg;

	must_equal(may_hold, world->core.openers[FS].holds);
	notes++;
	noted = *heard;
}

/* The reason that was noted is the one that the observer sees. */
static void
noted_rightly(enum event_kind kind, int i, const struct ghost *before,
    int fs_asked)
{
	enum hv_vss_why why = (enum hv_vss_why)noted.why;
	int was_no = before->said_no || (kind == EV_NO && i != FS);

	must_equal(notes, answered);
	if (notes == 0)
		return;
	must_equal(notes, 1);
	must(noted.msgid != 0);
	must_equal(noted.status == VSS_SUCCESS, why == HV_VSS_WHY_DONE);
	must_equal(noted.app != 0, why == HV_VSS_WHY_APP_REFUSED ||
	    why == HV_VSS_WHY_APP_TIMEOUT || why == HV_VSS_WHY_APP_GONE);
	switch (kind) {
	case EV_CHECK:
	case EV_FREEZE:
	case EV_THAW:
		must_equal(why, !before->core.openers[FS].open ?
		    HV_VSS_WHY_FS_CLOSED : kind == EV_THAW &&
		    before->pending_opt != HV_VSS_THAW ?
		    HV_VSS_WHY_DISPLACED : HV_VSS_WHY_BUSY);
		break;
	case EV_TIMEOUT:
		must_equal(why, fs_asked ? HV_VSS_WHY_FS_TIMEOUT :
		    HV_VSS_WHY_APP_TIMEOUT);
		must(fs_asked || before->core.openers[noted.app].part ==
		    VSS_PART_QUEUED || before->asked[noted.app]);
		break;
	case EV_DETACH:
		must_equal(why, HV_VSS_WHY_DETACHED);
		break;
	case EV_CLOSE:
		if (i == FS)
			must_equal(why, HV_VSS_WHY_FS_GONE);
		else if (before->pending_opt != HV_VSS_THAW)
			must(why == HV_VSS_WHY_APP_GONE &&
			    noted.app == (uint32_t)i);
		else
			must_equal(why, was_no ? HV_VSS_WHY_APP_REFUSED :
			    HV_VSS_WHY_DONE);
		break;
	case EV_YES:
	case EV_NO:
		if (kind == EV_NO && i == FS)
			must_equal(why, HV_VSS_WHY_FS_REFUSED);
		else
			must_equal(why, was_no ? HV_VSS_WHY_APP_REFUSED :
			    HV_VSS_WHY_DONE);
		must(!was_no || before->pending_opt == HV_VSS_THAW ||
		    noted.app == (uint32_t)i);
		break;
	default:
		must_say(0, "event %d ended a request", kind);
	}
}

/* What each opener is told fits what it did, and changes nothing. */
static void
told_rightly(void)
{
	struct hv_vss_heard h;
	uint32_t apps = 0;

	for (int j = 0; j < OPENERS; j++)
		apps += j != FS && w.core.openers[j].open;
	for (int j = 0; j < OPENERS; j++) {
		int error = vss_core_ioctl(&w.core, j, IOCHVVSSHEARD, 0, &h);

		must_equal(error, w.core.openers[j].open ? 0 : ENXIO);
		if (error != 0)
			continue;
		must_equal(h.version, HV_VSS_HEARD_VERSION);
		must_equal(h.late, g.told_late[j]);
		must_equal(h.apps, apps);
		must(h.count <= HV_VSS_HEARD_MAX && h.count <= h.total);
		must(notes == 0 || (h.count != 0 &&
		    h.req[h.count - 1].msgid == noted.msgid));
	}
}

static void
walk_notify(void *arg, int opener)
{
	world_notify(arg, opener);
	w.trace[0] = '\0';
}

static struct vss_core_ops walk_ops;

static void
load(const struct ghost *from)
{
	g = *from;
	w.core = g.core;
	w.timer_armed = g.pending_opt != HV_VSS_NONE;
}

/* The host sends; pending requests have xactid 2, the next one takes over. */
static void
host(unsigned operation)
{
	uint8_t m[IC_ROOM];
	size_t len = ic_vss(m, operation);
	int was_idle = g.pending_opt == HV_VSS_NONE;
	uint32_t opt = operation == IC_CHECK ? HV_VSS_CHECK :
	    operation == IC_FREEZE ? HV_VSS_FREEZE : HV_VSS_THAW;
	int displaces = !was_idle && opt == HV_VSS_THAW &&
	    g.pending_opt != HV_VSS_THAW;

	w.answered[2] = w.answered[3] = 0;
	vss_core_host_msg(&w.core, m, len, 3);
	if (displaces) {
		must_say(ended && !ended_ok, "a THAW did not displace");
		ended = 0;
	}
	if (!w.answered[3] && !w.core.detached) {
		must(was_idle || displaces);
		must_equal(w.core.stage != VSS_IDLE, 1);
		must_equal(w.core.req.xactid, 3);
		w.core.req.xactid = 2;
		g.pending_opt = opt;
	} else if (!w.core.detached) {
		must_equal(ic_status(m), HV_E_FAIL);
		if (opt == HV_VSS_THAW && was_idle) {
			ended = 1;	/* refused: the fs node is closed */
			ended_opt = opt;
			ended_ok = 0;
		}
	}
}

static void
read_one(int i)
{
	struct hv_vss_opt_msg m;
	int error = vss_core_read(&w.core, i, &m);

	if (w.core.detached) {
		must_equal(error, ENXIO);
		return;
	}
	must_equal(error, 0);
	if (m.opt == HV_VSS_NONE) {
		must_equal(m.status, VSS_FAIL);
		return;
	}
	must(i != FS || m.opt == g.pending_opt);
	if (g.pending_opt != HV_VSS_NONE && m.msgid == w.core.req.msgid) {
		must_equal(m.opt, g.pending_opt);
		must_say(!g.asked[i], "one request READ twice");
		g.asked[i] = 1;
		g.part_id[i] = m.msgid;
		for (int j = 1; j < OPENERS; j++) {
			must_say(i != FS || m.opt == HV_VSS_THAW || !g.asked[j],
			    "fs asked before app %d answered", j);
			must_say(i == FS || m.opt != HV_VSS_THAW ||
			    g.said_yes[FS], "app asked to thaw before fs did");
		}
	} else {
		must_equal(m.opt, HV_VSS_THAW);
		must_say(g.frozen[i], "own THAW for app %d, not frozen", i);
		must(!g.own_read[i]);
		g.own_id[i] = m.msgid;
		g.own_read[i] = 1;
	}
	if (m.opt != HV_VSS_CHECK)
		g.frozen[i] = m.opt == HV_VSS_FREEZE;
}

static void
write_one(int i, enum event_kind kind)
{
	struct hv_vss_opt_msg m;
	int want, error;

	memset(&m, 0, sizeof(m));
	m.opt = kind == EV_OWN_DONE ? (uint32_t)HV_VSS_THAW : g.pending_opt;
	m.status = kind == EV_NO ? VSS_FAIL : VSS_SUCCESS;
	switch (kind) {
	case EV_YES:
	case EV_NO:
		m.msgid = g.part_id[i];
		want = 0;
		break;
	case EV_WRONG_OPT:
		m.msgid = g.part_id[i];
		m.opt = g.pending_opt % HV_VSS_THAW + 1;
		want = EINVAL;
		break;
	case EV_OWN_DONE:
		m.msgid = g.own_id[i];
		want = 0;
		break;
	case EV_LATE:
		m.msgid = g.late_id[i];
		want = i == FS ? ETIMEDOUT : 0;
		if (!w.core.detached)
			g.told_late[i] = m.msgid;
		break;
	default:
		m.msgid = 12345;
		want = ENOENT;
		break;
	}
	/* The observer's view first: an answer may end the request. */
	if (kind == EV_YES || kind == EV_NO) {
		g.late_id[i] = g.part_id[i];
		g.asked[i] = 0;
		g.said_yes[i] = kind == EV_YES;
		g.said_no |= kind == EV_NO && i != FS &&
		    g.pending_opt == HV_VSS_THAW;
	} else if (kind == EV_OWN_DONE) {
		g.late_id[i] = g.own_id[i];
		g.own_read[i] = 0;
	}
	error = vss_core_write(&w.core, i, &m);
	must_equal(error, w.core.detached ? ENXIO : want);
}

/* Whether the event makes sense now; others would repeat one that does. */
static int
possible(enum event_kind kind, int i)
{
	int open = i < OPENERS && g.core.openers[i].open;

	switch (kind) {
	case EV_TIMEOUT:
		return (w.timer_armed);
	case EV_OPEN:
		return (!open);
	case EV_CLOSE:
	case EV_READ:
	case EV_FOREIGN:
		return (open);
	case EV_YES:
	case EV_NO:
	case EV_WRONG_OPT:
		return (open && g.asked[i]);
	case EV_OWN_DONE:
		return (open && g.own_read[i] && !g.core.detached);
	case EV_LATE:
		return (open && g.late_id[i] != 0);
	default:
		return (1);
	}
}

static void
open_one(int i)
{
	int opener = -1;
	int error = vss_core_open(&w.core, i == FS ? VSS_NODE_FS :
	    VSS_NODE_APP, 1, &opener);

	if (w.core.detached) {
		must_equal(error, ENXIO);
		return;
	}
	/* The lowest free slot is taken: let only that one be asked for. */
	must_equal(error, 0);
	g.frozen[opener] = g.asked[opener] = g.said_yes[opener] = 0;
	g.own_read[opener] = 0;
	g.late_id[opener] = g.told_late[opener] = 0;
}

static void
step(enum event_kind kind, int i)
{
	const uint16_t offer[] = { 3, 0, 5, 0 };
	uint8_t m[IC_ROOM];
	struct ghost before = g;
	int fs_asked = w.core.stage == VSS_ASKING_FS;

	before.core = w.core;
	ended = answered = notes = 0;
	w.answered[2] = 0;
	w.now += 5000;
	events_tried++;
	switch (kind) {
	case EV_CHECK:
		host(IC_CHECK);
		break;
	case EV_FREEZE:
		host(IC_FREEZE);
		break;
	case EV_THAW:
		host(IC_THAW);
		break;
	case EV_NEGOTIATE:
		vss_core_host_msg(&w.core, m, ic_negotiate(m, 1, 1, offer), 1);
		must_equal(w.core.stage, before.core.stage);
		break;
	case EV_TIMEOUT:
		time_is_up(&w);
		must_say(ended && !ended_ok, "time was up and nothing failed");
		break;
	case EV_DETACH:
		vss_core_detach(&w.core);
		must(g.pending_opt == HV_VSS_NONE);
		break;
	case EV_OPEN:
		open_one(i);
		break;
	case EV_CLOSE:
		g.asked[i] = g.frozen[i] = g.own_read[i] = 0;
		closes(&w, i);
		must(i != FS || g.pending_opt == HV_VSS_NONE);
		break;
	case EV_READ:
		read_one(i);
		break;
	default:
		write_one(i, kind);
		break;
	}
	w.trace[0] = '\0';
	noted_rightly(kind, i, &before, fs_asked);
	told_rightly();

	/* Each message has been answered, or is the one that is pending. */
	must_equal(w.core.counters.messages - w.core.counters.answers,
	    g.pending_opt != HV_VSS_NONE);
	must_equal(w.core.stage != VSS_IDLE, g.pending_opt != HV_VSS_NONE);
	must_equal(w.timer_armed, g.pending_opt != HV_VSS_NONE);
	if (w.core.detached) {
		must_equal(g.pending_opt, HV_VSS_NONE);
		return;
	}
	/* What is pending waits for an opener that can answer it. */
	int waits = 0;
	for (int j = 0; j < OPENERS; j++) {
		const struct vss_opener *o = &w.core.openers[j];
		int asked = o->part == VSS_PART_QUEUED ||
		    o->part == VSS_PART_READ;

		must(o->open || (o->part == VSS_PART_NONE &&
		    o->own == VSS_PART_NONE && !o->holds));
		must_equal(o->part == VSS_PART_READ, g.asked[j]);
		/* A newer THAW of the driver's own makes the older one late. */
		if (g.own_read[j] && o->own == VSS_PART_QUEUED) {
			g.late_id[j] = g.own_id[j];
			g.own_read[j] = 0;
		}
		must_equal(o->own == VSS_PART_READ, g.own_read[j]);
		waits += asked;
		must(!asked || w.core.stage ==
		    (j == FS ? VSS_ASKING_FS : VSS_ASKING_APPS));
	}
	must_equal(waits != 0, g.pending_opt != HV_VSS_NONE);
	must(g.pending_opt == HV_VSS_NONE || w.core.openers[FS].open);
	/* No application stays frozen after a failed request. */
	if (ended && (ended_opt == HV_VSS_THAW ||
	    (ended_opt == HV_VSS_FREEZE && !ended_ok)))
		for (int j = 1; j < OPENERS; j++)
			must_say(!g.frozen[j] || w.core.openers[j].own ==
			    VSS_PART_QUEUED, "app %d stays frozen", j);
}

/* All that decides the core's next move, and the observer's knowledge. */
static size_t
key_of(const struct ghost *s, uint8_t *key)
{
	size_t n = 0;

	key[n++] = s->core.detached;
	key[n++] = s->core.stage;
	key[n++] = (uint8_t)s->pending_opt;
	key[n++] = s->core.stage != VSS_IDLE && s->core.req.app != 0;
	for (int i = 0; i < OPENERS; i++) {
		const struct vss_opener *o = &s->core.openers[i];

		key[n++] = (uint8_t)(o->open | o->holds << 1 | o->part << 2 |
		    o->own << 4);
		key[n++] = (uint8_t)(s->frozen[i] | s->asked[i] << 1 |
		    s->said_yes[i] << 2 | s->own_read[i] << 3 |
		    (s->late_id[i] != 0) << 4 | (i == FS && s->said_no) << 5);
	}
	return (n);
}

enum { KEY_MAX = 4 + 2 * OPENERS, TABLE = STATES_MAX * 4 };
static uint32_t *table;			/* state number + 1, open addressing */

static int
is_new(const struct ghost *s)
{
	uint8_t key[KEY_MAX], other[KEY_MAX];
	size_t n = key_of(s, key);
	uint32_t h = 2166136261U;

	for (size_t i = 0; i < n; i++)
		h = (h ^ key[i]) * 16777619U;
	for (h %= TABLE; table[h] != 0; h = (h + 1) % TABLE) {
		key_of(&states[table[h] - 1], other);
		if (memcmp(key, other, n) == 0)
			return (0);
	}
	must_say(states_used < STATES_MAX, "more states than expected");
	states[states_used++] = *s;
	table[h] = states_used;
	return (1);
}

static void
start(void)
{
	memset(&w, 0, sizeof(w));
	memset(&g, 0, sizeof(g));
	w.now = 1700000000ULL * 1000000000;
	w.sent = 3;
	walk_ops = world_ops;
	walk_ops.send = walk_send;
	walk_ops.notify = walk_notify;
	walk_ops.done = walk_done;
	vss_core_init(&w.core, &(struct vss_core_config){ .max_apps = APPS },
	    &walk_ops, &w);
	g.core = w.core;
	events_tried = 0;
}

static void
in_every_reachable_state_every_event_keeps_the_rules(void)
{
	states = calloc(STATES_MAX, sizeof(*states));
	table = calloc(TABLE, sizeof(*table));
	must(states != NULL && table != NULL);
	start();
	is_new(&g);
	for (uint32_t s = 0; s < states_used; s++)
		for (unsigned k = 0; k < EV_KINDS; k++)
			for (int i = 0; i < (k < EV_OPEN ? 1 : OPENERS); i++) {
				enum event_kind kind = (enum event_kind)k;

				load(&states[s]);
				if (!possible(kind, i))
					continue;
				step(kind, i);
				g.core = w.core;
				is_new(&g);
			}
	printf("# closure: %u states, %lu events, %d applications\n",
	    states_used, events_tried, APPS);
	must(states_used > 1000);
	free(states);
	free(table);
}

static unsigned long sequences;

static void
all_after(const struct ghost *from, int depth)
{
	if (depth == 0) {
		sequences++;
		return;
	}
	for (unsigned k = 0; k < EV_KINDS; k++)
		for (int i = 0; i < (k < EV_OPEN ? 1 : 3); i++) {
			enum event_kind kind = (enum event_kind)k;
			struct ghost next;

			load(from);
			if (!possible(kind, i))
				continue;
			step(kind, i);
			next = g;
			next.core = w.core;
			all_after(&next, depth - 1);
		}
}

static void
every_sequence_of_six_events_from_a_running_guest_keeps_the_rules(void)
{
	struct ghost first;

	start();
	load(&g);
	step(EV_OPEN, FS);
	step(EV_OPEN, 1);
	step(EV_FREEZE, 0);
	first = g;
	first.core = w.core;
	sequences = 0;
	all_after(&first, 6);
	printf("# unmerged: %lu sequences of 6 events, 2 applications\n",
	    sequences);
	must(sequences > 100000);
}

int
main(void)
{
	holds(in_every_reachable_state_every_event_keeps_the_rules);
	holds(every_sequence_of_six_events_from_a_running_guest_keeps_the_rules);
	return (check_result());
}
