/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A walk through every order in which two descriptors can hold, release,
 * close, expire and be looked at, while writers come and go, snapshots and
 * unmounts wait and the module is unloaded: on one mount and on two.  Threads
 * run one step at a time.  Each sequence is played from the start; one that
 * ends in a state seen before is not continued.
 *
 * In each state: what is reported held is suspended by a thread of ours, what
 * has ended is not, a mount has one hold at most, and when all descriptors
 * are closed and writers are done, everything ends and the module unloads.
 */
#include "machine.h"

enum { FDS = 2, THREADS_MAX = 3, DEPTH_MAX = 24, STATES_MAX = 200000, HOLD_MS = 1000 };
enum event {
	HOLD = 0, RELEASE = 2, CLOSE_OR_OPEN = 4,	/* of either */
	STATE = 6, WRITES, UMOUNTS, SNAPSHOTS,		/* of the first */
	RUN = 10, EXPIRES = RUN + 3, UNLOADS, EVENTS
};

struct path { unsigned char event[DEPTH_MAX]; unsigned char length; };

static int mount_count;
static struct mount *mounts[2];
static struct kern_file *fds[FDS];
static int told[FDS];		/* RELEASE since the last good HOLD */
static int used[FDS];		/* a HOLD was taken since the open */
static int leaving;		/* an unmount of the first is on its way */
static int snapped;		/* one snapshot a sequence */
static struct path *queue;
static unsigned queued;
static uint64_t *seen;		/* hashes, open addressing */
static unsigned long replayed;

static struct mount *
mount_of(int fd)
{
	return (mounts[mount_count == 1 ? 0 : fd]);
}

/* Closed, unmounting and gone are left that way for the rest. */
static void
hold(int fd)
{
	int error;

	if (fds[fd] == NULL || kern_thread_count() == THREADS_MAX)
		return;
	error = begins(fds[fd], mount_of(fd), HOLD_MS);
	if (error == 0) {
		told[fd] = 0;
		used[fd] = 1;
	} else if (error == ENOENT)
		must(mount_of(fd)->gone);
	else
		must_equal(error, EBUSY);
}

static void
close_or_open(int fd)
{
	if (fds[fd] != NULL) {
		kern_close(fds[fd]);
		fds[fd] = NULL;
		told[fd] = used[fd] = 0;
	} else
		fds[fd] = opens(FWRITE);
}

static void
write_begins_or_ends(struct mount *mp)
{
	if (mp->gone || leaving)
		return;
	if (mp->writers > 0)
		vn_finished_write(mp);
	else
		vn_start_write(NULL, &mp, V_NOWAIT);
}

static void
unload(void)
{
	int busy = fds[0] != NULL || fds[1] != NULL || vff_held != 0;
	int error = kern_unload();

	must_equal(error, busy ? EBUSY : 0);
	if (busy)
		return;
	vff_stopping = false;
	must_equal(kern_load(), 0);
}

static void
happens(int event)
{
	struct mount *mp = mounts[0];
	int fd = event % 2;

	switch (event < STATE ? event - fd : event) {
	case HOLD:
		hold(fd);
		break;
	case RELEASE:
		if (fds[fd] != NULL && releases(fds[fd]) == 0)
			told[fd] = 1;
		break;
	case CLOSE_OR_OPEN:
		close_or_open(fd);
		break;
	case STATE:
		if (fds[0] != NULL)
			state_of(fds[0]);
		break;
	case WRITES:
		write_begins_or_ends(mp);
		break;
	case UMOUNTS:
		if (!leaving && mp->writers == 0) {
			leaving = 1;
			kern_umounts(mp);
		}
		break;
	case SNAPSHOTS:
		if (!snapped && !mp->gone) {
			snapped = 1;
			kern_snapshots(mp);
		}
		break;
	case EXPIRES:
		kern_step_clock((HOLD_MS + 1) * 1000000LL);
		kern_settle();
		break;
	case UNLOADS:
		unload();
		break;
	default:
		kern_run_thread(event - RUN);
	}
}

static int
is_active(const struct vfsfreeze_state *st)
{
	return (st->state == VFSFREEZE_BEGUN || st->state == VFSFREEZE_HELD);
}

/* Looks at everything, which is the end of this sequence; its hash. */
static uint64_t
looks(int last)
{
	struct vfsfreeze_state st[FDS];
	char text[512];
	uint64_t hash = 0xcbf29ce484222325;
	size_t n = 0;
	int active = 0, readable;

	memset(st, 0, sizeof(st));
	for (int i = 0; i < FDS; i++) {
		if (fds[i] == NULL) {
			n += (size_t)snprintf(text + n, sizeof(text) - n, "- ");
			continue;
		}
		readable = kern_poll(fds[i], POLLIN);
		st[i] = state_of(fds[i]);
		must_equal(kern_poll(fds[i], POLLIN), 0);
		must(st[i].state != VFSFREEZE_IDLE || !used[i]);
		must(st[i].state != VFSFREEZE_HELD ||
		    (kern_is_suspended(mount_of(i)) &&
		    mount_of(i)->owner->td_name[0] == 'v'));
		active += is_active(&st[i]);
		if (is_active(&st[i]))
			must(mount_of(i)->lockref > 0);
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		    "%d,%u,%d,%d,%d ", i == 0 && readable, st[i].state,
		    st[i].error, st[i].left_ms > 0,
		    told[i] && is_active(&st[i]));
	}
	if (mount_count == 1)
		must(active <= 1);
	must((unsigned)active <= vff_held);
	for (int i = 0; i < mount_count; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		    "%d,%d,%d,%d,%d ", mounts[i]->mnt_kern_flag,
		    mounts[i]->lockref, mounts[i]->writers, leaving,
		    mounts[i]->gone);
	/* Past its time a hold is over, unless it can't be suspended. */
	if (last == EXPIRES)
		for (int i = 0; i < FDS; i++)
			must(!is_active(&st[i]) || st[i].left_ms == 0);
	if (last == EXPIRES)
		for (int i = 0; i < FDS; i++)
			must(!is_active(&st[i]) ||
			    mount_of(i)->writers > 0);
	n += (size_t)snprintf(text + n, sizeof(text) - n, "%u %d ", vff_held,
	    snapped);
	kern_thread_words(text + n, sizeof(text) - n);
	for (char *c = text; *c != '\0'; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
	return (hash | 1);
}

/* From here everything must end. */
static void
ends(void)
{
	for (int i = 0; i < FDS; i++)
		if (fds[i] != NULL)
			kern_close(fds[i]);
	for (int i = 0; i < mount_count; i++)
		while (!(i == 0 && leaving) && mounts[i]->writers > 0)
			vn_finished_write(mounts[i]);
	kern_settle();
	must_equal(kern_thread_count(), 0);
	for (int i = 0; i < mount_count; i++) {
		must(!kern_is_suspended(mounts[i]));
		must_equal(mounts[i]->gone, i == 0 && leaving);
	}
	kern_events();
	unloaded();
}

static uint64_t
replay(const struct path *p)
{
	uint64_t hash;

	loaded();
	memset(told, 0, sizeof(told));
	memset(used, 0, sizeof(used));
	leaving = snapped = 0;
	for (int i = 0; i < mount_count; i++)
		mounts[i] = kern_mount(i == 0 ? "/" : "/data", "ufs", 0, 0);
	for (int i = 0; i < FDS; i++)
		fds[i] = opens(FWRITE);
	for (int i = 0; i < p->length; i++)
		happens(p->event[i]);
	hash = looks(p->length > 0 ? p->event[p->length - 1] : EVENTS);
	ends();
	replayed++;
	return (hash);
}

static int
is_new(uint64_t hash)
{
	size_t at = hash % (STATES_MAX * 2);

	for (; seen[at] != 0; at = (at + 1) % (STATES_MAX * 2))
		if (seen[at] == hash)
			return (0);
	seen[at] = hash;
	return (1);
}

static void
walk(int on_mounts)
{
	unsigned done, longest = 0;

	mount_count = on_mounts;
	queue = calloc(STATES_MAX, sizeof(*queue));
	seen = calloc(STATES_MAX * 2, sizeof(*seen));
	queued = 1;
	is_new(replay(&queue[0]));
	for (done = 0; done < queued; done++)
		for (int event = 0; event < EVENTS; event++) {
			struct path p = queue[done];

			if (p.length == DEPTH_MAX)
				continue;
			p.event[p.length++] = (unsigned char)event;
			if (!is_new(replay(&p)))
				continue;
			must_say(queued < STATES_MAX, "more states than room");
			queue[queued++] = p;
			longest = p.length;
		}
	must(longest < DEPTH_MAX);
	printf("# %d mount(s): %u states, %lu sequences, the longest of %u "
	    "events\n", mount_count, queued, replayed, longest);
	free(seen);
	free(queue);
}

static void
every_order_on_one_mount_ends_well(void)
{
	walk(1);
}

static void
every_order_on_two_mounts_ends_well(void)
{
	walk(2);
}

int
main(void)
{
	holds(every_order_on_one_mount_ends_well);
	holds(every_order_on_two_mounts_ends_well);
	return (check_result());
}
